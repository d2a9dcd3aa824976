//! HTTP as readiness: one request, and the status that comes back (RFC 9112).

#[cfg(feature = "tls")]
#[path = "http/by_ureq.rs"]
mod client;
#[cfg(not(feature = "tls"))]
#[path = "http/plain.rs"]
mod client;
pub mod message;
#[cfg(feature = "tls")]
mod transport;

use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{CONTROLS, percent_encode};

use crate::net::deadline::Deadline;
use crate::net::link::Link;
use crate::net::readiness::Readiness;
use crate::net::{link, stream};
use crate::probe::http::client::{Answer, exchange};
use crate::probe::http::message::{ForeignServer, NoAnswer};
use crate::probe::question::Question;
use crate::probe::target::{HttpServer, HttpUrl};
use crate::{redaction, wording};

/// How much of a body is searched for the text of `--contains`, in bytes.
const BODY_LIMIT: u64 = 64 * 1024;

/// How much of a body is searched for what a server has to say about a 400, in bytes.
const HINT_LIMIT: u64 = 4096;

/// What servers answer with 400 to plain HTTP/1.1 on a port for something else: nginx, Go and Apache name HTTPS, Tomcat
/// TLS, Kestrel HTTP/2.
const HINTS: [(&str, ForeignServer); 3] = [
    ("HTTPS", ForeignServer::Tls),
    ("requires TLS", ForeignServer::Tls),
    ("HTTP/2", ForeignServer::Http2),
];

/// Makes the request and judges the answer. Ready says the status.
pub(super) fn ask(url: &HttpUrl, question: &Question, deadline: Deadline) -> Readiness {
    let expectation = &question.expectation;
    let (link, note) = match connect(url, question, deadline) {
        Ok(connected) => connected,
        Err(readiness) => return readiness,
    };
    if let Some(authorization) = &url.authorization {
        hide_credentials(authorization, &url.to_string());
    }
    let answer = match exchange(link, &expectation.request(url)) {
        Ok(answer) => answer,
        Err(NoAnswer::Io(error)) if is_end(&error) && may_speak_tls(url) => return closed(),
        Err(error) => return explain(error, deadline),
    };
    let status = answer.status;
    if !expectation.status.contains(status) {
        return unexpected(answer, url);
    }
    if let Some(text) = &expectation.contains {
        match body_contains(answer.body, text) {
            Ok(true) => {}
            Ok(false) => {
                return Readiness::NotYet(format!(
                    "status {status}, but the body lacks the expected text"
                ));
            }
            Err(error) => return explain(error.into(), deadline),
        }
    }
    Readiness::Ready(format!("{status}{note}"))
}

/// A connection that requests can go over, and what of its address is worth a word. The connection is made here and
/// not by ureq, whose time-outs would start a resolver thread even for an address.
fn connect(
    url: &HttpUrl,
    question: &Question,
    deadline: Deadline,
) -> Result<(Link, &'static str), Readiness> {
    let mut note = "";
    let tcp = match &url.server {
        HttpServer::Socket(path) => {
            return Ok((Link::unix(stream::unix(path, deadline)?, deadline), note));
        }
        HttpServer::Host(host) => stream::tcp(host, deadline)?,
        HttpServer::Own(port) => stream::loopback(*port, deadline)?,
    };
    let peer = tcp.peer_addr().ok().map(|address| address.ip());
    if matches!(url.server, HttpServer::Own(_)) && peer.is_some_and(|address| address.is_ipv6()) {
        note = " from [::1]";
    }
    if !url.tls {
        return Ok((Link::tcp(tcp, deadline), note));
    }
    let config = question.tls(peer, true).map_err(Readiness::Refused)?;
    Link::tls(tcp, url.host(), config, deadline, "http://").map(|link| (link, note))
}

