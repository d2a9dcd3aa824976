//! Whether what is supervised may run, as another thread sees it: the one that looks after the lock.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::sys;

/// What the supervised processes may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Leave {
    /// Run.
    #[default]
    Run,
    /// Nothing for now: they are stopped (SIGSTOP) until it is known whether they may go on.
    Pause,
    /// Come to an end: SIGTERM, and SIGKILL soon after.
    End,
    /// Nothing ever again: SIGKILL.
    Die,
}

/// What one thread says and the supervising one obeys.
#[derive(Debug, Default)]
pub struct Permit(AtomicU8);

impl Permit {
    /// Says what may be done from now on, and wakes the supervising thread.
    pub fn give(&self, leave: Leave) {
        self.0.store(leave as u8, Ordering::SeqCst);
        wake_supervisor();
    }

    /// What may be done now.
    pub fn leave(&self) -> Leave {
        match self.0.load(Ordering::SeqCst) {
            0 => Leave::Run,
            1 => Leave::Pause,
            2 => Leave::End,
            _ => Leave::Die,
        }
    }

    /// Whether nothing may run any more.
    pub fn is_withdrawn(&self) -> bool {
        matches!(self.leave(), Leave::End | Leave::Die)
    }
}

/// Wakes the thread that takes this process's signals, to look what has changed.
pub fn wake_supervisor() {
    // SIGCHLD is the one signal that is expected at any time and means nothing by itself.
    let _ = sys::kill(std::process::id().cast_signed(), libc::SIGCHLD);
}
