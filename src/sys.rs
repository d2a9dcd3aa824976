//! The only unsafe code: thin wrappers over what neither std nor nix can say.
//!
//! Signal sets are the kernel's own 64 bits here. musl's `sigset_t` calls leave out 32–34, which it keeps for its
//! threads; portero's COMMAND may be a glibc program, whose `SIGRTMIN` is 34, so they are asked for by raw system call.
#![allow(unsafe_code)]

pub mod alarm;
#[cfg(not(test))]
mod arena;
pub mod capabilities;
mod descriptors;
pub mod files;

use std::borrow::Cow;
use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use descriptors::duplicate;

/// The kernel's `sigset_t` (`rt_sigprocmask(2)`): bit n−1 stands for signal n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalSet(u64);

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
const SET_SIZE: usize = size_of::<u64>();

/// The mask that portero was started with; COMMAND gets it back.
static INHERITED_MASK: AtomicU64 = AtomicU64::new(0);
/// Whether SIGCHLD was ignored when portero was started; COMMAND gets that back.
static INHERITED_SIGCHLD_IGNORED: AtomicBool = AtomicBool::new(false);

/// The program's first instructions. It is the C `main`, not Rust's, so that nothing runs before all signals are
/// blocked (a PID 1 loses what comes earlier), and because Rust's start-up code would ignore SIGPIPE, catch SIGSEGV
/// and open /dev/null for a closed stdin: COMMAND would inherit some of it.
// SAFETY: the only symbol of this name: main.rs is `no_main` outside of tests.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, vector: *const *const c_char) -> c_int {
    INHERITED_MASK.store(set_signal_mask(SignalSet::ALL).0, Ordering::Relaxed);
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

/// Sets the calling thread's signal mask and returns the one before.
pub fn set_signal_mask(mask: SignalSet) -> SignalSet {
    let mut before = 0u64;
    // SAFETY: both pointers are to u64s that outlive the call, and the size given is theirs.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask.0,
            &raw mut before,
            SET_SIZE,
        )
    };
    SignalSet(before)
}

/// Back to the mask that portero was started with.
fn restore_signal_mask() {
    set_signal_mask(SignalSet(INHERITED_MASK.load(Ordering::Relaxed)));
}

/// Makes SIGCHLD's disposition the default and remembers what it was: ignored, the kernel would reap for portero
/// and lose the statuses (`wait(2)`, notes).
pub fn claim_children() {
    // SAFETY: SIG_DFL is a valid disposition and no handler is involved.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    INHERITED_SIGCHLD_IGNORED.store(before == libc::SIG_IGN, Ordering::Relaxed);
}

/// The signals that are pending for this process (`rt_sigpending(2)`).
pub fn pending_signals() -> SignalSet {
    let mut pending = 0u64;
    // SAFETY: the pointer is to a u64 that outlives the call, and the size given is its.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, SET_SIZE) };
    SignalSet(pending)
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
/// first (`rt_sigtimedwait(2)`). All signals must be blocked.
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
        // EINTR comes from a tracer or a stop, not from a signal: those are all blocked.
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None;
        }
    }
}

/// `sigaction(2)`: sent by the kernel.
const SI_KERNEL: c_int = 0x80;

/// Does `write`, and takes away the SIGPIPE of a reader that has gone: a log line that nobody reads must neither end
/// portero nor look like a signal that somebody sent. An ignored SIGPIPE would be COMMAND's inheritance.
pub fn without_sigpipe(write: impl FnOnce() -> io::Result<()>) {
    let mask = set_signal_mask(SignalSet::ALL);
    if write().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        // The kernel sends it to the very thread, and a thread's own signals are taken before the process's.
        next_of(SignalSet(1 << (libc::SIGPIPE - 1)), Some(Duration::ZERO));
    }
    set_signal_mask(mask);
}

/// Whether signal `number` is ignored, as after `nohup(1)`.
pub fn is_ignored(number: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given; the old one is written to a sigaction that outlives the call, all zero before.
    unsafe {
        libc::sigaction(number, ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// The time since the machine was booted, suspension included: what a process's start is counted from in
/// `/proc/PID/stat` (`clock_gettime(2)`, `CLOCK_BOOTTIME`; `proc(5)`, `starttime`).
pub fn time_since_boot() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    let seconds = Duration::from_secs(now.tv_sec.try_into().unwrap_or_default());
    seconds + Duration::from_nanos(now.tv_nsec.try_into().unwrap_or_default())
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
}

/// Takes the next change of any child without waiting for it (`waitpid(2)`). Raw, because nix's loses a child that
/// a real-time signal ended.
pub fn next_change() -> Children {
    let mut status = 0;
    // SAFETY: the pointer is to an int that outlives the call.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) } {
        0 => Children::Unchanged,
        pid if pid > 0 => Children::Changed(ChildChange { pid, status }),
        _ => Children::None,
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

/// Stops this process as Ctrl-Z would, until it is continued. The kernel does nothing where nobody could continue it:
/// in an orphaned process group (`setpgid(2)`, notes) and in the init of a PID namespace. All signals must be blocked.
pub fn stop_self() {
    // While it is blocked, so that it is one with a Ctrl-Z that is pending already: the two would stop it twice.
    let _ = kill(std::process::id().cast_signed(), libc::SIGTSTP);
    let mask = set_signal_mask(SignalSet::ALL.without(libc::SIGTSTP));
    set_signal_mask(mask);
}

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
}

/// Why an image was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecError {
    /// Which of the candidates it was about.
    pub candidate: usize,
    /// `execve(2)`'s.
    pub errno: i32,
}

/// What the child does to itself before it becomes the image.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The controlling terminal, when the child's new process group is to be its foreground job.
    pub terminal: Option<c_int>,
}