/// What is sent may come back in an answer: the password, and the header's value.
fn hide_credentials(authorization: &str, name: &str) {
    let encoded = authorization.trim_start_matches("Basic ");
    redaction::hide_password(encoded.as_bytes(), name);
    let sent = STANDARD.decode(encoded).unwrap_or_default();
    let mut parts = sent.splitn(2, |byte| *byte == b':').skip(1);
    redaction::hide_password(parts.next().unwrap_or_default(), name);
}

/// What another status than those that are wanted means, with what the answer tells of its reason.
fn unexpected(answer: Answer, url: &HttpUrl) -> Readiness {
    let redirects = (300..400).contains(&answer.status);
    if let Some(place) = answer.location.filter(|_| redirects) {
        let place = shown(&place);
        return Readiness::NotYet(format!("status {}, to {place}", answer.status));
    }
    if answer.status == 400 && may_speak_tls(url) {
        let mut body = Vec::new();
        // As far as it comes; an error ends it as well as its end does.
        let _ = answer.body.take(HINT_LIMIT).read_to_end(&mut body);
        let hint = HINTS
            .iter()
            .find(|(text, _)| contains(&body, text.as_bytes()));
        if let Some((_, foreign)) = hint {
            return Readiness::Refused(foreign.to_string());
        }
    }
    Readiness::NotYet(format!("status {}", answer.status))
}

/// A Location without what may be secret in it, credentials and a query, and with what is not ASCII as a URL has it.
fn shown(location: &[u8]) -> String {
    let text = String::from_utf8_lossy(location);
    // Before anything is escaped or cut off.
    let masked = redaction::without_known_passwords(&text);
    let bytes = if masked == text {
        location
    } else {
        masked.as_bytes()
    };
    let location = percent_encode(bytes, CONTROLS).to_string();
    let place = location.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match place.split_once("//") {
        Some((scheme, rest)) => (format!("{scheme}//"), rest),
        None => (String::new(), place),
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = if scheme.is_empty() {
        host
    } else {
        host.rsplit('@').next().unwrap_or_default()
    };
    let query = if place.len() < location.len() {
        "…"
    } else {
        ""
    };
    wording::quoted(&format!("{scheme}{host}{path}{query}"), 80)
}

/// Whether `text` is in the first 64 KiB of the body. Comes back as soon as it is found: bodies need not end.
fn body_contains(body: impl Read, text: &[u8]) -> io::Result<bool> {
    if text.is_empty() {
        return Ok(true);
    }
    let mut body = body.take(BODY_LIMIT);
    let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let length = match body.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // An occurrence may begin in what was read before.
        let start = seen.len().saturating_sub(text.len() - 1);
        seen.extend_from_slice(&chunk[..length]);
        if contains(&seen[start..], text) {
            return Ok(true);
        }
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Whether the server hung up, in an orderly way or not.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

fn may_speak_tls(url: &HttpUrl) -> bool {
    !url.tls && !matches!(url.server, HttpServer::Socket(_))
}

/// What a server does that crashes over the request, or that is OpenSSL and was asked without TLS.
fn closed() -> Readiness {
    Readiness::NotYet(
        "it closed the connection without an answer (with TLS it is https://, of gRPC take tcp://)"
            .to_owned(),
    )
}

/// What it means for readiness that there is no answer.
fn explain(reason: NoAnswer, deadline: Deadline) -> Readiness {
    match reason {
        NoAnswer::Io(error) => link::explain(&error, deadline, "http://"),
        NoAnswer::Foreign(foreign) => Readiness::Refused(foreign.to_string()),
        NoAnswer::NoHttp(why) => Readiness::NotYet(format!(
            "it does not speak HTTP: {}",
            wording::quoted(&why, 80)
        )),
        NoAnswer::LongHeader => {
            Readiness::NotYet("it does not speak HTTP: more than 64 KiB of header".to_owned())
        }
        NoAnswer::Other(why) => Readiness::NotYet(wording::quoted(&why, 100)),
    }
}
