//! The one loop: takes signals, forwards them, reaps everything, and ends with the child's outcome. It serves stages,
//! COMMAND, and a migration.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::leftovers;
use super::permit::Permit;
use super::signals::{self, SignalMap};
use super::terminal::Terminal;
use crate::exit::Exit;
use crate::sys::{self, Arrival, Children};

/// How a child is supervised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supervision {
    /// Signals go to the child's whole process group, not to the child alone.
    pub group: bool,
    /// What is forwarded for what.
    pub map: SignalMap,
    /// How long a SIGTERM waits before it is forwarded.
    pub stop_delay: Option<Duration>,
    /// How long after a stop was forwarded the group is killed; `None` is never.
    pub stop_timeout: Option<Duration>,
    /// How long what the child left behind has to finish; `None` leaves it alone.
    pub orphan_grace: Option<Duration>,
}

/// How a child ended, and whether it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The child's status.
    pub status: ExitStatus,
    /// The first signal that asked for the end of the run while the child or what it left behind ran: it counts even
    /// if the child ended well, as SIGTERM (15) is delivered before SIGCHLD (17).
    pub stop: Option<i32>,
}

impl Outcome {
    /// The child's own exit: its code, or the signal that ended it.
    pub fn exit(self) -> Exit {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Failed,
        }
    }
}

/// A child that was started.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// Its pid.
    pub pid: i32,
    /// Whether it leads a process group of its own, rather than being in portero's.
    pub leads_group: bool,
    /// The controlling terminal, when there is one.
    pub terminal: Option<Terminal>,
    /// Whether the child has been given the terminal's foreground. Only then is it portero's to take back: a portero
    /// in the background must not take it from somebody else.
    pub foreground: bool,
}

/// Supervises `child` until it has ended, and its leftovers too.
pub fn supervise(child: Child, rules: &Supervision) -> Outcome {
    supervise_with(child, rules, &Permit::default())
}

/// The same, until `permit` is withdrawn: then all of it is killed at once.
pub fn supervise_with(child: Child, rules: &Supervision, permit: &Permit) -> Outcome {
    let mut supervisor = Supervisor {
        child,
        rules,
        permit,
        stop: None,
        status: None,
        delay: Delay::None,
        kill_at: None,
        stopped: false,
        told_to_pause: false,
    };
    let status = loop {
        if permit.is_withdrawn() {
            supervisor.kill_everyone();
        }
        supervisor.step();
        if let Some(status) = supervisor.status {
            break status;
        }
    };
    supervisor.take_terminal();
    let late = leftovers::end_within(supervisor.orphan_grace(), &rules.map, permit);
    Outcome {
        status,
        stop: supervisor.stop.or(late),
    }
}

struct Supervisor<'a> {
    child: Child,
    rules: &'a Supervision,
    permit: &'a Permit,
    stop: Option<i32>,
    status: Option<ExitStatus>,
    delay: Delay,
    kill_at: Option<Instant>,
    /// The child was seen to be stopped. It may have been continued since by somebody else.
    stopped: bool,
    /// The last that was forwarded of a terminal's stops and CONT was a stop.
    told_to_pause: bool,
}

/// The state of `--stop-delay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    None,
    Until(Instant),
    Over,
}

