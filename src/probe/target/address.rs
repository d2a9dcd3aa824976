//! Where a target is: hosts with ports, HTTP URLs, paths.

use std::ffi::OsString;
use std::fmt;
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use base64::Engine;
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

/// The longest path of a unix socket, in bytes (unix(7): `sun_path` has 108, one of them for the NUL at its end).
pub const MAX_SOCKET_PATH: usize = 107;

/// A host, which is a name or an address without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: u16,
}

/// Where an HTTP server is and what it is asked for.
#[derive(Clone)]
pub struct HttpUrl {
    pub place: Place,
    pub tls: bool,
    /// Without userinfo; for a unix socket its host is `localhost`.
    pub uri: Uri,
    /// The value of the Authorization header, from the URL's userinfo (RFC 7617).
    pub authorization: Option<String>,
}

/// How an HTTP server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Host(Host),
    /// This port of this container: 127.0.0.1, or `::1` when that refuses.
    Own(u16),
    Socket(PathBuf),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Socket(path) => write!(f, "http+unix://{}:{}", path.display(), self.uri.path())?,
            Place::Host(_) | Place::Own(_) => {
                let scheme = if self.tls { "https" } else { "http" };
                let authority = self
                    .uri
                    .authority()
                    .map_or("", |authority| authority.as_str());
                write!(f, "{scheme}://{authority}{}", self.uri.path())?;
            }
        }
        // A query is where tokens are.
        if self.uri.query().is_some() {
            f.write_str("?***")
        } else {
            Ok(())
        }
    }
}

/// Why a text is no host and port.
pub enum HostError {
    NoPort,
    Other(&'static str),
}

impl From<HostError> for String {
    fn from(error: HostError) -> Self {
        match error {
            HostError::NoPort => "has no port; write HOST:PORT".to_owned(),
            HostError::Other(why) => why.to_owned(),
        }
    }
}

impl Host {
    /// `host:port`, `1.2.3.4:port` or `[::1]:port`; without a port when there is a `default` (RFC 3986, section 3.2).
    pub fn parse(text: &str, default: Option<u16>) -> Result<Self, HostError> {
        const BAD_V6: HostError = HostError::Other("has brackets without an IPv6 address in them");
        const BAD_NAME: HostError = HostError::Other(
            "has no valid host; letters, digits, `-`, `_` and `.` make one, or an IPv6 address in brackets",
        );
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or(BAD_V6)?;
            address.parse::<Ipv6Addr>().map_err(|_| BAD_V6)?;
            match rest.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None if rest.is_empty() => (address, None),
                None => return Err(BAD_NAME),
            }
        } else {
            let (name, port) = text
                .split_once(':')
                .map_or((text, None), |(name, port)| (name, Some(port)));
            if port.is_some_and(|port| port.contains(':')) {
                return Err(HostError::Other(
                    "has too many colons; an IPv6 address needs brackets, as in [::1]:8000",
                ));
            }
            let valid =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if name.is_empty() || name.len() > 253 || !name.bytes().all(valid) {
                return Err(BAD_NAME);
            }
            (name, port)
        };
        // RFC 3986 lets a colon stand without a port behind it: the default.
        let port = match port.filter(|port| !port.is_empty() || default.is_none()) {
            Some(port) => {
                port_number(port).ok_or(HostError::Other("has no valid port; ports are 1-65535"))?
            }
            None => default.ok_or(HostError::NoPort)?,
        };
        Ok(Self {
            name: name.to_owned(),
            port,
        })
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
            place: Place::Host(host),
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
        let place = Place::Socket(socket_path(socket.as_bytes(), "http+unix")?);
        Ok(Self {
            place,
            tls: false,
            uri: uri_of("http", "localhost", path)?,
            authorization: None,
        })
    }
}

/// The absolute URI; its fragment never leaves a client (RFC 9110, section 7.1).
pub fn uri_of(scheme: &str, authority: &str, path: &str) -> Result<Uri, String> {
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
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

pub fn absolute(path: &[u8], scheme: &str) -> Result<PathBuf, String> {
    if path.first() != Some(&b'/') {
        return Err(format!("has no absolute path; write {scheme}:///path"));
    }
    Ok(PathBuf::from(OsString::from_vec(path.to_vec())))
}

pub fn socket_path(path: &[u8], scheme: &str) -> Result<PathBuf, String> {
    if path.len() > MAX_SOCKET_PATH {
        return Err(format!(
            "has a socket path of more than {MAX_SOCKET_PATH} bytes, more than the kernel takes"
        ));
    }
    absolute(path, scheme)
}

/// `port` as a number; digits only, because `u16` would take a sign.
fn port_number(port: &str) -> Option<u16> {
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    port.parse().ok().filter(|&port| port != 0)
}
