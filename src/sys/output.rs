//! A line to a standard stream that never waits longer than it may for whoever reads it.
//!
//! A stream's own mode stays as it is: COMMAND, and whoever started portero, has the same one. So each line goes a way
//! that cannot block: to a socket by a send that may not wait, to a pipe or a terminal by the same file opened once
//! more (`/proc/self/fd`, `O_NONBLOCK`); where that can't be, to a pipe through one of our own (`splice(2)`). What is
//! left, files, odd devices, and a pipe when no descriptor is left, is written to when it says that it has room. A file
//! on a mount that hangs still hangs then, and so does a pipe that somebody else fills between the look and the write.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, open, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{pipe2, write};

/// Writes `bytes`, and waits for room for at most `limit`. Returns how many were written: all, none, or a part of what
/// is longer than a pipe takes at once; and the error that ended it. The SIGPIPE of a reader that has gone is the
/// caller's. Fit for a signal handler: it allocates nothing and takes no lock.
pub(super) fn write_with_sigpipe(
    stream: BorrowedFd<'_>,
    bytes: &[u8],
    limit: Duration,
) -> (usize, Result<(), Errno>) {
    let (start, way, mut written) = (Instant::now(), Way::to(stream), 0);
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match way.try_write(stream, rest) {
            Ok(count @ 1..) => written += count,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let left = limit.saturating_sub(start.elapsed());
                if left.is_zero() || !has_room(stream, left) {
                    break;
                }
            }
            Ok(0) => break,
            Err(errno) => return (written, Err(errno)),
        }
    }
    (written, Ok(()))
}

/// How a stream is written to without waiting.
enum Way {
    Socket,
    /// The same file, opened once more.
    Anew(OwnedFd),
    Pipe,
    Plain,
}

impl Way {
    fn to(stream: BorrowedFd<'_>) -> Self {
        let kind = fstat(stream).map_or(SFlag::empty(), |stat| {
            SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
        });
        if kind == SFlag::S_IFSOCK {
            return Self::Socket;
        }
        if kind != SFlag::S_IFIFO && kind != SFlag::S_IFCHR {
            return Self::Plain;
        }
        let path = match stream.as_raw_fd() {
            1 => c"/proc/self/fd/1",
            2 => c"/proc/self/fd/2",
            _ => c"",
        };
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(file) => Self::Anew(file),
            Err(_) if kind == SFlag::S_IFIFO => Self::Pipe,
            Err(_) => Self::Plain,
        }
    }

    fn try_write(&self, stream: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Socket => send(
                stream.as_raw_fd(),
                bytes,
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            ),
            Self::Anew(file) => write(file, bytes),
            Self::Pipe => splice_into(stream, bytes),
            Self::Plain => write_into_room(stream, bytes),
        }
    }
}

/// What a pipe of our own took of `bytes` moves on to the other one as far as there is room.
fn splice_into(stream: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let Ok((reader, writer)) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK) else {
        // No descriptor is left.
        return write_into_room(stream, bytes);
    };
    let length = write(&writer, bytes)?;
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
    splice(&reader, None, stream, None, length, flags)
}

/// What a pipe that has room takes without waiting, unless somebody else fills it first (`pipe(7)`, `PIPE_BUF`).
const SURE_TO_FIT: usize = 4096;

/// Writes when there is room.
fn write_into_room(stream: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    if !has_room(stream, Duration::ZERO) {
        return Err(Errno::EAGAIN);
    }
    write(stream, &bytes[..bytes.len().min(SURE_TO_FIT)])
}

/// Whether there is room, or comes to be within `limit`. A stream that is broken has it: the write finds out.
fn has_room(stream: BorrowedFd<'_>, limit: Duration) -> bool {
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
    poll(&mut [PollFd::new(stream, PollFlags::POLLOUT)], limit).is_ok_and(|count| count > 0)
}