impl Supervisor<'_> {
    fn step(&mut self) {
        let limit = self
            .next_deadline()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match sys::next_signal(limit) {
            None => self.on_deadline(),
            Some(Arrival {
                number: libc::SIGCHLD,
                ..
            }) => self.reap(),
            Some(signal) => self.on_signal(signal),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let delay = if let Delay::Until(until) = self.delay {
            Some(until)
        } else {
            None
        };
        delay.into_iter().chain(self.kill_at).min()
    }

    fn on_deadline(&mut self) {
        let now = Instant::now();
        if let Delay::Until(until) = self.delay
            && until <= now
        {
            self.end_delay();
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            log::warn!(
                "it did not end within the stop timeout: sending SIGKILL to its process group"
            );
            let _ = sys::kill(self.job(), libc::SIGKILL);
        }
    }

    /// Kills every process of the child's, wherever it is.
    fn kill_everyone(&self) {
        let _ = sys::kill(self.job(), libc::SIGKILL);
        leftovers::signal_all(libc::SIGKILL);
    }

    /// The child's process group, or the child alone when that is portero's own.
    fn job(&self) -> i32 {
        if self.child.leads_group {
            -self.child.pid
        } else {
            self.child.pid
        }
    }

    /// How long what is left behind has. Whose permit was withdrawn is not left alone.
    fn orphan_grace(&self) -> Option<Duration> {
        if self.permit.is_withdrawn() {
            return Some(Duration::ZERO);
        }
        self.rules.orphan_grace
    }

    fn on_signal(
        &mut self,
        Arrival {
            number,
            from_kernel,
        }: Arrival,
    ) {
        let mapped = self.rules.map.apply(number);
        if super::ends_run(number, &self.rules.map) {
            self.stop.get_or_insert(number);
        }
        if number == libc::SIGTERM && self.is_delayed() {
            return;
        }
        // A key: the terminal sent it to the whole group, so the child has it already. A hang-up, HUP and CONT, goes to
        // the leader of the session alone (`setsid(2)`), which portero may be.
        let is_key = !matches!(number, libc::SIGHUP | libc::SIGCONT);
        if from_kernel && is_key && !self.child.leads_group {
            return;
        }
        self.forward(number, mapped);
    }

    /// Whether this SIGTERM starts the delay. A second one ends it.
    fn is_delayed(&mut self) -> bool {
        let Some(delay) = self.rules.stop_delay else {
            return false;
        };
        match self.delay {
            Delay::None => {
                self.delay = Delay::Until(Instant::now() + delay);
                true
            }
            Delay::Until(_) => {
                self.delay = Delay::Over;
                false
            }
            Delay::Over => false,
        }
    }

    fn end_delay(&mut self) {
        self.delay = Delay::Over;
        self.forward(libc::SIGTERM, self.rules.map.apply(libc::SIGTERM));
    }

    fn forward(&mut self, number: i32, mapped: Option<i32>) {
        let Some(mapped) = mapped else { return };
        if mapped == libc::SIGCONT {
            self.give_terminal();
            self.told_to_pause = false;
        } else if signals::is_terminal_stop(mapped) {
            self.told_to_pause = true;
        }
        let asks_to_stop = signals::is_stop_request(number) || signals::is_stop_request(mapped);
        if asks_to_stop {
            // SIGTERM (15) comes before the SIGCHLD (17) that tells of a stopped child.
            self.reap();
            if self.status.is_some() {
                return;
            }
        }
        // A shell's job is stopped and continued as a whole.
        let target = if self.rules.group || signals::is_job_control(mapped) {
            self.job()
        } else {
            self.child.pid
        };
        if let Err(error) = sys::kill(target, mapped) {
            log::debug!("{} could not be forwarded: {error}", signals::name(mapped));
        }
        if !asks_to_stop {
            return;
        }
        // A stopped child could not act on it (systemd does the same: systemd.kill(5), KillSignal=).
        if std::mem::take(&mut self.stopped) {
            let _ = sys::kill(target, libc::SIGCONT);
        }
        if self.kill_at.is_none() {
            self.kill_at = self
                .rules
                .stop_timeout
                .map(|timeout| Instant::now() + timeout);
        }
    }

    fn reap(&mut self) {
        while let Children::Changed(change) = sys::next_change() {
            let status = ExitStatus::from_raw(change.status);
            if change.pid == self.child.pid {
                match status.stopped_signal() {
                    Some(signal) => self.on_stop(signal),
                    None => self.status = Some(status),
                }
            }
        }
    }

    /// The child was stopped as a job is: then portero stops too, so that the shell that started it notices. As PID 1
    /// or in an orphaned process group it does not, as nobody could continue it; and nobody could continue the child,
    /// so that a Ctrl-Z does nothing there, as it does to a child without portero.
    fn on_stop(&mut self, signal: i32) {
        self.stopped = true;
        // After a resumption SIGCHLD (17) comes before SIGCONT (18) and reports the old stop.
        if !signals::is_terminal_stop(signal) || sys::pending_signals().contains(libc::SIGCONT) {
            return;
        }
        let was_foreground = self.child.foreground;
        self.take_terminal();
        sys::stop_self();
        if was_foreground && !sys::pending_signals().contains(libc::SIGCONT) {
            self.give_terminal();
            if signal == libc::SIGTSTP && !self.told_to_pause {
                let _ = sys::kill(-self.child.pid, libc::SIGCONT);
                self.stopped = false;
            }
        }
    }

    /// Puts the child in the foreground when portero is: at the start of a job, and when a shell continues it there. A
    /// child in portero's own group is there with portero.
    fn give_terminal(&mut self) {
        let terminal = self.child.terminal.filter(|_| self.child.leads_group);
        if let Some(terminal) = terminal.filter(|terminal| terminal.is_ours()) {
            terminal.give_to(self.child.pid);
            self.child.foreground = true;
        }
    }

    /// Takes the foreground back from the child, if it was given it.
    fn take_terminal(&mut self) {
        if let Some(terminal) = self.child.terminal.filter(|_| self.child.foreground) {
            terminal.take_back();
            self.child.foreground = false;
        }
    }
}
