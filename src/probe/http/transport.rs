//! What ureq's HTTP runs over: one connection that was made before, with one deadline over every read and write.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout};

use crate::probe::Deadline;

/// The first two bytes of a TLS alert: what a TLS server says to a plain request (RFC 8446, sections 5.1 and 6).
const TLS_ALERT: [u8; 2] = [21, 3];

/// How much is read at once, in bytes: a whole answer of most health endpoints.
const READ_SIZE: usize = 4096;

/// A socket on which no read and no write outlasts the deadline, however slowly the bytes drip.
pub(super) struct Wire {
    socket: Socket,
    deadline: Deadline,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    /// Runs `operation` with what is left of the deadline as the socket's time limit.
    fn within<T>(
        &mut self,
        mut operation: impl FnMut(&mut Socket) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let left = Some(self.deadline.remaining().ok_or(io::ErrorKind::TimedOut)?);
            match &self.socket {
                Socket::Tcp(socket) => socket
                    .set_read_timeout(left)
                    .and_then(|()| socket.set_write_timeout(left))?,
                Socket::Unix(socket) => socket
                    .set_read_timeout(left)
                    .and_then(|()| socket.set_write_timeout(left))?,
            }
            match operation(&mut self.socket) {
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
        self.within(|socket| match socket {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        })
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.within(|socket| match socket {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that HTTP can be spoken on.
pub(super) enum Link {
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

    /// Shakes hands as a client of `host`. A failure of TLS is an error whose source is a [`rustls::Error`].
    pub fn tls(
        socket: TcpStream,
        deadline: Deadline,
        config: Arc<ClientConfig>,
        host: &str,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut wire = Wire {
            socket: Socket::Tcp(socket),
            deadline,
        };
        while connection.is_handshaking() {
            if connection.complete_io(&mut wire)? == (0, 0) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, wire))))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(wire) => wire.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// The server answered a plain request with a TLS alert.
#[derive(Debug)]
pub(super) struct SpeaksTls;

impl fmt::Display for SpeaksTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it speaks TLS")
    }
}

impl std::error::Error for SpeaksTls {}

/// The connection as ureq wants it, with buffers that grow as they are filled instead of 2 × 128 KiB from the start.
pub(super) struct Transport {
    link: Link,
    buffers: GrowingBuffers,
    started: bool,
}

impl Transport {
    /// `output` is the size of the largest request, in bytes.
    pub fn new(link: Link, output: usize) -> Self {
        let buffers = GrowingBuffers {
            output: vec![0; output],
            ..GrowingBuffers::default()
        };
        Self {
            link,
            buffers,
            started: false,
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl ureq::unversioned::transport::Transport for Transport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let bytes = self.buffers.output.get(..amount).unwrap_or_default();
        Ok(self.link.write_all(bytes)?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let amount = self.link.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        if !self.started
            && matches!(self.link, Link::Plain(_))
            && self.buffers.input().starts_with(&TLS_ALERT)
        {
            return Err(Error::Other(Box::new(SpeaksTls)));
        }
        self.started = true;
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Never to be used again.
        false
    }

    fn is_tls(&self) -> bool {
        matches!(self.link, Link::Tls(_))
    }
}

/// Input that grows by [`READ_SIZE`]; ureq itself limits a header to 64 KiB and consumes a body as it comes.
#[derive(Default)]
struct GrowingBuffers {
    output: Vec<u8>,
    input: Vec<u8>,
    /// How much of `input` is filled.
    filled: usize,
    /// How much of that ureq has done with.
    consumed: usize,
    progress: bool,
}

impl Buffers for GrowingBuffers {
    fn output(&mut self) -> &mut [u8] {
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        &self.input[self.consumed..self.filled]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.input.copy_within(self.consumed..self.filled, 0);
        self.filled -= self.consumed;
        self.consumed = 0;
        self.input.resize(self.filled + READ_SIZE, 0);
        &mut self.input[self.filled..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.filled = (self.filled + amount).min(self.input.len());
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.consumed = (self.consumed + amount).min(self.filled);
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.input_append_buf();
        (&mut self.input[self.filled..], &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        self.progress && self.consumed < self.filled
    }
}

/// Hands out the one connection that there is.
pub(super) struct TransportParts(Mutex<Option<Transport>>);

impl TransportParts {
    pub fn new(transport: Transport) -> Self {
        Self(Mutex::new(Some(transport)))
    }
}

impl fmt::Debug for TransportParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransportParts")
    }
}

impl Connector<()> for TransportParts {
    type Out = Transport;

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<Transport>, Error> {
        Ok(self
            .0
            .lock()
            .ok()
            .and_then(|mut transport| transport.take()))
    }
}

/// Resolves nothing: the connection is made already. ureq wants an address all the same.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(addresses)
    }
}
