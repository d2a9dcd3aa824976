//! What a child leaves behind is ended from the top: each process whose parent is portero gets SIGTERM, once, as soon
//! as portero is its parent. A master then ends its own workers as it means to; told beside it, they would drop what
//! they work on. Who has had the stop already, with the process group, is not told again: for many a server a second
//! SIGTERM means to stop draining. When the time is up SIGKILL goes to all.

use std::time::{Duration, Instant};

use crate::supervise::clearance::Clearance;
use crate::supervise::processes;
use crate::supervise::processes::Process;
use crate::supervise::signals::SignalMap;
use crate::supervise::stops::{ends_run, is_stop};
use crate::supervise::story::Story;
use crate::sys;
use crate::sys::Children;

/// How long SIGKILL may take: a process in an uninterruptible sleep must not hold up the end for ever.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// How often SIGKILL is repeated meanwhile, for what was forked between the look and the kill.
const KILL_INTERVAL: Duration = Duration::from_millis(10);
/// The pauses between two looks at who is there. The kernel does not tell portero of a child that it inherits from one
/// that is not its own.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Of the time, looks take a tenth at most, however many processes there are.
const SHARE: u32 = 10;

/// How long what is left has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// No care is taken of it.
    Ignored,
    /// As long as it wants: the runtime's own limit holds.
    Unlimited,
    /// Until then; the limit's name and length are for the log.
    Until(Instant, &'static str, Duration),
    /// None, and that has been said.
    Over,
}

/// What is left after a stop has this long, where nobody else sets a limit.
const STOP_GRACE: Duration = Duration::from_mins(1);

impl Time {
    /// After a stop: what is left of its `timeout`, which ends at `deadline`; without one, that of the runtime, if it
    /// `limits` this process.
    pub fn after_stop(deadline: Option<Instant>, timeout: Option<Duration>, limits: bool) -> Self {
        let now = Instant::now();
        match timeout {
            Some(timeout) => {
                Self::Until(deadline.unwrap_or(now + timeout), "stop timeout", timeout)
            }
            None if limits => Self::Unlimited,
            None => Self::Until(now + STOP_GRACE, "time after a stop", STOP_GRACE),
        }
    }
}

/// Who has been told to stop: its pid and start, so that another with the same pid is not taken for it.
#[derive(Debug, Default)]
pub struct Told(Vec<(i32, u64)>);

impl Told {
    /// Notes a process. Whether it is new.
    pub fn insert(&mut self, process: &Process) -> bool {
        let key = (process.pid, process.started);
        let place = self.0.binary_search(&key);
        if let Err(place) = place {
            self.0.insert(place, key);
        }
        place.is_err()
    }
}

/// What a child has left.
#[derive(Debug)]
pub struct Left {
    /// How long it has.
    pub time: Time,
    /// Who of it has had the stop.
    pub told: Told,
    /// The child's process group: all that is known of it where there is no /proc.
    pub group: Option<i32>,
    /// What `-v` tells of it.
    pub story: Story,
}

impl Left {
    /// What has `grace`; with none of it, it is killed without a word. `None` leaves it alone.
    pub fn within(grace: Option<Duration>) -> Self {
        let until = |grace| match grace {
            Duration::ZERO => Time::Over,
            grace => Time::Until(Instant::now() + grace, "orphan grace", grace),
        };
        Self {
            time: grace.map_or(Time::Ignored, until),
            told: Told::default(),
            group: None,
            story: Story::default(),
        }
    }
}

/// Ends what is left, within `grace`; `None` leaves it alone.
pub fn end_within(grace: Option<Duration>, map: &SignalMap, clearance: &Clearance) -> Option<i32> {
    end(Left::within(grace), map, clearance, || ())
}

/// Ends what is left, or kills it when `clearance` is withdrawn. Returns at once when nothing is. Returns the first
/// signal meanwhile that asked for the end of the run. `tell` is called when they have been told.
pub fn end(left: Left, map: &SignalMap, clearance: &Clearance, tell: impl FnOnce()) -> Option<i32> {
    let Left {
        time,
        told,
        group,
        story,
    } = left;
    if time == Time::Ignored || !any_left() {
        tell();
        return None;
    }
    let mut untold = Some(tell);
    let mut tell = || untold.take().into_iter().for_each(|tell| tell());
    let mut sweep = Sweep {
        told,
        group,
        map,
        stop: None,
        pause: SHORTEST_PAUSE,
        story,
    };
    let deadline = match time {
        Time::Until(deadline, ..) => Some(deadline),
        Time::Over => Some(Instant::now()),
        Time::Unlimited | Time::Ignored => None,
    };
    if sweep.drain(deadline, clearance, &mut tell) {
        let victims = sweep.kill();
        tell();
        if let Time::Until(_, name, length) = time
            && !victims.is_empty()
            && !clearance.is_withdrawn()
        {
            log::warn!(
                "left when COMMAND had ended, and not ended within the {name} of {}s: killed {victims}",
                length.as_secs_f32()
            );
        }
    }
    sweep.stop
}