/// What ties a child to portero: it is killed when portero has gone (`prctl(2)`, `PR_SET_PDEATHSIG`), and it inherits
/// a descriptor, which stays open as long as any process has it.
#[derive(Clone, Copy, Debug)]
pub struct Bond {
    /// Close-on-exec in portero.
    pub descriptor: RawFd,
}

/// What parent and child share while the parent is suspended.
struct Launch {
    files: Vec<*const c_char>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    job: Option<Job>,
    bond: Option<Bond>,
    parent: i32,
    error: UnsafeCell<ExecError>,
}

/// What the cell holds as long as the child has not come to write into it.
const UNTOUCHED: i32 = -1;

impl Launch {
    fn new(image: &Image, job: Option<Job>, bond: Option<Bond>) -> Self {
        Self {
            files: image
                .candidates
                .iter()
                .map(|string| string.as_ptr())
                .collect(),
            arguments: pointers(image.arguments.iter().map(CString::as_c_str)),
            environment: pointers(image.environment.iter().map(AsRef::as_ref)),
            job,
            bond,
            parent: std::process::id().cast_signed(),
            error: UnsafeCell::new(ExecError {
                candidate: 0,
                errno: UNTOUCHED,
            }),
        }
    }

    /// Tries every candidate as `execvp(3)` does, and returns only when none could be executed.
    fn execute(&self) -> ExecError {
        let mut first_refusal = None;
        let mut error = ExecError {
            candidate: 0,
            errno: libc::ENOENT,
        };
        for (candidate, file) in self.files.iter().enumerate() {
            // SAFETY: the strings end in NUL, the arrays in a null pointer, and all belong to the `Image` that the
            // caller of `spawn` or `replace` keeps borrowed.
            unsafe { libc::execve(*file, self.arguments.as_ptr(), self.environment.as_ptr()) };
            error = ExecError {
                candidate,
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
/// With a `job` the child leads a new process group; with a `bond` it does not outlive portero. It starts with the mask and the ignored signals that portero was
/// given; all signals must be blocked when this is called.
///
/// # Errors
/// What `execve(2)` said, or `clone(2)` (candidate 0).
pub fn spawn(image: &Image, job: Option<Job>, bond: Option<Bond>) -> Result<i32, ExecError> {
    let launch = Launch::new(image, job, bond);
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
            candidate: 0,
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
    unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
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
    if let Some(bond) = launch.bond {
        // SAFETY: takes integers; the descriptor's flags are the child's own, for its table is a copy.
        unsafe {
            libc::fcntl(bond.descriptor, libc::F_SETFD, 0);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // Who has gone before the line above signals nobody.
            if libc::getppid() != launch.parent {
                libc::_exit(127);
            }
        }
    }
    return_inherited_signals();
    let error = launch.execute();
    // SAFETY: as above.
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

/// Back to the ignored SIGCHLD and the mask that portero was given: dispositions first, as long as all is blocked.
fn return_inherited_signals() {
    if INHERITED_SIGCHLD_IGNORED.load(Ordering::Relaxed) {
        // SAFETY: SIG_IGN is a valid disposition and no handler is involved.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    }
    restore_signal_mask();
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

/// Gives back the memory that the start has touched, its code and its part of the stack: the loop that is left for the
/// years to come needs little of either.
pub fn release_start() {
    release_code();
    release_stack();
}

/// Pages of code come back from the page cache when they are used.
fn release_code() {
    unsafe extern "C" {
        /// The image's first byte, and the end of its code (ld's own symbols).
        static __executable_start: u8;
        static etext: u8;
    }
    let start = (&raw const __executable_start)
        .addr()
        .next_multiple_of(PAGE);
    let end = (&raw const etext).addr() / PAGE * PAGE;
    // SAFETY: whole pages of the image's code, which is mapped from its file and never written to: what is dropped
    // here is read again from there (madvise(2), MADV_DONTNEED).
    unsafe {
        libc::madvise(
            ptr::without_provenance_mut(start),
            end.saturating_sub(start),
            libc::MADV_DONTNEED,
        )
    };
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

/// The largest page size of the supported machines' usual kernels is larger; this much is right for x86-64, and on
/// others `madvise(2)` refuses an address that is no page's, which does no harm.
const PAGE: usize = 4096;

/// Ends the process at once, without exit handlers (`_exit(2)`): for the panic hook, as PID 1 can't even abort.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(c_int::from(code)) }
}
