//! A connection that a protocol is spoken over, plain or with TLS: one deadline over every read and write.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::net::deadline::Deadline;
use crate::net::readiness::Readiness;
use crate::net::tls;
use crate::wording;

/// The first two bytes of a TLS alert: what a TLS server says to a plain request (RFC 8446, sections 5.1 and 6).
pub const TLS_ALERT: [u8; 2] = [21, 3];

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

/// A connection that HTTP can be spoken on.
pub enum Link {
    Plain(Wire),
    Tls(Box<StreamOwned<ClientConnection, Wire>>),
}

impl Link {
    pub fn tcp(socket: TcpStream, deadline: Deadline) -> Self {
        Self::Plain(Wire {
            socket: Socket::Tcp(socket),
            deadline,
        })
    }

    pub fn unix(socket: UnixStream, deadline: Deadline) -> Self {
        Self::Plain(Wire {
            socket: Socket::Unix(socket),
            deadline,
        })
    }

    /// Shakes hands as a client of `host` (a name, or an address without brackets). `plain` is the scheme without TLS.
    ///
    /// # Errors
    /// Why TLS did not come about.
    pub fn tls(
        socket: TcpStream,
        host: &str,
        config: Arc<ClientConfig>,
        deadline: Deadline,
        plain: &str,
    ) -> Result<Self, Readiness> {
        Self::shake_hands(socket, host, config, deadline)
            .map_err(|error| explain(&error, deadline, plain))
    }

    /// A failure of TLS is an error whose source is a [`rustls::Error`].
    fn shake_hands(
        socket: TcpStream,
        host: &str,
        config: Arc<ClientConfig>,
        deadline: Deadline,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        // The handshake and what follows are several writes: none is to wait for the answer to another.
        let _ = socket.set_nodelay(true);
        let mut wire = Wire {
            socket: Socket::Tcp(socket),
            deadline,
        };
        while connection.is_handshaking() {
            match connection.complete_io(&mut wire) {
                Ok((0, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => {
                    // The server is told why, by an alert that may stand behind other records.
                    while connection.wants_write() && connection.write_tls(&mut wire).is_ok() {}
                    return Err(error);
                }
            }
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, wire))))
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
    if let Some(error) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return Readiness::Refused(tls_refusal(error, plain));
    }
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => deadline.missed(),
        _ => Readiness::NotYet(wording::error(error)),
    }
}

/// Why TLS did not come about, and what to do.
fn tls_refusal(error: &rustls::Error, plain: &str) -> String {
    if matches!(error, rustls::Error::InvalidMessage(_)) {
        return format!("it does not speak TLS on this port: use {plain}");
    }
    let identity = if plain == "redis://" {
        "ssl_certfile and ssl_keyfile in the URL"
    } else {
        "portero has none for https"
    };
    tls::explain(error, "--ca-cert", identity)
}
