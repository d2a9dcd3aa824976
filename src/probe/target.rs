//! The one grammar of targets, for `--wait`, `wait` and `healthcheck`.

mod http;
mod ports;
#[cfg(feature = "redis")]
pub(super) mod redis;
#[cfg(not(feature = "redis"))]
#[path = "target/redis/absent.rs"]
mod redis;
mod spelling;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use http::path_of;
pub use http::{HttpServer, HttpUrl};

use crate::database::url::PostgresUrl;
use crate::environment::Environment;
use crate::environment::expand::{self, is_name};
use crate::exit::Failure;
use crate::features::Feature;
pub(super) use crate::net::address::Host;
use crate::net::address::{HostError, absolute, socket_path};
pub(super) use crate::probe::target::ports::Ports;
pub(super) use crate::probe::target::redis::RedisUrl;
use crate::probe::target::spelling::{is_list, redis_socket, unwrapped};
pub use crate::probe::target::spelling::{is_scheme, is_sqlite};
use crate::redaction::without_secrets;
use crate::wording::named;

/// What is said of a target that nothing here can read.
const KINDS: &str = "is not a target: it takes a postgres://, http://, https://, http+unix://, redis://, tcp://, unix:// or file:// URL, \
                     any SCHEME://HOST:PORT, HOST:PORT, or the NAME of a variable that holds one";

/// Something that can be asked whether it is ready. It shows itself without any password, query or variable's value.
#[derive(Clone)]
pub struct Target {
    /// The variable that it was taken from.
    variable: Option<String>,
    pub(super) kind: TargetKind,
}

/// What there is to ask.
#[derive(Clone)]
pub(super) enum TargetKind {
    Postgres(Arc<PostgresUrl>),
    Http(HttpUrl),
    Redis(RedisUrl),
    Tcp(Host),
    Ports(Ports),
    Unix(PathBuf),
    File(PathBuf),
}

impl Target {
    /// Reads a target: a URL, `HOST:PORT`, or the bare name of a variable in `env` that holds one of these. The
    /// variable's value is taken to the letter.
    ///
    /// # Errors
    /// Text that is no target, or a variable that is unset or empty (125). The line shows neither credentials nor the
    /// variable's value.
    pub fn parse(text: &OsStr, env: &Environment) -> Result<Self, Failure> {
        let Some(name) = text.to_str().filter(|text| is_name(text)) else {
            let kind = TargetKind::parse(text, env, true).map_err(|why| {
                let hint = match expand::hint(text) {
                    "" => String::new(),
                    hint => format!("{hint}, or the variable's NAME alone"),
                };
                Failure::failed(format!("target {}: {why}{hint}", presentable(text)))
            })?;
            return Ok(Self {
                variable: None,
                kind,
            });
        };
        let (value, name) = (env.given(name), named(name));
        let value = value.ok_or_else(|| {
            Failure::failed(format!(
                "target {name}: the variable {name} is unset or empty (were it a host, it would need its port: {name}:PORT)"
            ))
        })?;
        let kind = TargetKind::parse(value, env, false).map_err(|why| {
            // Of a database URL whole sentences are said.
            const URL: &str = "the database URL";
            let is_whole = value.to_str().is_some_and(PostgresUrl::is_meant_by);
            Failure::failed(match is_whole {
                true if why.contains(URL) => why.replace(URL, &name),
                true => format!("target {name}: {why}"),
                false => format!("target {name}: the value of this variable {why}"),
            })
        })?;
        Ok(Self {
            variable: Some(name),
            kind,
        })
    }

