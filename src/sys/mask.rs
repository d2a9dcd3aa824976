//! Sets of signals, and the calling thread's mask (`rt_sigprocmask(2)`).

use std::io;

/// The kernel's `sigset_t` (`rt_sigprocmask(2)`): bit n−1 stands for signal n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalSet(pub(super) u64);

impl SignalSet {
    /// Every signal, 1 to 64.
    pub const ALL: Self = Self(u64::MAX);
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether signal `number` is in the set.
    pub fn contains(self, number: i32) -> bool {
        (1..=64).contains(&number) && self.0 & (1 << (number - 1)) != 0
    }

    /// The set with signal `number`.
    #[must_use]
    pub fn with(self, number: i32) -> Self {
        Self(self.0 | 1 << (number - 1))
    }

    /// The set without signal `number`.
    #[must_use]
    pub fn without(self, number: i32) -> Self {
        Self(self.0 & !(1 << (number - 1)))
    }
}

/// The bytes of the kernel's signal set.
pub(super) const SET_SIZE: usize = size_of::<u64>();

/// Sets the calling thread\'s signal mask and returns the one before.
///
/// # Errors
/// As `rt_sigprocmask(2)`, which takes a filter of system calls.
pub(super) fn change_signal_mask(mask: SignalSet) -> io::Result<SignalSet> {
    let mut before = 0u64;
    // SAFETY: both pointers are to u64s that outlive the call, and the size given is theirs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask.0,
            &raw mut before,
            SET_SIZE,
        )
    };
    if result == 0 {
        Ok(SignalSet(before))
    } else {
        Err(io::Error::last_os_error())
    }
}
