//! The one loop: takes signals, forwards them, reaps everything, and ends with the child's outcome. It serves stages,
//! COMMAND, and a migration.

pub mod child;
pub mod clearance;
pub mod death;
pub mod helper;
pub mod leftovers;
mod outcome;
mod processes;
pub mod program;
mod shell;
pub mod signals;
pub mod start;
pub mod stops;
mod story;
mod supervision;
mod terminal;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::supervise::child::Child;
use crate::supervise::clearance::Clearance;
use crate::supervise::death::{Sent, Watch};
use crate::supervise::leftovers::{Left, Time, Told};
pub use crate::supervise::outcome::Outcome;
use crate::supervise::stops::{Delay, Kill, ends_run, is_stop};
use crate::supervise::story::Story;
pub use crate::supervise::supervision::Supervision;
use crate::sys;
use crate::sys::{Arrival, Children, signal_names};

/// How long after a stop the end of the child still comes of it.
const STOP_LASTS: Duration = Duration::from_mins(1);
/// How often it is asked once more after a `wait(2)` that failed, and for how long.
const RETRY: Duration = Duration::from_millis(50);
const RETRIES: u32 = 40;

/// Supervises `child` until it has ended, and its leftovers too; until `clearance` is withdrawn: then all of it is
/// killed at once. With a watch it is told how the child died.
pub fn supervise(
    child: Child,
    rules: &Supervision,
    clearance: &Clearance,
    watch: Option<&Watch<'_>>,
) -> Outcome {
    let mut supervisor = Supervisor {
        child,
        rules,
        clearance,
        stop: None,
        stopped_at: None,
        told: Told::default(),
        ended: false,
        status: None,
        delay: Delay::Before,
        kill: Kill::Never,
        warn_at: None,
        retry_at: None,
        retries: 0,
        paused: false,
        told_to_pause: false,
        sent: Sent::NOTHING,
        story: Story::default(),
    };
    while !supervisor.ended {
        if clearance.is_withdrawn() {
            supervisor.kill_everyone();
        }
        supervisor.step();
        supervisor.story.speak();
    }
    let (left, by_key) = (supervisor.left(), supervisor.child.foreground);
    supervisor.child.take_terminal();
    // First the deed: what is left hears of the end before anybody reads of it.
    let late = leftovers::end(left, &rules.map, clearance, || {
        supervisor.tell_end(watch, by_key);
    });
    supervisor.story.concluded();
    if supervisor.status.is_none() {
        log::error!(
            pid = child.pid;
            "the child with pid {} has gone, and nobody knows how: its status was taken by somebody else (a debugger?)",
            child.pid
        );
    }
    Outcome {
        status: supervisor.status,
        stop: supervisor.stop.or(late),
    }
}

