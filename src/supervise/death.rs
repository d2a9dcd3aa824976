//! Why COMMAND died: one line when a signal ended it that nobody sent through portero, and one when the kernel killed
//! one of its processes for memory. What is told is looked up when COMMAND has been started, and when it has ended.

use std::time::{Duration, Instant};

use crate::cgroup::MemoryKills;
use crate::logger;
use crate::supervise::outcome::Outcome;
use crate::sys::{SignalSet, signal_names};

/// How long a signal that is no stop may be what ended COMMAND: later, it has been handled.
const LASTS: Duration = Duration::from_mins(1);

/// What was sent through portero. A stop counts for good: who drains may end by it at last.
#[derive(Debug)]
pub struct Sent {
    stops: SignalSet,
    others: SignalSet,
    last: Option<Instant>,
}

impl Sent {
    /// Nothing yet.
    pub const NOTHING: Self = Self {
        stops: SignalSet::NONE,
        others: SignalSet::NONE,
        last: None,
    };

    /// One went out.
    pub fn add(&mut self, signal: i32, stops: bool) {
        if stops {
            self.stops = self.stops.with(signal);
            return;
        }
        if !self.is_fresh() {
            self.others = SignalSet::NONE;
        }
        self.others = self.others.with(signal);
        self.last = Some(Instant::now());
    }

    fn contains(&self, signal: i32) -> bool {
        self.stops.contains(signal) || self.is_fresh() && self.others.contains(signal)
    }

    fn is_fresh(&self) -> bool {
        self.last.is_some_and(|last| last.elapsed() < LASTS)
    }
}

/// What is known since COMMAND's start.
pub struct Watch<'a> {
    /// COMMAND's file name.
    name: &'a str,
    memory: Option<MemoryKills>,
}

impl<'a> Watch<'a> {
    /// From now on.
    pub fn begin(name: &'a str) -> Self {
        let memory = MemoryKills::until_now();
        Self { name, memory }
    }

    /// COMMAND, of this pid, has ended. In a terminal's foreground keys end it, of which portero hears nothing; what
    /// portero killed itself has been told.
    pub fn tell(
        &self,
        pid: i32,
        outcome: Outcome,
        sent: &Sent,
        is_known: bool,
        in_foreground: bool,
    ) {
        let name = self.name;
        let by_key =
            |signal| in_foreground && matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGHUP);
        let is_due = |signal: &i32| {
            !(is_known || sent.contains(*signal) || *signal == libc::SIGPIPE || by_key(*signal))
        };
        let mut memory = self.memory.as_ref().and_then(MemoryKills::since);
        if let Some(signal) = outcome.signal().filter(is_due) {
            let reason = memory.take_if(|_| signal == libc::SIGKILL);
            let why = reason.unwrap_or_else(|| "nobody sent it through portero".into());
            let by = signal_names::name(signal);
            let message = format!("{name} (pid {pid}) was ended by {by}: {why}");
            logger::write_death(pid, Some(signal), &message);
        }
        if let Some(why) = memory {
            logger::write_death(pid, None, &format!("a process of {name}'s was {why}"));
        }
    }
}
