//! Redis URLs, as applications have them in `REDIS_URL`.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::net::address::{Host, socket_path};
use crate::net::verification::OwnFiles;
use crate::probe::target::ports::refuse_stray_at;

/// The port where a URL has none (IANA, "redis").
const PORT: u16 = 6379;

/// How a Redis server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    Host(Host),
    Socket(PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// Where a Redis server is and how to log in to it. It shows itself without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// One at least; any of them that is ready will do.
    pub servers: Vec<Server>,
    /// `rediss`.
    pub tls: bool,
    /// Whether the URL leaves it at verifying the server's certificate: not with `ssl_cert_reqs=none` (redis-py,
    /// Celery).
    pub verify: bool,
    /// Certificates and key by `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` (redis-py).
    pub files: OwnFiles,
    /// An ACL user; None is the user `default`.
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.servers.first() {
            Some(Server::Socket(_)) => "redis+unix",
            _ if self.tls => "rediss",
            _ => "redis",
        };
        let servers: Vec<_> = self.servers.iter().map(Server::to_string).collect();
        write!(f, "{scheme}://{}", servers.join(","))
    }
}

impl RedisUrl {
    /// What follows `redis://` or `rediss://`: `[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]]...[/DATABASE][?OPTIONS]`,
    /// user and password percent-encoded (IANA's provisional registration of the schemes). The database is of no
    /// interest to a PING.
    pub fn parse(rest: &str, tls: bool) -> Result<Self, String> {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        refuse_stray_at(path)?;
        let (userinfo, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let servers = hosts
            .split(',')
            .map(|host| Host::parse(host, Some(PORT)).map(Server::Host))
            .collect::<Result<_, _>>()?;
        Ok(Self::of(servers, userinfo, path, tls))
    }

    /// What follows `redis+unix://`, `redis+socket://` or redis-py's `unix://`: `[[USER]:PASSWORD@]/PATH[?OPTIONS]`.
    pub fn parse_socket(rest: &str) -> Result<Self, String> {
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        refuse_stray_at(behind)?;
        let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let path = behind.split(['?', '#']).next().unwrap_or_default();
        let path: Vec<u8> = percent_decode_str(path).collect();
        if !host.is_empty() || path.len() < 2 {
            return Err("has no absolute path; write redis+unix:///path".to_owned());
        }
        let server = Server::Socket(socket_path(&path, "redis+unix")?);
        Ok(Self::of(vec![server], userinfo, behind, false))
    }

    fn of(servers: Vec<Server>, userinfo: &str, path: &str, tls: bool) -> Self {
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let mut url = Self {
            servers,
            tls,
            verify: true,
            files: OwnFiles::default(),
            user: Some(decoded(user)).filter(|user| !user.is_empty()),
            password: password.map(decoded).filter(|text| !text.is_empty()),
        };
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        for (name, value) in query.split('&').filter_map(|option| option.split_once('=')) {
            url.take_option(name, percent_decode_str(value).collect());
        }
        url
    }

    /// What redis-py's parameters say of the login, and of TLS: whether to verify, and by which files. Celery's
    /// `CERT_NONE` counts, too; it is how the URLs of servers with self-signed certificates look.
    fn take_option(&mut self, name: &str, value: Vec<u8>) {
        let file = |value| Some(PathBuf::from(OsString::from_vec(value)));
        match name {
            _ if value.is_empty() => {}
            "ssl_cert_reqs" => {
                let word = value.to_ascii_lowercase();
                self.verify = word != b"none" && word != b"cert_none";
            }
            "ssl_ca_certs" => self.files.roots = file(value),
            "ssl_certfile" => self.files.certificate = file(value),
            "ssl_keyfile" => self.files.key = file(value),
            "username" => {
                self.user.get_or_insert(value);
            }
            "password" => {
                self.password.get_or_insert(value);
            }
            _ => {}
        }
    }
}