struct Supervisor<'a> {
    child: Child,
    rules: &'a Supervision,
    clearance: &'a Clearance,
    /// The first signal that ends the run.
    stop: Option<i32>,
    /// When the last stop came.
    stopped_at: Option<Instant>,
    /// Who has had a stop with the group.
    told: Told,
    ended: bool,
    status: Option<ExitStatus>,
    delay: Delay,
    kill: Kill,
    /// When to look whether a shell that was told to stop still waits.
    warn_at: Option<Instant>,
    /// When to ask once more how the children are, after an answer that can't be.
    retry_at: Option<Instant>,
    retries: u32,
    /// The child was seen to be stopped, as by Ctrl-Z. It may have been continued since by somebody else.
    paused: bool,
    /// The last that was forwarded of a terminal's stops and CONT was a stop.
    told_to_pause: bool,
    /// What was forwarded so far, as it was sent.
    sent: Sent,
    story: Story,
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
        let deadlines = [
            self.delay.deadline(),
            self.kill.deadline(),
            self.warn_at,
            self.retry_at,
        ];
        deadlines.into_iter().flatten().min()
    }

    fn on_deadline(&mut self) {
        let now = Instant::now();
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if let Delay::Until(at, number) = self.delay
            && at <= now
        {
            self.delay = Delay::Over;
            self.forward(number);
        }
        if is_over(self.kill.deadline()) {
            self.end_by_force();
        }
        if is_over(self.retry_at) {
            self.reap();
        }
        if is_over(self.warn_at) {
            self.warn_at = None;
            shell::warn(self.child.pid);
        }
    }

    /// The stop timeout is over.
    fn end_by_force(&mut self) {
        self.kill = Kill::Done;
        let victims = processes::names(&processes::descendants());
        self.kill_everyone();
        log::warn!(
            "not ended within the stop timeout of {}s: killed {}",
            self.rules.stop_timeout.unwrap_or_default().as_secs_f32(),
            if victims.is_empty() {
                "all of it"
            } else {
                &victims
            }
        );
    }

    /// Kills every process of the child's, wherever it is.
    fn kill_everyone(&self) {
        let _ = self.child.signal_group(libc::SIGKILL);
        leftovers::signal_all(self.child.group(), libc::SIGKILL);
    }

    /// The child has ended, in a terminal's foreground or elsewhere.
    fn tell_end(&self, watch: Option<&Watch<'_>>, in_foreground: bool) {
        let outcome = Outcome {
            status: self.status,
            stop: self.stop,
        };
        self.story.ended(self.child.pid, outcome);
        if let Some(watch) = watch {
            let is_known = self.kill == Kill::Done;
            watch.tell(self.child.pid, outcome, &self.sent, is_known, in_foreground);
        }
    }

    /// What is left behind, how long it has, and who of it has been told. Whose clearance was withdrawn is not left
    /// alone.
    fn left(&mut self) -> Left {
        if self.clearance.is_withdrawn() {
            return Left::within(Some(Duration::ZERO));
        }
        let by_key = self.was_ended_by_key();
        if by_key {
            self.note_members();
        }
        let now = Instant::now();
        let stopped = by_key || self.stopped_at.is_some_and(|at| now - at <= STOP_LASTS);
        let mut left = Left::within(self.rules.orphan_grace);
        // Nobody but the user at the terminal is there to set a limit after a key.
        let limits = std::process::id() == 1 && !by_key;
        left.time = match left.time {
            Time::Ignored => Time::Ignored,
            _ if self.kill == Kill::Done => Time::Over,
            _ if stopped => Time::after_stop(self.kill.deadline(), self.rules.stop_timeout, limits),
            time => time,
        };
        left.told = std::mem::take(&mut self.told);
        left.group = self.child.group();
        left.story = self.story.clone();
        left
    }

    /// Whether a terminal's key has ended the child. It goes to the foreground's whole group, and when that is the
    /// child's own, portero hears nothing of it.
    fn was_ended_by_key(&self) -> bool {
        let ended_by = |signal: i32| {
            self.status.is_some_and(|status| {
                status.signal() == Some(signal) || status.code() == Some(128 + signal)
            })
        };
        self.child.foreground && (ended_by(libc::SIGINT) || ended_by(libc::SIGQUIT))
    }

    /// Notes whoever is in the child's group now: a stop goes, or has gone, to all of them.
    fn note_members(&mut self) {
        for process in self.child.members() {
            self.told.insert(&process);
        }
    }

    fn on_signal(&mut self, arrival: Arrival) {
        let (number, map) = (arrival.number, &self.rules.map);
        if ends_run(number, map) {
            self.stop.get_or_insert(number);
        }
        let stops = is_stop(number, map);
        if stops {
            self.stopped_at = Some(Instant::now());
        }
        self.story.received(number, stops);
        // A key: the terminal sent it to the whole group, so the child has it already. A hang-up, HUP and CONT, goes to
        // the leader of the session alone (`setsid(2)`), which portero may be.
        let is_key = arrival.from_kernel && !matches!(number, libc::SIGHUP | libc::SIGCONT);
        if is_key && !self.child.leads_group {
            if stops {
                self.note_members();
            }
            return;
        }
        let (delay, on_terminal) = (self.rules.stop_delay, self.child.terminal.is_some());
        if stops && self.delay.holds_back(number, delay, on_terminal) {
            self.story.delayed(number, delay.unwrap_or_default());
            return;
        }
        self.forward(number);
    }

    fn forward(&mut self, number: i32) {
        let Some(mapped) = self.rules.map.apply(number) else {
            return;
        };
        if mapped == libc::SIGCONT {
            self.child.give_terminal();
            self.told_to_pause = false;
        } else if signal_names::is_terminal_stop(mapped) {
            self.told_to_pause = true;
        }
        let stops = is_stop(number, &self.rules.map);
        if stops && self.rules.group {
            self.note_members();
        }
        // A shell's job is stopped and continued as a whole.
        let whole =
            self.rules.group || self.child.leads_group && signal_names::is_job_control(mapped);
        let sent = if whole {
            self.child.signal_group(mapped)
        } else {
            self.child.signal(mapped)
        };
        match sent {
            Ok(()) => {
                self.sent.add(mapped, stops);
                self.story.forwarded(mapped, &self.child, whole);
            }
            Err(error) => {
                let name = signal_names::name(mapped);
                log::debug!("{name} could not be forwarded: {error}");
            }
        }
        if stops {
            self.after_stop();
        }
    }

    /// A stop was forwarded.
    fn after_stop(&mut self) {
        // A stopped child could not act on it (systemd does the same: systemd.kill(5), KillSignal=).
        self.child
            .continue_stopped(std::mem::take(&mut self.paused));
        let now = Instant::now();
        if let (Kill::Never, Some(timeout)) = (self.kill, self.rules.stop_timeout) {
            self.kill = Kill::At(now + timeout);
        }
        if self.warn_at.is_none() && !self.rules.group && shell::is_shell(self.child.pid) {
            self.warn_at = Some(now + shell::PATIENCE);
        }
    }

    fn reap(&mut self) {
        self.retry_at = None;
        loop {
            match sys::next_change() {
                Children::Changed(change) if change.pid == self.child.pid => {
                    let status = ExitStatus::from_raw(change.status);
                    if let Some(signal) = status.stopped_signal() {
                        self.on_pause(signal);
                    } else {
                        (self.ended, self.status) = (true, Some(status));
                    }
                }
                Children::Changed(orphan) if self.rules.tells_reaped => {
                    log::warn!(pid = orphan.pid; "reaped an orphan, pid {}", orphan.pid);
                }
                Children::Changed(_) => {}
                Children::Unchanged => return,
                Children::None | Children::Unknown => return self.on_failed_wait(),
            }
        }
    }

    /// `wait(2)` says that there is no child, though nobody has heard of its end. It is asked again for a while, and
    /// when the child has really gone, somebody else has its status.
    fn on_failed_wait(&mut self) {
        if self.ended {
            return;
        }
        let has_gone = self.child.signal(0).is_err();
        let runs = processes::look_at(self.child.pid).is_some_and(|process| !process.has_ended());
        self.retries += 1;
        if has_gone || self.retries > RETRIES && !runs {
            self.ended = true;
        } else {
            self.retry_at = Some(Instant::now() + RETRY);
        }
    }

    /// The child was stopped as a job is: then portero stops too, so that the shell that started it notices. As PID 1
    /// or in an orphaned process group it does not, as nobody could continue it; and nobody could continue the child,
    /// so that a Ctrl-Z does nothing there, as it does to a child without portero.
    ///
    /// A program that handles Ctrl-Z stops itself by SIGSTOP, in the foreground; a SIGSTOP elsewhere is a debugger's or
    /// an administrator's, and means the child alone.
    fn on_pause(&mut self, signal: i32) {
        self.paused = true;
        let by_itself =
            signal == libc::SIGSTOP && std::process::id() != 1 && self.child.is_in_foreground();
        // After a resumption SIGCHLD (17) comes before SIGCONT (18) and reports the old stop.
        if !(signal_names::is_terminal_stop(signal) || by_itself) || continues_already() {
            return;
        }
        let was_foreground = self.child.foreground;
        self.child.take_terminal();
        sys::stop_self();
        if was_foreground && !continues_already() {
            self.child.give_terminal();
            if signal == libc::SIGTSTP && !self.told_to_pause {
                let _ = self.child.signal_group(libc::SIGCONT);
                self.paused = false;
            }
        }
    }
}

/// Whether a SIGCONT is pending. One of which it is not known is taken for none: then portero stops as its child did,
/// and who continues it reaches both.
fn continues_already() -> bool {
    sys::pending_signals().is_ok_and(|pending| pending.contains(libc::SIGCONT))
}
