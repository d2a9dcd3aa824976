//! Why COMMAND died: one line when a signal ended it that nobody sent through portero, or when the kernel killed one of
//! its processes for memory. What is told is looked up when COMMAND has been started, and when it has ended.

use crate::cgroup::MemoryKills;
use crate::supervise::outcome::Outcome;
use crate::sys::signal_names;
use crate::{logger, sys};

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

    /// COMMAND, of this pid, has ended, by no signal that it was `sent`. In a terminal's foreground keys end it, of
    /// which portero hears nothing.
    pub fn tell(&self, pid: i32, outcome: Outcome, sent: sys::SignalSet, in_foreground: bool) {
        let name = self.name;
        let memory = || self.memory.as_ref().and_then(MemoryKills::since);
        let by_key =
            |signal| in_foreground && matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGHUP);
        match outcome.signal() {
            Some(signal) if sent.contains(signal) || signal == libc::SIGPIPE || by_key(signal) => {}
            Some(signal) => {
                let memory = memory().filter(|_| signal == libc::SIGKILL);
                let why = memory.unwrap_or_else(|| "nobody sent it through portero".into());
                let by = signal_names::name(signal);
                let message = format!("{name} (pid {pid}) was ended by {by}: {why}");
                logger::write_death(pid, Some(signal), &message);
            }
            None => {
                if let Some(why) = memory() {
                    logger::write_death(pid, None, &format!("a process of {name}'s was {why}"));
                }
            }
        }
    }
}
