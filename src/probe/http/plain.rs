//! The request made without ureq, with which the smallest build would be a fifth larger (RFC 9112).

use std::io::{self, Read};

use crate::net::link::Link;
use crate::probe::http::message::{ForeignServer, HEADER_LIMIT, NoAnswer, Request};

/// How much is read at once, in bytes: a whole answer of most health endpoints.
const READ_SIZE: usize = 1024;

/// What came back; its body is read as far as anybody asks for it.
pub(super) struct Answer {
    pub status: u16,
    pub location: Option<Vec<u8>>,
    pub body: Body,
}

/// Makes the request over this connection.
pub(super) fn exchange(mut link: Link, request: &Request<'_>) -> Result<Answer, NoAnswer> {
    link.write_all(head_of(request).as_bytes())?;
    let mut incoming = Incoming {
        link,
        bytes: Vec::new(),
        size: 0,
    };
    loop {
        let head = Head::read(&mut incoming)?;
        // What is still to come is announced (RFC 9110, section 15.2).
        if !matches!(head.status, 100 | 102..=199) {
            let body = Body::new(incoming, &head, request.method);
            let (status, location) = (head.status, head.location);
            return Ok(Answer {
                status,
                location,
                body,
            });
        }
    }
}

fn head_of(request: &Request<'_>) -> String {
    let given = |wanted: &str| {
        let mut names = request.headers.iter().map(|(name, _)| name);
        names.any(|name| name.eq_ignore_ascii_case(wanted))
    };
    let defaults = [
        ("host", request.authority),
        ("accept", "*/*"),
        ("user-agent", concat!("portero/", env!("CARGO_PKG_VERSION"))),
    ];
    let defaults = defaults.into_iter().filter(|(name, _)| !given(name));
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in defaults.chain(request.headers.iter().copied()) {
        for part in [name, ": ", value, "\r\n"] {
            head.push_str(part);
        }
    }
    head.push_str("\r\n");
    head
}

/// The server's side of the connection.
struct Incoming {
    link: Link,
    /// What was read and is not yet used.
    bytes: Vec<u8>,
    /// How much was read.
    size: usize,
}

impl Incoming {
    /// Waits for more.
    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; READ_SIZE];
        let length = self.link.read(&mut chunk)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.bytes.extend_from_slice(&chunk[..length]);
        self.size += length;
        Ok(())
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<Vec<u8>, NoAnswer> {
        let mut seen = 0;
        loop {
            if let Some(end) = self.bytes[seen..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.bytes.drain(..=seen + end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.bytes.len() > HEADER_LIMIT {
                return Err(NoAnswer::LongHeader);
            }
            seen = self.bytes.len();
            self.fill()?;
        }
    }
}

/// What counts of the head of an answer.
struct Head {
    status: u16,
    location: Option<Vec<u8>>,
    length: Option<u64>,
    is_chunked: bool,
}

impl Head {
    fn read(incoming: &mut Incoming) -> Result<Self, NoAnswer> {
        incoming.size = incoming.bytes.len();
        let mut head = Self {
            status: status(incoming)?,
            location: None,
            length: None,
            is_chunked: false,
        };
        loop {
            let line = incoming.line()?;
            if line.is_empty() {
                return Ok(head);
            }
            if incoming.size - incoming.bytes.len() > HEADER_LIMIT {
                return Err(NoAnswer::LongHeader);
            }
            head.take(&line)
                .ok_or_else(|| NoAnswer::NoHttp("invalid header".to_owned()))?;
        }
    }

    /// Takes note of a line; None is a line that says nothing that is allowed.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = line[colon + 1..].trim_ascii();
        match line[..colon].to_ascii_lowercase().as_slice() {
            b"" => return None,
            b"location" => self.location = Some(value.to_vec()),
            b"content-length" => self.length = Some(number(value, 10)?),
            b"transfer-encoding" => {
                self.is_chunked = value.to_ascii_lowercase().ends_with(b"chunked");
            }
            _ => {}
        }
        Some(())
    }
}

/// The status of the next answer. What can't become a status line is found out before its end has come.
fn status(incoming: &mut Incoming) -> Result<u16, NoAnswer> {
    const VERSION: &[u8] = b"HTTP/1.";
    let no_http = || NoAnswer::NoHttp("invalid HTTP version or status".to_owned());
    loop {
        let bytes = &incoming.bytes;
        if let Some(foreign) = ForeignServer::of(bytes, !incoming.link.is_tls()) {
            return Err(NoAnswer::Foreign(foreign));
        }
        let start = bytes.len().min(VERSION.len());
        if bytes[..start] != VERSION[..start] {
            return Err(no_http());
        }
        if bytes.contains(&b'\n') || bytes.len() > HEADER_LIMIT {
            break;
        }
        incoming.fill()?;
    }
    let line = incoming.line()?;
    match line.strip_prefix(VERSION) {
        Some([b'0' | b'1', b' ', code @ ..]) => {
            let (code, rest) = code.split_at(code.len().min(3));
            let ends = rest.first().is_none_or(|byte| *byte == b' ');
            let status = number(code, 10).filter(|status| ends && *status >= 100);
            status.and_then(|status| u16::try_from(status).ok())
        }
        _ => None,
    }
    .ok_or_else(no_http)
}

/// Digits only: a sign is none.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let is_number = digits.iter().all(|byte| char::from(*byte).is_digit(radix));
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    u64::from_str_radix(text, radix).ok()
}

/// The body of an answer, by its length, in chunks, or as much as comes (RFC 9112, section 6.3).
pub(super) struct Body {
    incoming: Incoming,
    /// Of the body, or of a chunk.
    left: u64,
    framing: Framing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
    End,
}

impl Body {
    fn new(incoming: Incoming, head: &Head, method: &str) -> Self {
        let has_none = method == "HEAD" || matches!(head.status, 101 | 204 | 304);
        let (framing, left) = match head.length {
            _ if has_none => (Framing::Length, 0),
            _ if head.is_chunked => (Framing::Chunks, 0),
            Some(length) => (Framing::Length, length),
            None => (Framing::End, u64::MAX),
        };
        Self {
            incoming,
            left,
            framing,
        }
    }

    /// Goes to the next chunk; the last one has no bytes.
    fn begin_chunk(&mut self) -> Result<(), NoAnswer> {
        let line = self.incoming.line()?;
        // Extensions stand behind a semicolon.
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = size.trim_ascii();
        let size = number(size, 16).filter(|_| !size.is_empty());
        self.left = size.ok_or_else(|| NoAnswer::NoHttp("invalid chunk size".to_owned()))?;
        if self.left == 0 {
            self.framing = Framing::Length;
        }
        Ok(())
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let broken = |error| match error {
            NoAnswer::Io(error) => error,
            _ => io::ErrorKind::InvalidData.into(),
        };
        if self.left == 0 && self.framing == Framing::Chunks {
            self.begin_chunk().map_err(broken)?;
        }
        if self.left == 0 {
            return Ok(0);
        }
        if self.incoming.bytes.is_empty() {
            match self.incoming.fill() {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return match self.framing {
                        Framing::End => Ok(0),
                        _ => Err(error),
                    };
                }
                filled => filled?,
            }
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let length = self.incoming.bytes.len().min(buffer.len()).min(most);
        buffer[..length].copy_from_slice(&self.incoming.bytes[..length]);
        self.incoming.bytes.drain(..length);
        self.left -= length as u64;
        if self.left == 0 && self.framing == Framing::Chunks {
            // The line end behind the chunk.
            self.incoming.line().map_err(broken)?;
        }
        Ok(length)
    }
}
