//! What ureq's HTTP runs over: one connection that was made before.
//!
//! Without ureq, by `httparse` over the same [`Link`], a request and its answer took 251 lines in a trial, bodies in
//! chunks included, against 285 here and in `http`, and the binary was 142 kB (6 %) smaller. ureq stays all the same:
//! its reading of HTTP has many users. The smallest build alone, which it would make a fifth larger, has one of our own
//! (`plain`).

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout};

use crate::net::link::Link;
use crate::probe::http::message::{ForeignServer, HEADER_LIMIT};

/// How much is read at once, in bytes: a whole answer of most health endpoints.
const READ_SIZE: usize = 1024;

/// How many lines of a header may be left for ureq, whose parser has room for 128.
const LINES: usize = 64;

/// The lines of a header that are read here, or by ureq for the body's sake.
const NEEDED: [&[u8]; 4] = [
    b"content-length:",
    b"transfer-encoding:",
    b"connection:",
    b"location:",
];

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
        if !self.buffers.has_header {
            self.buffers.header_size += amount;
        }
        if !self.started
            && let Some(foreign) = ForeignServer::of(self.buffers.input(), !self.link.is_tls())
        {
            return Err(Error::Other(Box::new(foreign)));
        }
        self.started = true;
        self.buffers.thin_out();
        if self.buffers.header_size > HEADER_LIMIT {
            let size = self.buffers.header_size;
            return Err(Error::LargeResponseHeader(size, HEADER_LIMIT));
        }
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
    /// Whether the whole header has come.
    has_header: bool,
    /// How much of the header has come, thinned out or not.
    header_size: usize,
}

impl GrowingBuffers {
    /// Takes out of a long header the lines that nobody needs; the status line stays, and what has no line end yet.
    fn thin_out(&mut self) {
        if self.has_header {
            return;
        }
        let (mut kept, mut ended): (Vec<&[u8]>, _) = (Vec::new(), false);
        let mut lines = self.input().split_inclusive(|&byte| byte == b'\n');
        let mut count = 0;
        for line in lines.by_ref() {
            count += 1;
            let ends = matches!(line, b"\n" | b"\r\n");
            let is_needed = NEEDED.iter().any(|name| {
                let start = line.get(..name.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(name))
            });
            if ends || is_needed || count == 1 || !line.ends_with(b"\n") {
                kept.push(line);
            }
            if ends {
                ended = true;
                break;
            }
        }
        let thinned = (count > LINES).then(|| {
            kept.extend(lines);
            kept.concat()
        });
        self.has_header = ended;
        if let Some(thinned) = thinned {
            self.input = thinned;
            self.filled = self.input.len();
            self.consumed = 0;
        }
    }
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
