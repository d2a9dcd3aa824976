//! Where a server is: hosts with ports, and paths of sockets.

use std::ffi::OsString;
use std::fmt;
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The longest path of a unix socket, in bytes (unix(7): `sun_path` has 108, one of them for the NUL at its end).
pub const MAX_SOCKET_PATH: usize = 107;

/// A host, which is a name or an address without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: u16,
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
                self::port(port).ok_or(HostError::Other("has no valid port; ports are 1-65535"))?
            }
            None => default.ok_or(HostError::NoPort)?,
        };
        Ok(Self {
            name: name.to_owned(),
            port,
        })
    }
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

/// A port: digits only, as `u16` would take a sign, and 1 to 65535.
pub fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}
