//! A socket with one deadline over every read and write.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::net::deadline::Deadline;

/// A socket on which no read and no write outlasts the deadline, however slowly the bytes drip.
pub struct Wire {
    socket: Socket,
    deadline: Deadline,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What a socket's time limit is for.
#[derive(Clone, Copy)]
enum Operation {
    Read,
    Write,
}

impl Socket {
    fn set_limit(&self, operation: Operation, limit: Option<Duration>) -> io::Result<()> {
        match (self, operation) {
            (Self::Tcp(socket), Operation::Read) => socket.set_read_timeout(limit),
            (Self::Tcp(socket), Operation::Write) => socket.set_write_timeout(limit),
            (Self::Unix(socket), Operation::Read) => socket.set_read_timeout(limit),
            (Self::Unix(socket), Operation::Write) => socket.set_write_timeout(limit),
        }
    }
}

impl Wire {
    pub fn tcp(socket: TcpStream, deadline: Deadline) -> Self {
        Self {
            socket: Socket::Tcp(socket),
            deadline,
        }
    }

    pub fn unix(socket: UnixStream, deadline: Deadline) -> Self {
        Self {
            socket: Socket::Unix(socket),
            deadline,
        }
    }

    /// Runs `work` with what is left of the deadline as the socket's time limit for such an operation.
    fn within<T>(
        &mut self,
        operation: Operation,
        mut work: impl FnMut(&mut Socket) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let left = self.deadline.remaining().ok_or(io::ErrorKind::TimedOut)?;
            self.socket.set_limit(operation, Some(left))?;
            match work(&mut self.socket) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A time limit that ran out is EAGAIN (socket(7), SO_RCVTIMEO); the deadline then has passed.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                result => return result,
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.within(Operation::Read, |socket| match socket {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        })
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.within(Operation::Write, |socket| match socket {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
