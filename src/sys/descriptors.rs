//! Descriptors that are made from others.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The lowest number of a duplicate: scripts use 3 to 9 for their own.
const LOWEST: libc::c_int = 20;

/// Duplicates a descriptor, close-on-exec (`fcntl(2)`, `F_DUPFD_CLOEXEC`). Where all of them are lower (`ulimit -n`),
/// that is EINVAL, and any will do.
///
/// # Errors
/// As `fcntl(2)`: EMFILE when there are too many.
pub fn duplicate(descriptor: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: takes integers, and the descriptor is open as long as it is borrowed.
    let copy = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD_CLOEXEC, LOWEST) };
    if copy >= 0 {
        // SAFETY: the kernel has just made it, so nobody else owns it.
        return Ok(unsafe { OwnedFd::from_raw_fd(copy) });
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EINVAL) => descriptor.try_clone_to_owned(),
        error => Err(error),
    }
}
