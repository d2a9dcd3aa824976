//! What ureq's HTTP runs over: one connection that was made before.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout};

use crate::probe::link::{Link, TLS_ALERT};

/// How much is read at once, in bytes: a whole answer of most health endpoints.
const READ_SIZE: usize = 1024;

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
        if !self.started && !self.link.is_tls() && self.buffers.input().starts_with(&TLS_ALERT) {
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
        self.link.is_tls()
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
