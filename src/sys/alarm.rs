//! The last resort of a program that must end in time: a timer of the kernel's that ends it wherever it is stuck.

use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;
use std::{io, ptr};

use crate::sys::line::write_within;
use crate::sys::process::standard_stream;

/// What is said then.
static LINE: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());
/// The exit code then.
static CODE: AtomicI32 = AtomicI32::new(0);
/// How often the timer has still to ring.
static RINGS: AtomicI32 = AtomicI32::new(0);

/// Whoever had no processor at the limit has it when the timer rings: only at the fourth ring is it known to be stuck.
/// The kernel counts the time to the next from when one is taken.
const FURTHER_RINGS: i32 = 3;
const BETWEEN: Duration = Duration::from_millis(50);

/// Ends the process with `code` when `limit` from now has passed and it could run for 150 ms more, and writes `line` to
/// stderr before, if there is room for it. `None` takes such an end back.
///
/// # Errors
/// As `sigaction(2)` and `setitimer(2)`, which takes a filter of system calls: nothing ends the process then.
pub fn exit_after(limit: Option<Duration>, line: &'static CStr, code: u8) -> io::Result<()> {
    LINE.store(line.as_ptr().cast_mut(), Ordering::Relaxed);
    CODE.store(c_int::from(code), Ordering::Relaxed);
    RINGS.store(FURTHER_RINGS, Ordering::Relaxed);
    let timeval = |time: Duration| libc::timeval {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_usec: time.subsec_micros().into(),
    };
    let timer = libc::itimerval {
        it_interval: timeval(BETWEEN),
        it_value: timeval(limit.unwrap_or_default()),
    };
    // SAFETY: all zero is a valid sigaction, the handler is a function of the type that goes without SA_SIGINFO and
    // calls nothing that a handler may not, and the timer outlives the call that reads it (setitimer(2)).
    let is_set = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = exit_in_handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut()) == 0
            && libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) == 0
    };
    if is_set {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

extern "C" fn exit_in_handler(_: c_int) {
    if RINGS.fetch_sub(1, Ordering::Relaxed) > 0 {
        return;
    }
    let line = LINE.load(Ordering::Relaxed);
    // SAFETY: a static string, stored before this handler was set.
    let line = unsafe { CStr::from_ptr(line) };
    write_within(
        standard_stream(libc::STDERR_FILENO),
        line.to_bytes(),
        Duration::ZERO,
    );
    // SAFETY: takes an integer and does not return; safe in a handler (signal-safety(7)).
    unsafe { libc::_exit(CODE.load(Ordering::Relaxed)) };
}
