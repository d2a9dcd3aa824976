//! The controlling terminal's foreground: COMMAND gets it as a job of its own, and it comes back when COMMAND has
//! ended or stopped (`tcsetpgrp(3)`, POSIX.1-2017 11.1.4).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// Which of the standard descriptors is the controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// This process's controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal(Stream);

impl Terminal {
    /// The controlling terminal, when one of the standard descriptors is it: /dev/tty may not be there.
    pub fn controlling() -> Option<Self> {
        let terminals = [Stream::Stdin, Stream::Stdout, Stream::Stderr].map(Self);
        terminals
            .into_iter()
            .find(|terminal| terminal.foreground().is_some())
    }

    /// Its descriptor.
    pub fn descriptor(self) -> RawFd {
        self.with(|fd| fd.as_raw_fd())
    }

    /// Whether this process's group is in the foreground.
    pub fn is_ours(self) -> bool {
        self.foreground() == Some(getpgrp())
    }

    /// Puts `group` in the foreground. With SIGTTOU blocked, as all signals are, this works from the background too.
    pub fn give_to(self, group: i32) {
        let _ = self.with(|fd| tcsetpgrp(fd, Pid::from_raw(group)));
    }

    /// Puts this process's group in the foreground.
    pub fn take_back(self) {
        self.give_to(getpgrp().as_raw());
    }

    fn foreground(self) -> Option<Pid> {
        self.with(|fd| tcgetpgrp(fd)).ok()
    }

    fn with<T>(self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        match self.0 {
            Stream::Stdin => act(io::stdin().as_fd()),
            Stream::Stdout => act(io::stdout().as_fd()),
            Stream::Stderr => act(io::stderr().as_fd()),
        }
    }
}
