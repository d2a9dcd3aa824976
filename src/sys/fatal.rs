//! What cannot be borne: it is one line and an exit code, said without memory, lock or handler.

#[cfg(not(fuzzing))]
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sys::mask::{SignalSet, change_signal_mask};
use crate::sys::output::write_with_sigpipe;
use crate::sys::process::{exit_now, standard_stream};

/// How the line begins, and the code.
static WORDS: OnceLock<(&str, u8)> = OnceLock::new();

/// Whether the very first step, to block all signals, has failed.
static LETS_SIGNALS_THROUGH: AtomicBool = AtomicBool::new(false);

/// How long the line may wait for room.
const PATIENCE: Duration = Duration::from_millis(100);

/// Says how the line begins and what the exit code is, from now on, and catches up on what failed before.
pub fn fail_as(prefix: &'static str, code: u8) {
    WORDS.get_or_init(|| (prefix, code));
    if LETS_SIGNALS_THROUGH.load(Ordering::Relaxed) {
        fail("the kernel does not let it block signals");
    }
}

/// Remembers that signals are not blocked, until there are words for it.
#[cfg(not(any(test, fuzzing)))]
pub(super) fn lets_signals_through() {
    LETS_SIGNALS_THROUGH.store(true, Ordering::Relaxed);
}

/// Ends the process with one line.
pub(super) fn fail(why: &str) -> ! {
    let (prefix, code) = WORDS.get().copied().unwrap_or(("portero: ", 125));
    let mut line = [0; 128];
    let parts = [prefix, why, "\n"];
    let bytes = parts.iter().flat_map(|part| part.bytes());
    let length = line
        .iter_mut()
        .zip(bytes)
        .map(|(to, from)| *to = from)
        .count();
    // Whoever reads it: the code is to be this one, not SIGPIPE's.
    let _ = change_signal_mask(SignalSet::ALL);
    let _ = write_with_sigpipe(standard_stream(2), &line[..length], PATIENCE);
    exit_now(code);
}

#[cfg(not(fuzzing))]
unsafe extern "C" {
    /// The C library's `malloc`, by the linker's name for it (see build.rs).
    fn __real_malloc(size: usize) -> *mut c_void;
}

/// What all call as `malloc`: there is memory, or one line and the end.
// SAFETY: the only symbol of this name, which the linker asks for.
#[cfg(not(fuzzing))]
#[unsafe(no_mangle)]
extern "C" fn __wrap_malloc(size: usize) -> *mut c_void {
    // SAFETY: takes an integer.
    or_end(unsafe { __real_malloc(size) }.cast()).cast()
}

/// What has no memory left can't go on: no part of this program is written to do without.
#[cfg(not(fuzzing))]
pub(super) fn or_end(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        fail("out of memory");
    }
    block
}

/// The C library's, replaced: what std ends by when it can't go on, and says so itself before. A SIGABRT
/// would be a code of no table, and does nothing to a PID 1.
#[cfg(not(any(test, fuzzing)))]
// SAFETY: the only symbol of this name: the C library's is linked only where there is none.
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    fail("it can't go on: see the lines before");
}
