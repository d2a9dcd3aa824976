//! Whether what is supervised may run, as another thread sees it: the one that keeps the lock.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// Leave to run, which is withdrawn once and never given back: then every supervised process is killed at once.
#[derive(Debug, Default)]
pub struct Clearance {
    withdrawn: AtomicBool,
}

impl Clearance {
    /// Withdraws it, and wakes the supervising thread.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::SeqCst);
        wake_supervisor();
    }

    /// Whether nothing may run any more.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::SeqCst)
    }
}

/// Wakes the thread that takes this process's signals, to look what has changed.
pub fn wake_supervisor() {
    // SIGCHLD is the one signal that is expected at any time and means nothing by itself.
    let _ = sys::kill(std::process::id().cast_signed(), libc::SIGCHLD);
}
