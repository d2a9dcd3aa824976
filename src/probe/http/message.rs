//! What goes to an HTTP server, and why nothing comes back: the same whoever carries it.

use std::fmt;
use std::io;

use crate::net::link::TLS_ALERT;

/// The largest header that is read, in bytes.
pub(super) const HEADER_LIMIT: usize = 64 * 1024;

/// One request, which has no body.
pub struct Request<'a> {
    pub method: &'a str,
    /// The value of the Host header, unless one is given.
    pub authority: &'a str,
    /// The path with its query.
    pub path: &'a str,
    /// Names are as they were typed; none comes twice but by the user's wish.
    pub headers: Vec<(&'a str, &'a str)>,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    Io(io::Error),
    Foreign(ForeignServer),
    /// What came is no HTTP, and why not.
    NoHttp(String),
    LongHeader,
    Other(String),
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What else than HTTP/1.1 a server speaks.
#[derive(Clone, Copy, Debug)]
pub(super) enum ForeignServer {
    /// It answers with a TLS alert.
    Tls,
    /// It answers with HTTP/2's SETTINGS frame.
    Http2,
}

impl ForeignServer {
    /// By the first bytes of its answer; `plain` is a connection without TLS.
    pub fn of(answer: &[u8], plain: bool) -> Option<Self> {
        match answer {
            _ if plain && answer.starts_with(&TLS_ALERT) => Some(Self::Tls),
            // RFC 9113, 4.1 and 6.5: a length of less than 64 KiB, the type SETTINGS, stream 0.
            [0, _, _, 4, _, 0, 0, 0, 0, ..] => Some(Self::Http2),
            _ => None,
        }
    }
}

impl fmt::Display for ForeignServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "it speaks TLS on this port: use https://",
            Self::Http2 => "it speaks HTTP/2 alone on this port (gRPC?): use tcp://host:port",
        })
    }
}

impl std::error::Error for ForeignServer {}