    /// The server of this very container: `http://127.0.0.1:PORT/path`, then `[::1]` when that is refused.
    ///
    /// # Errors
    /// Port 0, or a path that does not start with `/` or holds what no request line can (125).
    pub fn own_http(port: u16, path: &str) -> Result<Self, Failure> {
        if port == 0 {
            return Err(Failure::failed(
                "port 0 is no port to probe; it takes 1-65535",
            ));
        }
        if !path.starts_with('/') {
            return Err(Failure::failed(
                "the path to probe must start with / (as in /health)",
            ));
        }
        let path =
            path_of(path).map_err(|why| Failure::failed(format!("the path to probe {why}")))?;
        let http = HttpUrl {
            server: HttpServer::Own(port),
            tls: false,
            authority: format!("127.0.0.1:{port}"),
            path,
            authorization: None,
        };
        Ok(Self {
            variable: None,
            kind: TargetKind::Http(http),
        })
    }

    /// The URL, when this is a Postgres target.
    pub fn postgres(&self) -> Option<&PostgresUrl> {
        match &self.kind {
            TargetKind::Postgres(url) => Some(url),
            _ => None,
        }
    }

    /// Whether this is a Redis target.
    pub fn is_redis(&self) -> bool {
        matches!(self.kind, TargetKind::Redis(_))
    }

    /// Whether an HTTP request is made of it, so that a method goes with its name.
    pub fn is_http(&self) -> bool {
        matches!(self.kind, TargetKind::Http(_))
    }

    /// Whether asking it may look at a file that it names.
    pub fn looks_at_files(&self) -> bool {
        match &self.kind {
            TargetKind::Http(url) => matches!(url.server, HttpServer::Socket(_)),
            TargetKind::Tcp(_) | TargetKind::Ports(_) => false,
            TargetKind::Postgres(_)
            | TargetKind::Redis(_)
            | TargetKind::Unix(_)
            | TargetKind::File(_) => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = named(self.kind.to_string());
        match &self.variable {
            Some(name) => write!(f, "{name} ({kind})"),
            None => f.write_str(&kind),
        }
    }
}

/// As [`fmt::Display`]: a plan that is printed for debugging must not show more.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => url.fmt(f),
            Self::Http(url) => url.fmt(f),
            Self::Redis(url) => url.fmt(f),
            Self::Tcp(host) => host.fmt(f),
            Self::Ports(ports) => ports.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

impl TargetKind {
    /// The error continues `target NAME: ` or `the value of this variable `, and quotes nothing of the text unless it
    /// is `typed`.
    fn parse(text: &OsStr, env: &Environment, typed: bool) -> Result<Self, String> {
        let parsed = Self::parse_one(text, env, typed);
        let within = match &parsed {
            Ok(Self::Ports(ports)) => Some(ports.scheme()),
            _ => None,
        };
        if is_list(text, within) && parsed.as_ref().err().is_none_or(|why| why != KINDS) {
            return Err(
                "is several targets with commas between them: write white space there, as in 'http://a http://b'".into(),
            );
        }
        parsed
    }

