//! The controlling terminal's foreground: COMMAND gets it as a job of its own, and it comes back when COMMAND has
//! ended or stopped (`tcsetpgrp(3)`, POSIX.1-2017 11.1.4).

use std::os::fd::RawFd;

use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

use crate::sys::standard_stream;

/// This process's controlling terminal, by the standard descriptor that it is open at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal(RawFd);

impl Terminal {
    /// The controlling terminal, when one of the standard descriptors is it: /dev/tty may not be there.
    pub fn controlling() -> Option<Self> {
        (0..=2)
            .map(Self)
            .find(|terminal| terminal.foreground().is_some())
    }

    /// Its descriptor.
    pub fn descriptor(self) -> RawFd {
        self.0
    }

    /// Whether this process's group is in the foreground.
    pub fn is_ours(self) -> bool {
        self.foreground() == Some(getpgrp())
    }

    /// Puts `group` in the foreground. With SIGTTOU blocked, as all signals are, this works from the background too.
    pub fn give_to(self, group: i32) {
        let _ = tcsetpgrp(standard_stream(self.0), Pid::from_raw(group));
    }

    /// Puts this process's group in the foreground.
    pub fn take_back(self) {
        self.give_to(getpgrp().as_raw());
    }

    fn foreground(self) -> Option<Pid> {
        tcgetpgrp(standard_stream(self.0)).ok()
    }
}
