//! How a child ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::exit::Exit;

/// How a child ended, and whether it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The child's status; `None` when somebody else has taken it.
    pub status: Option<ExitStatus>,
    /// The first signal that asked for the end of the run while the child or what it left behind ran: it counts even
    /// if the child ended well, as SIGTERM (15) is delivered before SIGCHLD (17).
    pub stop: Option<i32>,
}

impl Outcome {
    /// The child's own exit: its code, or the signal that ended it.
    pub fn exit(self) -> Exit {
        let code = self.status.and_then(|status| status.code());
        match (code, self.signal()) {
            (Some(code), _) => Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Failed,
        }
    }

    /// The signal that ended the child.
    pub fn signal(self) -> Option<i32> {
        self.status.and_then(|status| status.signal())
    }
}
