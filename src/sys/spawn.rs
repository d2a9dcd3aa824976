//! Starting a program: by a clone that shares portero's memory until it executes, or in portero's own place.

use std::borrow::Cow;
use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

use crate::sys::mask::SignalSet;
use crate::sys::process::errno;
use crate::sys::signals::{return_inherited_signals, set_signal_mask};

/// An image that is ready to be executed: all memory that `execve(2)` needs is there, so that a child that shares
/// portero's memory has nothing to allocate.
#[derive(Debug)]
pub struct Image {
    /// Files to try, in order: one, or one a directory of PATH.
    pub candidates: Vec<CString>,
    /// The arguments, the name first.
    pub arguments: Vec<CString>,
    /// `NAME=VALUE`, each.
    pub environment: Vec<Cow<'static, CStr>>,
    /// Whether it gets SIGTERM when portero has gone (`prctl(2)`, `PR_SET_PDEATHSIG`).
    pub ends_with_parent: bool,
}

/// Why an image was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecError {
    /// Which of the candidates it was about; none when there is no process to execute it in (`clone(2)`).
    pub candidate: Option<usize>,
    /// `execve(2)`'s.
    pub errno: i32,
}

/// What the child does to itself before it becomes the image.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The controlling terminal, when the child's new process group is to be its foreground job.
    pub terminal: Option<c_int>,
}

/// What parent and child share while the parent is suspended.
struct Launch {
    files: Vec<*const c_char>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    job: Option<Job>,
    inherited: Option<RawFd>,
    /// portero's pid, for a child that ends with it.
    parent: Option<i32>,
    error: UnsafeCell<ExecError>,
}

/// What the cell holds as long as the child has not come to write into it.
const UNTOUCHED: i32 = -1;

impl Launch {
    fn new(image: &Image, job: Option<Job>, inherited: Option<RawFd>) -> Self {
        Self {
            files: image
                .candidates
                .iter()
                .map(|string| string.as_ptr())
                .collect(),
            arguments: pointers(image.arguments.iter().map(CString::as_c_str)),
            environment: pointers(image.environment.iter().map(AsRef::as_ref)),
            job,
            inherited,
            parent: image
                .ends_with_parent
                .then(|| std::process::id().cast_signed()),
            error: UnsafeCell::new(ExecError {
                candidate: None,
                errno: UNTOUCHED,
            }),
        }
    }

    /// Tries every candidate as `execvp(3)` does, and returns only when none could be executed.
    fn execute(&self) -> ExecError {
        let mut first_refusal = None;
        let mut error = ExecError {
            candidate: None,
            errno: libc::ENOENT,
        };
        for (candidate, file) in self.files.iter().enumerate() {
            // SAFETY: the strings end in NUL, the arrays in a null pointer, and all belong to the `Image` that the
            // caller of `spawn` or `replace` keeps borrowed.
            unsafe { libc::execve(*file, self.arguments.as_ptr(), self.environment.as_ptr()) };
            error = ExecError {
                candidate: Some(candidate),
                errno: errno(),
            };
            match error.errno {
                libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ESTALE | libc::ETIMEDOUT => {}
                libc::EACCES => first_refusal = first_refusal.or(Some(error)),
                _ => return error,
            }
        }
        first_refusal.unwrap_or(error)
    }
}

/// What `execve(2)` takes: pointers to strings, and a null pointer at the end.
fn pointers<'a>(strings: impl ExactSizeIterator<Item = &'a CStr>) -> Vec<*const c_char> {
    let mut pointers = Vec::with_capacity(strings.len() + 1);
    pointers.extend(strings.map(CStr::as_ptr).chain([ptr::null()]));
    pointers
}

/// The stack of a child until it has become another image. Its frames are a few system calls deep. It is not
/// initialised, so that the pages that are never used are never there.
#[repr(C, align(16))]
struct ChildStack(UnsafeCell<MaybeUninit<[u8; 16 * 1024]>>);

