//! The program's first instructions.
//!
//! They are the C `main`, not Rust's, so that nothing runs before all signals are blocked (a PID 1 loses what comes
//! earlier), and because Rust's start-up code would ignore SIGPIPE, catch SIGSEGV and open /dev/null for a closed
//! stdin: COMMAND would inherit some of it.
#![cfg(not(any(test, fuzzing)))]

use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

use crate::sys::signals::block_all;

/// Makes a function of the arguments, which returns the exit code, the program's beginning. It is called from main.rs,
/// the one place above that something of `sys` leads to.
macro_rules! begin_with {
    ($start:path) => {
        // SAFETY: the only symbol of this name: main.rs is `no_main` outside of tests.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main(
            count: std::ffi::c_int,
            vector: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: both are the C runtime's own.
            unsafe { $crate::sys::entry::begin(count, vector, $start) }
        }
    };
}
pub(crate) use begin_with;

/// Blocks all signals, and calls `start` with the arguments.
///
/// # Safety
/// `vector` has `count` pointers to strings that end in NUL and live as long as the process.
pub unsafe fn begin(
    count: c_int,
    vector: *const *const c_char,
    start: fn(&[OsString]) -> u8,
) -> c_int {
    block_all();
    let count = usize::try_from(count).unwrap_or(0);
    let arguments = (0..count).map(|index| {
        // SAFETY: the caller's promise.
        let argument = unsafe { CStr::from_ptr(*vector.add(index)) };
        OsString::from_vec(argument.to_bytes().to_vec())
    });
    c_int::from(start(&arguments.collect::<Vec<_>>()))
}
