//! This process: its environment, its streams, its end.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

unsafe extern "C" {
    /// The environment's strings and a null pointer at the end (`environ(7)`).
    static environ: *const *const c_char;
}

/// The environment's strings, as the kernel put them there.
pub fn environment() -> Vec<&'static CStr> {
    // SAFETY: the C runtime has set it, and nothing in this program ever changes it or the strings, so that they live
    // as long as the process. A null pointer ends the array.
    let entry = |index| unsafe {
        let entry = *environ.add(index);
        (!entry.is_null()).then(|| CStr::from_ptr(entry))
    };
    (0..).map_while(entry).collect()
}

/// How many processors this process may run on: its affinity, within its cpuset (`sched_getaffinity(2)`).
pub fn processors() -> Option<u64> {
    // Room for 8,192: the kernel refuses a mask that is too short for its own.
    let mut mask = [0_u64; 128];
    // SAFETY: the kernel, and the C library behind it, writes no more than this size to the array.
    let failed =
        unsafe { libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast()) };
    let count = mask.iter().map(|word| u64::from(word.count_ones())).sum();
    Some(count).filter(|count| failed == 0 && *count > 0)
}

/// The time since the machine was booted, suspension included: what a process's start is counted from in
/// `/proc/PID/stat` (`clock_gettime(2)`, `CLOCK_BOOTTIME`; `proc(5)`, `starttime`).
///
/// # Errors
/// As `clock_gettime(2)`, which takes a filter of system calls.
pub fn time_since_boot() -> io::Result<Duration> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that outlives the call.
    if unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = Duration::from_secs(now.tv_sec.try_into().unwrap_or_default());
    Ok(seconds + Duration::from_nanos(now.tv_nsec.try_into().unwrap_or_default()))
}

/// The path by which portero was executed, for where there is no /proc (`getauxval(3)`, `AT_EXECFN`).
pub fn executed_path() -> Option<CString> {
    // SAFETY: the kernel put a string there that lives as long as the process, or the answer is 0.
    unsafe {
        let path = libc::getauxval(libc::AT_EXECFN) as *const c_char;
        (!path.is_null()).then(|| CStr::from_ptr(path).to_owned())
    }
}

pub(super) fn errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// Standard input, output or error by number. std's handles would do, but allocate buffers that nobody uses.
pub fn standard_stream(number: RawFd) -> BorrowedFd<'static> {
    debug_assert!((0..=2).contains(&number));
    // SAFETY: portero never closes a standard descriptor; one that was closed from the start answers EBADF.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Ends the process at once, without exit handlers (`_exit(2)`): for the panic hook, as PID 1 can't even abort.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(c_int::from(code)) }
}