/// Starts `image` as a child. The parent sleeps until the child has become the image, or failed to
/// (`CLONE_VM | CLONE_VFORK`, as `posix_spawn(3)` does it): so there is no moment in which a signal could be sent to a
/// group that does not exist yet or to a child that is still portero, and no page table is copied.
///
/// With a `job` the child leads a new process group. It has the `inherited` descriptor, which is close-on-exec in
/// portero, and the mask and the ignored signals that portero was given; all signals must be blocked when this is
/// called.
///
/// # Errors
/// What `execve(2)` said, or `clone(2)` (no candidate).
pub fn spawn(image: &Image, job: Option<Job>, inherited: Option<RawFd>) -> Result<i32, ExecError> {
    let launch = Launch::new(image, job, inherited);
    // They are, unless the C library's own changes around fork(2) and setresuid(2) went wrong, which it does not tell:
    // the child's end would be missed for ever.
    set_signal_mask(SignalSet::ALL);
    let stack = ChildStack(UnsafeCell::new(MaybeUninit::uninit()));
    // SAFETY: the pointer is one past the end of the array, aligned to 16 as the ABI asks.
    let top = unsafe { stack.0.get().cast::<u8>().add(16 * 1024) };
    // SAFETY: CLONE_VFORK suspends the parent until the child executes or exits, so `launch` and `stack` outlive it
    // and nobody else touches them; the child uses its own stack, allocates nothing and takes no lock.
    let pid = unsafe {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        libc::clone(
            become_image,
            top.cast(),
            flags,
            ptr::from_ref(&launch).cast_mut().cast(),
        )
    };
    if pid < 0 {
        return Err(ExecError {
            candidate: None,
            errno: errno(),
        });
    }
    // SAFETY: the child has written and is gone, or has become another image: nobody else holds the cell.
    let error = unsafe { *launch.error.get() };
    if error.errno == UNTOUCHED {
        // The emulator of another architecture (qemu-user) makes a fork of it, whose memory is its own: what becomes of
        // the child is told by its exit code alone, and both sides make the group, whoever comes first.
        if job.is_some() {
            // SAFETY: takes integers.
            unsafe { libc::setpgid(pid, pid) };
        }
        return Ok(pid);
    }
    if error.errno == 0 {
        return Ok(pid);
    }
    // SAFETY: waits for a child of this process; no status is asked for.
    while unsafe { libc::waitpid(pid, ptr::null_mut(), 0) } < 0 && errno() == libc::EINTR {}
    Err(error)
}

/// The child's part of `spawn`.
extern "C" fn become_image(launch: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes a `Launch` that lives while its parent is suspended.
    let launch = unsafe { &*launch.cast::<Launch>() };
    // SAFETY: the parent reads the cell only after this child has gone or executed. A success leaves the 0 behind.
    unsafe { (*launch.error.get()).errno = 0 };
    if let Some(job) = launch.job {
        // SAFETY: takes integers; the foreground is taken with SIGTTOU blocked, so it can't stop the child.
        unsafe {
            libc::setpgid(0, 0);
            if let Some(terminal) = job.terminal {
                let own = libc::getpid();
                libc::ioctl(terminal, libc::TIOCSPGRP, &raw const own);
            }
        }
    }
    if let Some(descriptor) = launch.inherited {
        // SAFETY: takes integers; the descriptor's flags are the child's own, for its table is a copy.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } != 0 {
            // Without it a migration would run on when its lock has gone.
            let (candidate, errno) = (None, errno());
            refuse(launch, ExecError { candidate, errno });
        }
    }
    if let Some(parent) = launch.parent {
        // SAFETY: takes integers. Who has gone before the first line signals nobody.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            if libc::getppid() != parent {
                libc::_exit(128 + libc::SIGTERM);
            }
        }
    }
    return_inherited_signals();
    refuse(launch, launch.execute())
}

/// Ends the child of `spawn` that could not become the image.
fn refuse(launch: &Launch, error: ExecError) -> ! {
    // SAFETY: the parent reads the cell only after this child has gone.
    unsafe { *launch.error.get() = error };
    let code = if error.errno == libc::ENOENT {
        127
    } else {
        126
    };
    // SAFETY: ends the child without running the parent's exit handlers.
    unsafe { libc::_exit(code) }
}

/// Becomes `image` in place of portero (`--exec`).
///
/// Returns only what `execve(2)` said when it failed.
pub fn replace(image: &Image) -> ExecError {
    let launch = Launch::new(image, None, None);
    let mask = set_signal_mask(SignalSet::ALL);
    return_inherited_signals();
    let error = launch.execute();
    set_signal_mask(mask);
    error
}
