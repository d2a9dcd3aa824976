//! A line to a standard stream, whoever reads it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::sys::output::write_with_sigpipe;
use crate::sys::signals::without_sigpipe;

/// Writes `bytes`, and waits for room for at most `limit`. Returns how many were written: all, none, or a part of what
/// is longer than a pipe takes at once. Fit for a signal handler: it allocates nothing and takes no lock.
pub fn write_within(stream: BorrowedFd<'_>, bytes: &[u8], limit: Duration) -> usize {
    let mut written = 0;
    without_sigpipe(|| {
        let (count, result) = write_with_sigpipe(stream, bytes, limit);
        written = count;
        Ok(result?)
    });
    written
}
