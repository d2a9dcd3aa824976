//! Where a target is: hosts with ports, HTTP URLs, paths.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use crate::net::address::{Host, socket_path};
use crate::redaction::without_secrets;

/// Where an HTTP server is and what it is asked for.
#[derive(Clone)]
pub struct HttpUrl {
    pub server: HttpServer,
    pub tls: bool,
    /// Without userinfo; for a unix socket its host is `localhost`.
    pub uri: Uri,
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
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = without_secrets(path);
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        match &self.server {
            HttpServer::Socket(socket) => {
                write!(f, "http+unix://{}:{path}", socket.display())?;
            }
            HttpServer::Host(_) | HttpServer::Own(_) => {
                let scheme = if self.tls { "https" } else { "http" };
                let authority = self
                    .uri
                    .authority()
                    .map_or("", |authority| authority.as_str());
                write!(f, "{scheme}://{authority}{path}")?;
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
        let (scheme, default) = if tls { ("https", 443) } else { ("http", 80) };
        let host = Host::parse(host, Some(default))?;
        let mut shown = host.to_string();
        if host.port == default {
            shown.truncate(shown.rfind(':').unwrap_or(shown.len()));
        }
        Ok(Self {
            uri: uri_of(scheme, &shown, path)?,
            server: HttpServer::Host(host),
            tls,
            authorization: userinfo.map(basic),
        })
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
            uri: uri_of("http", "localhost", path)?,
            authorization: None,
        })
    }
}

/// The longest path with its query, in bytes; the crate takes 65,534 for the whole of a URI, and servers 8 or 16 KiB.
const LONGEST_PATH: usize = 65_000;

/// The absolute URI; its fragment never leaves a client (RFC 9110, section 7.1).
pub fn uri_of(scheme: &str, authority: &str, path: &str) -> Result<Uri, String> {
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    if path.len() > LONGEST_PATH {
        return Err(format!(
            "has more than the {LONGEST_PATH} bytes that servers take"
        ));
    }
    format!("{scheme}://{authority}{slash}{path}")
        .parse()
        .map_err(|_| {
            "has a character that no URL can hold; percent-encode it (a space is %20)".to_owned()
        })
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