struct Sweep<'a> {
    told: Told,
    group: Option<i32>,
    map: &'a SignalMap,
    stop: Option<i32>,
    /// Until the next look, when nothing happens.
    pause: Duration,
    story: Story,
}

impl Sweep<'_> {
    /// Tells whoever becomes a child of portero's, until nothing is left (false) or the time is up.
    fn drain(
        &mut self,
        deadline: Option<Instant>,
        clearance: &Clearance,
        tell: &mut dyn FnMut(),
    ) -> bool {
        let is_over = |deadline: Option<Instant>| {
            deadline.is_some_and(|at| at <= Instant::now()) || clearance.is_withdrawn()
        };
        if is_over(deadline) {
            return true;
        }
        let mut next_look = self.first_look();
        tell();
        self.story.speak();
        loop {
            let until = deadline.into_iter().fold(next_look, Instant::min);
            match self.take(until.saturating_duration_since(Instant::now())) {
                Some(libc::SIGCHLD) => {
                    if !any_left() {
                        return false;
                    }
                    // Whoever has ended may have had children.
                    self.pause = SHORTEST_PAUSE;
                    next_look = next_look.min(Instant::now() + SHORTEST_PAUSE);
                }
                Some(number) => self.forward(number),
                None => {}
            }
            self.story.speak();
            if is_over(deadline) {
                return true;
            }
            if next_look <= Instant::now() {
                next_look = self.look(&processes::descendants());
                // It should be known already; a wait(2) may have failed.
                if !any_left() {
                    return false;
                }
            }
        }
    }

    fn first_look(&mut self) -> Instant {
        let all = processes::descendants();
        if all.is_empty() {
            // Nobody tells who is whose child.
            signal_unseen(self.group, libc::SIGTERM);
            signal_unseen(self.group, libc::SIGCONT);
        }
        let next = self.look(&all);
        // Whoever is told from above must be able to act on it, too.
        processes::continue_stopped(&all);
        log::debug!("left when COMMAND had ended: {}", processes::names(&all));
        next
    }

    /// Tells who has not been told. Returns when to look again.
    fn look(&mut self, all: &[Process]) -> Instant {
        let begun = Instant::now();
        let own = std::process::id().cast_signed();
        let mut news = all.to_vec();
        news.retain(|process| {
            process.parent == own && !process.has_ended() && self.told.insert(process)
        });
        processes::signal(&news, libc::SIGTERM);
        self.story.told(&news, libc::SIGTERM);
        processes::continue_stopped(&news);
        self.pause = if news.is_empty() {
            (self.pause * 2).min(LONGEST_PAUSE)
        } else {
            SHORTEST_PAUSE
        };
        begun + self.pause.max(begun.elapsed() * SHARE)
    }

    /// Everybody gets what arrives now. Who has had a stop is not told once more when it becomes portero's child.
    fn forward(&mut self, number: i32) {
        let Some(mapped) = self.map.apply(number) else {
            return;
        };
        let all = signal_all(self.group, mapped);
        self.story.told(&all, mapped);
        if is_stop(number, self.map) {
            processes::continue_stopped(&all);
            for process in &all {
                self.told.insert(process);
            }
        }
    }

    /// Kills all of them. Returns who that was.
    fn kill(&mut self) -> String {
        let victims = processes::names(&processes::descendants());
        let deadline = Instant::now() + KILL_LIMIT;
        while any_left() && Instant::now() < deadline {
            signal_all(self.group, libc::SIGKILL);
            self.take(KILL_INTERVAL);
        }
        victims
    }

    fn take(&mut self, limit: Duration) -> Option<i32> {
        let number = sys::next_signal(Some(limit))?.number;
        if ends_run(number, self.map) {
            self.stop.get_or_insert(number);
        }
        if number != libc::SIGCHLD {
            self.story.received(number, is_stop(number, self.map));
        }
        Some(number)
    }
}

/// Reaps what has ended and says whether any child is left: every leftover is a child of this process, or a
/// descendant of one, since it is the init or a child subreaper.
pub fn any_left() -> bool {
    loop {
        match sys::next_change() {
            Children::Changed(gone) => log::debug!(pid = gone.pid; "pid {} has ended", gone.pid),
            Children::Unchanged | Children::Unknown => return true,
            Children::None => return false,
        }
    }
}

/// Sends a signal to every descendant; where they can't be seen, to what else is known of them.
pub fn signal_all(group: Option<i32>, number: i32) -> Vec<Process> {
    let all = processes::descendants();
    if all.is_empty() {
        signal_unseen(group, number);
    }
    processes::signal(&all, number);
    all
}

/// Where there is no /proc: everybody (`kill(2)`, −1) is the own namespace when this is its init, and all of it is
/// below. Else the child's group is known.
fn signal_unseen(group: Option<i32>, number: i32) {
    if std::process::id() == 1 {
        let _ = sys::kill(-1, number);
    } else if let Some(group) = group {
        let _ = sys::kill(-group, number);
    }
}
