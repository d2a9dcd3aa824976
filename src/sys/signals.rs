//! Signals by raw number and with the kernel's whole set: neither nix nor the C library knows all of 1 to 64.

use std::ffi::{c_int, c_long};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{io, ptr};

use crate::sys::children::kill;
use crate::sys::fatal::fail;
#[cfg(not(any(test, fuzzing)))]
use crate::sys::fatal::lets_signals_through;
use crate::sys::mask::{SET_SIZE, SignalSet, change_signal_mask};
use crate::sys::process::errno;

/// The mask that portero was started with; COMMAND gets it back.
static INHERITED_MASK: AtomicU64 = AtomicU64::new(0);
/// Whether SIGCHLD was ignored when portero was started; COMMAND gets that back.
static INHERITED_SIGCHLD_IGNORED: AtomicBool = AtomicBool::new(false);

/// Sets the calling thread's signal mask and returns the one before. Where the kernel refuses, which takes a filter of
/// system calls, the process ends: signals would be lost, or what is started would be deaf to them.
pub fn set_signal_mask(mask: SignalSet) -> SignalSet {
    change_signal_mask(mask)
        .unwrap_or_else(|_| fail("the kernel does not let it change its signal mask"))
}

/// Blocks everything and remembers the mask that there was: the first thing that portero does.
#[cfg(not(any(test, fuzzing)))]
pub(super) fn block_all() {
    match change_signal_mask(SignalSet::ALL) {
        Ok(before) => INHERITED_MASK.store(before.0, Ordering::Relaxed),
        Err(_) => lets_signals_through(),
    }
}

/// Back to the mask that portero was started with.
fn restore_signal_mask() {
    set_signal_mask(SignalSet(INHERITED_MASK.load(Ordering::Relaxed)));
}

/// Makes SIGCHLD's disposition the default and remembers what it was at the first call: ignored, the kernel would reap
/// for portero and lose the statuses (`wait(2)`, notes).
///
/// # Errors
/// As `sigaction(2)`, which takes a filter of system calls.
pub fn claim_children() -> io::Result<()> {
    // SAFETY: SIG_DFL is a valid disposition and no handler is involved.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    if before == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    INHERITED_SIGCHLD_IGNORED.fetch_or(before == libc::SIG_IGN, Ordering::Relaxed);
    Ok(())
}

/// The signals that are pending for this process (`rt_sigpending(2)`).
///
/// # Errors
/// When the kernel does not tell, which takes a filter of system calls.
pub fn pending_signals() -> io::Result<SignalSet> {
    let mut pending = 0u64;
    // SAFETY: the pointer is to a u64 that outlives the call, and the size given is its.
    match unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, SET_SIZE) } {
        0 => Ok(SignalSet(pending)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A signal that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which.
    pub number: i32,
    /// Whether the kernel raised it, as it does for a terminal's keys, rather than a process.
    pub from_kernel: bool,
}

/// Takes the next pending signal, or sleeps until there is one: at most for `limit`. `None` when the limit passed
/// first (`rt_sigtimedwait(2)`). All signals must be blocked. Where the kernel refuses, which takes a filter of system
/// calls, it is a SIGCHLD now and then: children are looked after all the same.
pub fn next_signal(limit: Option<Duration>) -> Option<Arrival> {
    next_of(SignalSet::ALL, limit)
}

fn next_of(signals: SignalSet, limit: Option<Duration>) -> Option<Arrival> {
    let deadline = limit.map(|limit| libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(c_long::MAX),
        tv_nsec: c_long::from(limit.subsec_nanos().cast_signed()),
    });
    let deadline = deadline.as_ref().map_or(ptr::null(), ptr::from_ref);
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: the set and the time are read only, the kernel writes at most a siginfo, and all outlive the call.
        let number = unsafe {
            libc::syscall(
                libc::SYS_rt_sigtimedwait,
                &raw const signals.0,
                info.as_mut_ptr(),
                deadline,
                SET_SIZE,
            )
        };
        if number > 0 {
            // SAFETY: zeroed to begin with, which is a valid siginfo, and written by the kernel since.
            let from_kernel = unsafe { info.assume_init_ref() }.si_code == SI_KERNEL;
            return i32::try_from(number).ok().map(|number| Arrival {
                number,
                from_kernel,
            });
        }
        match errno() {
            // From a tracer or a stop, not from a signal: those are all blocked.
            libc::EINTR => {}
            libc::EAGAIN if limit.is_some() => return None,
            _ => return unheard(limit),
        }
    }
}

/// What is heard where the kernel does not tell.
fn unheard(limit: Option<Duration>) -> Option<Arrival> {
    std::thread::sleep(limit.unwrap_or(LOOK_PAUSE).min(LOOK_PAUSE));
    limit
        .is_none_or(|limit| limit > LOOK_PAUSE)
        .then_some(Arrival {
            number: libc::SIGCHLD,
            from_kernel: true,
        })
}

/// Between two looks at the children where no signal is heard.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// `sigaction(2)`: sent by the kernel.
const SI_KERNEL: c_int = 0x80;

/// Does `write`, and takes away the SIGPIPE of a reader that has gone: a log line that nobody reads must neither end
/// portero nor look like a signal that somebody sent. An ignored SIGPIPE would be COMMAND's inheritance.
pub fn without_sigpipe(write: impl FnOnce() -> io::Result<()>) {
    // What ends the process for its mask writes by this, too.
    let Ok(mask) = change_signal_mask(SignalSet::ALL) else {
        let _ = write();
        return;
    };
    // All others get through: a program that takes a stop by a handler must end by it while it writes.
    set_signal_mask(mask.with(libc::SIGPIPE));
    if write().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        // The kernel sends it to the very thread, and a thread's own signals are taken before the process's.
        next_of(SignalSet(1 << (libc::SIGPIPE - 1)), Some(Duration::ZERO));
    }
    set_signal_mask(mask);
}

/// Whether signal `number` is ignored, as after `nohup(1)`.
///
/// # Errors
/// As `sigaction(2)`: EINVAL for one that is the C library's own, or that is none.
pub fn is_ignored(number: i32) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given; the old one is written to a sigaction that outlives the call, all zero before.
    unsafe {
        if libc::sigaction(number, ptr::null(), action.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(action.assume_init().sa_sigaction == libc::SIG_IGN)
    }
}

/// Stops this process as Ctrl-Z would, until it is continued. The kernel does nothing where nobody could continue it:
/// in an orphaned process group (`setpgid(2)`, notes) and in the init of a PID namespace. All signals must be blocked.
pub fn stop_self() {
    // While it is blocked, so that it is one with a Ctrl-Z that is pending already: the two would stop it twice.
    let _ = kill(std::process::id().cast_signed(), libc::SIGTSTP);
    let mask = set_signal_mask(SignalSet::ALL.without(libc::SIGTSTP));
    set_signal_mask(mask);
}

/// Back to the ignored SIGCHLD and the mask that portero was given: dispositions first, as long as all is blocked.
pub(super) fn return_inherited_signals() {
    // SAFETY: SIG_IGN is a valid disposition and no handler is involved.
    let ignore = || unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    if INHERITED_SIGCHLD_IGNORED.load(Ordering::Relaxed) && ignore() == libc::SIG_ERR {
        fail("the kernel does not let it ignore SIGCHLD again");
    }
    restore_signal_mask();
}
