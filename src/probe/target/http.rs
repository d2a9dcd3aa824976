//! Where a target is: hosts with ports, HTTP URLs, paths.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use percent_encoding::percent_decode_str;

use crate::net::address::{Host, socket_path};
use crate::redaction::without_secrets;

/// Where an HTTP server is and what it is asked for.
#[derive(Clone)]
pub struct HttpUrl {
    pub server: HttpServer,
    pub tls: bool,
    /// Host and port, as the Host header has them; `localhost` for a unix socket.
    pub authority: String,
    /// With its query.
    pub path: String,
    /// The value of the Authorization header, from the URL's userinfo (RFC 7617).
    pub authorization: Option<String>,
}

/// How an HTTP server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpServer {
    Host(Host),
    /// This port of this container: 127.0.0.1, or `::1` when that refuses.
    Own(u16),
    Socket(PathBuf),
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Before the query is taken off: half a secret is one still.
        let path = without_secrets(&self.path);
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        match &self.server {
            HttpServer::Socket(socket) => {
                write!(f, "http+unix://{}:{path}", socket.display())?;
            }
            HttpServer::Host(_) | HttpServer::Own(_) => {
                let scheme = if self.tls { "https" } else { "http" };
                write!(f, "{scheme}://{}{path}", self.authority)?;
            }
        }
        // A query is where tokens are.
        if query.is_empty() {
            Ok(())
        } else {
            f.write_str("?***")
        }
    }
}

impl HttpUrl {
    /// What follows `http://` or `https://`.
    pub fn parse(rest: &str, tls: bool) -> Result<Self, String> {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let default = if tls { 443 } else { 80 };
        let host = Host::parse(host, Some(default))?;
        let mut shown = host.to_string();
        if host.port == default {
            shown.truncate(shown.rfind(':').unwrap_or(shown.len()));
        }
        Ok(Self {
            authority: shown,
            path: path_of(path)?,
            server: HttpServer::Host(host),
            tls,
            authorization: userinfo.map(basic),
        })
    }

    /// A name, or an address without brackets.
    pub fn host(&self) -> &str {
        match &self.server {
            HttpServer::Host(host) => &host.name,
            HttpServer::Own(_) | HttpServer::Socket(_) => "localhost",
        }
    }

    /// What follows `http+unix://`: the socket's path, and behind a colon the path of the request.
    pub fn parse_socket(rest: &str) -> Result<Self, String> {
        let (socket, path) = match rest.find(":/") {
            Some(colon) => (&rest[..colon], &rest[colon + 1..]),
            None => (rest, "/"),
        };
        let server = HttpServer::Socket(socket_path(socket.as_bytes(), "http+unix")?);
        Ok(Self {
            server,
            tls: false,
            authority: "localhost".to_owned(),
            path: path_of(path)?,
            authorization: None,
        })
    }
}

/// The longest path with its query, in bytes; the crate takes 65,534 for the whole of a URI, and servers 8 or 16 KiB.
const LONGEST_PATH: usize = 65_000;

/// What a request line has of what was typed; a fragment never leaves a client (RFC 9110, section 7.1).
pub fn path_of(path: &str) -> Result<String, String> {
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    if path.len() > LONGEST_PATH {
        return Err(format!(
            "has more than the {LONGEST_PATH} bytes that servers take"
        ));
    }
    let holds = |text: &str, but: &[u8]| {
        let mut bytes = text.bytes();
        bytes.all(|byte| (byte.is_ascii_graphic() && !but.contains(&byte)) || !byte.is_ascii())
    };
    let (before, query) = path.split_once('?').unwrap_or((path, ""));
    // More than the RFC allows, as servers do.
    if !holds(before, b"<>`") || !holds(query, b"<>\"") {
        return Err(
            "has a character that no URL can hold; percent-encode it (a space is %20)".to_owned(),
        );
    }
    Ok(format!("{slash}{path}"))
}

/// The Basic scheme of RFC 7617 over percent-decoded credentials.
fn basic(userinfo: &str) -> String {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(credentials)
    )
}