    fn parse_one(text: &OsStr, env: &Environment, typed: bool) -> Result<Self, String> {
        // Paths first: they alone need not be UTF-8.
        if let Some(path) = text.as_bytes().strip_prefix(b"file://") {
            return Ok(Self::File(absolute(path, "file")?));
        }
        if let Some(path) = text.as_bytes().strip_prefix(b"unix://") {
            return match text.to_str().and_then(redis_socket) {
                Some(rest) => RedisUrl::parse_socket(rest).map(Self::Redis),
                None => Ok(Self::Unix(socket_path(path, "unix")?)),
            };
        }
        let text = text.to_str().ok_or("is not UTF-8")?;
        if text.is_empty() {
            return Err(KINDS.to_owned());
        }
        let text = unwrapped(text);
        if PostgresUrl::is_meant_by(text) {
            let url = PostgresUrl::parse(text, env)?;
            return Ok(Self::Postgres(Arc::new(url)));
        }
        if is_sqlite(text) {
            return Err("is a file of the application's own: there is nothing to wait for".into());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            if let Some(why) = lacks_scheme(text, typed) {
                return Err(why);
            }
            // Go's way: `user:password@tcp(host:port)/shop`.
            if text.contains("@tcp(") {
                return Ports::parse("mysql", text).map(Self::Ports);
            }
            return Host::parse(text, None)
                .map(Self::Tcp)
                .map_err(|why| match why {
                    HostError::NoPort => format!("{KINDS}; a host needs its port"),
                    HostError::Other(why) => why.to_owned(),
                });
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "http" => HttpUrl::parse(rest, false).map(Self::Http),
            "https" => {
                Feature::Tls.required()?;
                HttpUrl::parse(rest, true).map(Self::Http)
            }
            "http+unix" => HttpUrl::parse_socket(rest).map(Self::Http),
            "tcp" => Host::parse(rest.strip_suffix('/').unwrap_or(rest), None)
                .map(Self::Tcp)
                .map_err(String::from),
            "redis" | "valkey" => RedisUrl::parse(rest, false).map(Self::Redis),
            "rediss" | "valkeys" | "redis+ssl" | "redis+tls" => {
                let url = RedisUrl::parse(rest, true)?;
                Feature::Tls.required()?;
                Ok(Self::Redis(url))
            }
            "redis+unix" | "redis+socket" | "redis-socket" => {
                RedisUrl::parse_socket(rest).map(Self::Redis)
            }
            "grpc" | "grpcs" => Err(port_alone("gRPC is asked by its port alone", rest, typed)),
            "mongodb+srv" => Err(port_alone(
                "its servers stand in DNS, and are asked by their ports alone, each by itself",
                "",
                typed,
            )),
            _ if !is_scheme(&scheme) => Err(KINDS.to_owned()),
            _ => match ports::socket(rest) {
                Some(path) => path.map(Self::Unix),
                None => Ports::parse(&scheme, rest).map(Self::Ports),
            },
        }
    }
}

/// What is said of a scheme that has no question of its own: how its port is asked.
fn port_alone(why: &str, rest: &str, typed: bool) -> String {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match Host::parse(authority, None) {
        Ok(host) if typed => format!("{why}: write tcp://{host}"),
        _ => format!("{why}: write tcp://HOST:PORT"),
    }
}

/// What is said of `localhost:8000/health`.
fn lacks_scheme(text: &str, typed: bool) -> Option<String> {
    let (authority, _) = text.split_once('/')?;
    Host::parse(authority, None).ok()?;
    let spelled = if typed && is_presentable(text) {
        text
    } else {
        "HOST:PORT/PATH"
    };
    Some(format!("has a path and no scheme: write http://{spelled}"))
}

/// A target that could not be read, as far as it can be shown: of one that may hold a password, the scheme only, and of
/// what stands where a port should, nothing. White space in a password cuts a list's item there, and its `@` is lost.
fn presentable(text: &OsStr) -> String {
    let Some(text) = text.to_str() else {
        return "(not UTF-8)".to_owned();
    };
    if is_presentable(text) {
        // Before a part is taken off: half a secret is one still.
        return format!("{:?}", named(without_strange_port(&without_secrets(text))));
    }
    match text.split_once("://") {
        Some((scheme, _))
            if scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b':')) =>
        {
            format!("\"{scheme}://***\"")
        }
        _ => "\"***\"".to_owned(),
    }
}

fn without_strange_port(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let authority = text[start..].split('/').next().unwrap_or_default();
    let is_bare_address = start == 0 && authority.parse::<std::net::Ipv6Addr>().is_ok();
    match authority.split_once(':') {
        Some((host, port))
            if !host.starts_with('[')
                && !is_bare_address
                && (host.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) =>
        {
            format!("{}{host}:***", &text[..start])
        }
        _ => text.to_owned(),
    }
}

fn is_presentable(text: &str) -> bool {
    !text.contains(['@', '?', '=', '%', '#'])
}

#[cfg(test)]
#[cfg(all(feature = "postgres", feature = "redis"))]
mod properties;
#[cfg(test)]
#[cfg(all(feature = "postgres", feature = "redis"))]
mod tests;
