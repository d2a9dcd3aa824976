//! The only unsafe code: thin wrappers over what neither std nor nix can say.
//!
//! Signal sets are the kernel's own 64 bits here. musl's `sigset_t` calls leave out 32–34, which it keeps for its
//! threads; portero's COMMAND may be a glibc program, whose `SIGRTMIN` is 34, so they are asked for by raw system call.
#![allow(unsafe_code)]

pub mod alarm;
#[cfg(not(any(test, fuzzing)))]
mod arena;
pub mod capabilities;
mod descriptors;
mod fatal;
pub mod files;
mod fork;
pub mod names;
mod output;
mod signals;
mod spawn;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr;
use std::slice;
use std::time::Duration;

pub use descriptors::duplicate;
pub use fatal::fail_as;
pub use fork::{end_of, fork};
pub use output::write_within;
pub use signals::{
    Arrival, SignalSet, claim_children, is_ignored, next_signal, pending_signals, set_signal_mask,
    stop_self, without_sigpipe,
};
pub use spawn::{ExecError, Image, Job, replace, spawn};

/// The program's first instructions. It is the C `main`, not Rust's, so that nothing runs before all signals are
/// blocked (a PID 1 loses what comes earlier), and because Rust's start-up code would ignore SIGPIPE, catch SIGSEGV
/// and open /dev/null for a closed stdin: COMMAND would inherit some of it.
// SAFETY: the only symbol of this name: main.rs is `no_main` outside of tests.
#[cfg(not(any(test, fuzzing)))]
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, vector: *const *const c_char) -> c_int {
    signals::block_all();
    let count = usize::try_from(count).unwrap_or(0);
    let arguments = (0..count).map(|index| {
        // SAFETY: the C runtime hands over `count` pointers to strings that end in NUL and live as long as the process.
        let argument = unsafe { CStr::from_ptr(*vector.add(index)) };
        std::os::unix::ffi::OsStringExt::from_vec(argument.to_bytes().to_vec())
    });
    c_int::from(crate::start(&arguments.collect::<Vec<_>>()))
}

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

/// The path by which portero was executed, for where there is no /proc (`getauxval(3)`, `AT_EXECFN`).
pub fn executed_path() -> Option<CString> {
    // SAFETY: the kernel put a string there that lives as long as the process, or the answer is 0.
    unsafe {
        let path = libc::getauxval(libc::AT_EXECFN) as *const c_char;
        (!path.is_null()).then(|| CStr::from_ptr(path).to_owned())
    }
}

fn errno() -> i32 {
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

/// Gives back the memory that the start has touched, its code, its constants and its part of the stack: the loop that is
/// left for the years to come needs little of any. With code and constants RSS as PID 1 is 440 kB, with the code alone 760.
pub fn release_start() {
    // SAFETY: the callback is of the type that is asked for, and takes no data.
    unsafe { libc::dl_iterate_phdr(Some(release_segments), ptr::null_mut()) };
    release_stack();
}

/// Pages of a file that are never written to come back from the page cache when they are used.
unsafe extern "C" fn release_segments(
    image: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: the pointer and the array behind it are the C library's, and are valid during the call
    // (dl_iterate_phdr(3)).
    let (base, segments) = unsafe {
        let image = &*image;
        let segments = slice::from_raw_parts(image.dlpi_phdr, image.dlpi_phnum.into());
        (image.dlpi_addr, segments)
    };
    let is_constant = |segment: &&libc::Elf64_Phdr| {
        segment.p_type == libc::PT_LOAD && segment.p_flags & libc::PF_W == 0
    };
    for segment in segments.iter().filter(is_constant) {
        let start = usize::try_from(base + segment.p_vaddr).unwrap_or_default();
        let size = usize::try_from(segment.p_memsz).unwrap_or_default();
        let (start, end) = (start.next_multiple_of(PAGE), (start + size) / PAGE * PAGE);
        // SAFETY: whole pages of one segment of the image, which is mapped from its file and never written to: what is
        // dropped here is read again from there (madvise(2), MADV_DONTNEED).
        unsafe {
            libc::madvise(
                ptr::without_provenance_mut(start),
                end.saturating_sub(start),
                libc::MADV_DONTNEED,
            )
        };
    }
    // The program itself comes first, and is all that there is in a static one.
    1
}

/// How deep the start may have been below the loop: parsing the command line takes some 20 kB.
const STACK_OF_START: usize = 128 * 1024;

/// The stack below the caller's frame comes back as zeroes.
#[inline(never)]
fn release_stack() {
    let here = MaybeUninit::<u8>::uninit();
    // The page of this frame stays, and the one below: `madvise` itself has a frame there.
    let end = (here.as_ptr().addr() / PAGE).saturating_sub(1) * PAGE;
    let start = end.saturating_sub(STACK_OF_START);
    // SAFETY: at least a page below the stack pointer, where no frame of this one thread's is; no signal has a handler,
    // which would be called there. Where nothing is mapped yet the call does nothing (madvise(2), ENOMEM).
    unsafe {
        libc::madvise(
            ptr::without_provenance_mut(start),
            end - start,
            libc::MADV_DONTNEED,
        )
    };
}

/// The page of x86-64, and of most arm64 kernels. Where pages are larger, `madvise(2)` refuses an address that does not
/// begin one, which does no harm.
const PAGE: usize = 4096;

/// Ends the process at once, without exit handlers (`_exit(2)`): for the panic hook, as PID 1 can't even abort.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(c_int::from(code)) }
}
