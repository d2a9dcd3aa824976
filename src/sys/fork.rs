//! A child that is portero still: for work that may hang where nothing else would end it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::{io, ptr};

use crate::sys::process::exit_now;

/// Forks a child that does `work`, ends with the code that this returns, and is killed when this process has gone
/// (`prctl(2)`, `PR_SET_PDEATHSIG`). Returns its pid. For a process that has one thread only.
///
/// # Errors
/// As `fork(2)`: EAGAIN where there are too many processes, ENOMEM.
pub fn fork(work: impl FnOnce() -> u8) -> io::Result<i32> {
    let parent = std::process::id().cast_signed();
    // SAFETY: there is one thread, so no lock is held by anybody who is not in the child, and all may be called there.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: takes integers.
            let orphaned = unsafe {
                // Who has gone before the call signals nobody.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 || libc::getppid() != parent
            };
            exit_now(if orphaned { 127 } else { work() });
        }
        pid if pid > 0 => Ok(pid),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The status of a child that has ended, and is reaped by this: `None` while it runs, which is waited for when
/// `patient` (`waitpid(2)`).
///
/// # Errors
/// As `waitpid(2)`: ECHILD when somebody else has reaped it.
pub fn end_of(pid: i32, patient: bool) -> io::Result<Option<ExitStatus>> {
    let (flags, mut status) = (if patient { 0 } else { libc::WNOHANG }, 0);
    loop {
        // SAFETY: the pointer is to an int that outlives the call; `null` asks for no more.
        match unsafe { libc::wait4(pid, &raw mut status, flags, ptr::null_mut()) } {
            0 => return Ok(None),
            found if found == pid => return Ok(Some(ExitStatus::from_raw(status))),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
