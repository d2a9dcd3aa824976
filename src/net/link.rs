//! A connection that a protocol is spoken over, plain or with TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::net::deadline::Deadline;
use crate::net::readiness::Readiness;
use crate::net::tls::{self, Config, Session};
use crate::net::wire::Wire;
use crate::wording;

/// The first two bytes of a TLS alert: what a TLS server says to a plain request (RFC 8446, sections 5.1 and 6).
pub const TLS_ALERT: [u8; 2] = [21, 3];

/// A connection that HTTP can be spoken on.
pub enum Link {
    Plain(Wire),
    Tls(Session),
}

impl Link {
    pub fn tcp(socket: TcpStream, deadline: Deadline) -> Self {
        Self::Plain(Wire::tcp(socket, deadline))
    }

    pub fn unix(socket: UnixStream, deadline: Deadline) -> Self {
        Self::Plain(Wire::unix(socket, deadline))
    }

    /// Shakes hands as a client of `host` (a name, or an address without brackets). `plain` is the scheme without TLS.
    ///
    /// # Errors
    /// Why TLS did not come about.
    pub fn tls(
        socket: TcpStream,
        host: &str,
        config: Config,
        deadline: Deadline,
        plain: &str,
    ) -> Result<Self, Readiness> {
        // The handshake and what follows are several writes: none is to wait for the answer to another.
        let _ = socket.set_nodelay(true);
        Session::begin(Wire::tcp(socket, deadline), host, config)
            .map(Self::Tls)
            .map_err(|error| explain(&error, deadline, plain))
    }

    /// Whether what goes over it is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Reads what is there, or waits for it: not beyond the deadline. 0 is the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    /// Writes everything, and not beyond the deadline.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(wire) => wire.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// What an error of reading or writing means for readiness; `plain` is the scheme to use instead where there is no TLS.
pub fn explain(error: &io::Error, deadline: Deadline, plain: &str) -> Readiness {
    if let Some(refusal) = tls::refusal(error, plain) {
        return Readiness::Refused(refusal);
    }
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => deadline.missed(),
        _ => Readiness::NotYet(wording::error(error)),
    }
}
