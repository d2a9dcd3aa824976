//! Children and signals to processes (`waitpid(2)`, `kill(2)`).

use std::io;

use crate::sys::process::errno;

/// A change of state of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildChange {
    /// Whose.
    pub pid: i32,
    /// The raw status of `wait(2)`; `std::process::ExitStatus::from_raw` reads it.
    pub status: i32,
}

/// What `next_change` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    /// One ended, and is reaped now, or stopped.
    Changed(ChildChange),
    /// There are some, and nothing has changed.
    Unchanged,
    /// There are none.
    None,
    /// The kernel would not say, which it never should.
    Unknown,
}

/// Takes the next change of any child without waiting for it (`waitpid(2)`). Raw, because nix's loses a child that
/// a real-time signal ended.
pub fn next_change() -> Children {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to an int that outlives the call.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) } {
            0 => return Children::Unchanged,
            pid if pid > 0 => return Children::Changed(ChildChange { pid, status }),
            _ => match errno() {
                libc::EINTR => {}
                libc::ECHILD => return Children::None,
                _ => return Children::Unknown,
            },
        }
    }
}

/// Sends a signal, by raw number: nix's `Signal` has no real-time ones. A negative `pid` is a process group, −1
/// everybody (`kill(2)`).
///
/// # Errors
/// As `kill(2)`: ESRCH when there is nobody, EPERM when it may not be sent.
pub fn kill(pid: i32, number: i32) -> io::Result<()> {
    // SAFETY: takes two integers.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
