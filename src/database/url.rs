//! A database URL as real applications have it, and what libpq would make of it.
//!
//! tokio-postgres' own parser refuses unknown parameters and `+driver` schemes, ends the user at the first `@` and
//! knows no `PG…` variables; so the URL is read here, and `connect` builds its `Config` from the result.

mod keywords;
mod methods;
mod names;
mod pairs;
mod scheme;
pub mod service;
mod syntax;
#[cfg(test)]
mod tests;
mod tls;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::ChannelBinding;

use crate::database::url::keywords::Keywords;
pub(super) use crate::database::url::methods::Methods;
use crate::environment::Environment;
use crate::net::tls::settings::{SslMode, TlsSettings};

/// libpq's default port.
const DEFAULT_PORT: u16 = 5432;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServerHost {
    /// A name or an IP address.
    Tcp(String),
    /// The directory of a unix socket.
    Socket(PathBuf),
    /// None is given: the usual socket directory when it exists, else localhost. Found out when connecting.
    Default,
}

/// One server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub host: ServerHost,
    /// Connect to this address; `host` then is only the name for certificates and the password file.
    pub address: Option<IpAddr>,
    pub port: u16,
}

/// Which of several servers will do (`target_session_attrs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionAttributes {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// A Postgres database and how to log in to it. `Display` is fit for logs: it has no password.
///
/// Parsing reads no file: service and password files, certificates and `/etc/passwd` are read when connecting.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// A service file has more to say.
    service: Option<Box<Service>>,
    pub(super) servers: Vec<Server>,
    /// None: the name of the operating system's user.
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) passfile: Option<PathBuf>,
    /// `HOME`, for `~/.pgpass` and `~/.postgresql`.
    pub(super) home: Option<PathBuf>,
    /// None: the same as the user's name.
    pub(super) database: Option<String>,
    pub(super) tls: TlsSettings,
    pub(super) channel_binding: ChannelBinding,
    /// `require_auth`.
    pub(super) methods: Methods,
    /// `requirepeer`: whose a unix socket's server must be.
    pub(super) peer: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) options: Option<String>,
    /// For one address of one server; None is no limit of its own.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) session_attributes: SessionAttributes,
}

impl PostgresUrl {
    /// Reads what stands in `DATABASE_URL`; what is missing there comes from `env`'s `PG…` variables.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do; it shows neither the password nor the URL.
    pub fn parse(text: &str, env: &Environment) -> Result<Self, String> {
        let keywords = Keywords::collect(syntax::split(text)?, env, &[])?;
        let mut url = Self::checked(&keywords, env)?;
        if let Some(name) = keywords.owned("service") {
            let (text, env) = (text.to_owned(), env.clone());
            url.service = Some(Box::new(Service { name, text, env }));
        }
        Ok(url)
    }

    /// The same with what its service file says, where it names a service.
    ///
    /// # Errors
    /// The file can't be read, has no such service, or what it says can't be understood.
    pub(super) fn with_service(&self) -> Result<Cow<'_, Self>, String> {
        let Some(service) = &self.service else {
            return Ok(Cow::Borrowed(self));
        };
        let parameters = service::look_up(&service.name, &service.env)?;
        let parts = syntax::split(&service.text)?;
        let keywords = Keywords::collect(parts, &service.env, &parameters)?;
        Self::checked(&keywords, &service.env).map(Cow::Owned)
    }

    /// An error says where the parameter stands that it is about.
    fn checked(keywords: &Keywords, env: &Environment) -> Result<Self, String> {
        Self::new(keywords, env).map_err(|why| match why.split_once(' ') {
            Some((keyword, rest)) if rest.starts_with("must be") => {
                format!("{} {rest}", keywords.place(keyword))
            }
            _ => why,
        })
    }

    fn new(keywords: &Keywords, env: &Environment) -> Result<Self, String> {
        refuse(keywords)?;
        let home = env.given("HOME").map(PathBuf::from);
        Ok(Self {
            service: None,
            servers: servers(keywords)?,
            user: keywords.owned("user"),
            password: keywords.owned("password"),
            passfile: keywords.get("passfile").map(PathBuf::from),
            database: keywords.owned("dbname"),
            tls: tls::settings(keywords, home.clone())?,
            home,
            channel_binding: channel_binding(keywords)?,
            methods: keywords
                .get("require_auth")
                .map_or(Ok(Methods::ALL), Methods::parse)?,
            peer: keywords.owned("requirepeer"),
            application_name: keywords.owned("application_name"),
            options: keywords.owned("options"),
            connect_timeout: connect_timeout(keywords),
            session_attributes: session_attributes(keywords)?,
        })
    }

    /// Whether a text means to be a database URL: by its scheme, in any dialect.
    pub fn is_meant_by(text: &str) -> bool {
        scheme::is_postgres(text)
    }

    /// Whether TLS may come up at all: it is not spoken on unix sockets.
    pub(super) fn may_use_tls(&self) -> bool {
        self.tls.mode != SslMode::Disable
            && self
                .servers
                .iter()
                .any(|server| !matches!(server.host, ServerHost::Socket(_)))
    }
}

/// What names a service: the URL and the variables that it is read by again.
#[derive(Clone, PartialEq, Eq)]
struct Service {
    name: String,
    text: String,
    env: Environment,
}

/// Refuses what restricts and can't be kept to: passed over, it would be a promise that nobody keeps.
fn refuse(keywords: &Keywords) -> Result<(), String> {
    for keyword in ["sslcrl", "sslcrldir"] {
        if keywords.get(keyword).is_some() {
            return Err(format!(
                "portero reads no revocation lists ({keyword}): leave it out for portero, to go without"
            ));
        }
    }
    match keywords.get("gssencmode") {
        None | Some("disable" | "prefer") => {}
        Some("require") => {
            return Err("portero has no GSSAPI encryption (gssencmode=require)".into());
        }
        Some(_) => return Err("gssencmode must be disable, prefer or require".into()),
    }
    match keywords.get("min_protocol_version") {
        None | Some("3.0") => Ok(()),
        Some(_) => Err("portero speaks version 3.0 of the protocol (min_protocol_version)".into()),
    }
}

/// Puts hosts, addresses and ports side by side (libpq: 34.1.1.3 "Specifying Multiple Hosts").
fn servers(keywords: &Keywords) -> Result<Vec<Server>, String> {
    let list = |keyword| {
        keywords
            .get(keyword)
            .map(|value| value.split(',').map(str::trim).collect::<Vec<_>>())
    };
    let (hosts, addresses, ports) = (
        list("host"),
        list("hostaddr"),
        list("port").unwrap_or_default(),
    );
    let count = addresses.as_ref().or(hosts.as_ref()).map_or(1, Vec::len);
    if hosts.as_ref().is_some_and(|hosts| hosts.len() != count) {
        return Err(format!(
            "the database URL has {count} hostaddr values for another number of hosts: give one each"
        ));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(format!(
            "the database URL has {} ports for {count} hosts: give one port, or one each",
            ports.len()
        ));
    }
    let at = |list: &Option<Vec<&str>>, i: usize| {
        list.as_ref()
            .and_then(|list| list.get(i))
            .filter(|text| !text.is_empty())
            .map(|text| (*text).to_owned())
    };
    (0..count)
        .map(|i| {
            let address = at(&addresses, i)
                .map(|text| {
                    text.parse().map_err(|_| {
                        "hostaddr must be an IP address; a name goes into host".to_owned()
                    })
                })
                .transpose()?;
            let host = match at(&hosts, i) {
                Some(path) if path.starts_with('/') && address.is_none() => {
                    ServerHost::Socket(path.into())
                }
                Some(name) => ServerHost::Tcp(name),
                None => address.map_or(ServerHost::Default, |address: IpAddr| {
                    ServerHost::Tcp(address.to_string())
                }),
            };
            let port = ports.get(i).or(ports.first()).copied().unwrap_or_default();
            syntax::check_port(port)?;
            Ok(Server {
                host,
                address,
                port: port.parse().unwrap_or(DEFAULT_PORT),
            })
        })
        .collect()
}

fn channel_binding(keywords: &Keywords) -> Result<ChannelBinding, String> {
    match keywords.get("channel_binding") {
        None | Some("prefer") => Ok(ChannelBinding::Prefer),
        Some("disable") => Ok(ChannelBinding::Disable),
        Some("require") => Ok(ChannelBinding::Require),
        Some(_) => Err("channel_binding must be disable, prefer or require".into()),
    }
}

/// Seconds; zero and negative numbers are no limit, as in libpq. Its largest number is this one's too, and keeps every
/// sum with an `Instant` within its range.
fn connect_timeout(keywords: &Keywords) -> Option<Duration> {
    let Ok(seconds) = keywords.get("connect_timeout")?.trim().parse::<i64>() else {
        log::warn!(
            "connect_timeout of the database URL is not a number of seconds and is passed over"
        );
        return None;
    };
    u64::try_from(seconds.min(i32::MAX.into()))
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

fn session_attributes(keywords: &Keywords) -> Result<SessionAttributes, String> {
    match keywords.get("target_session_attrs") {
        None | Some("any") => Ok(SessionAttributes::Any),
        Some("read-write") => Ok(SessionAttributes::ReadWrite),
        Some("read-only") => Ok(SessionAttributes::ReadOnly),
        Some("primary") => Ok(SessionAttributes::Primary),
        Some("standby") => Ok(SessionAttributes::Standby),
        Some("prefer-standby") => Ok(SessionAttributes::PreferStandby),
        Some(_) => {
            Err("target_session_attrs must be any, read-write, read-only, primary, standby or prefer-standby".into())
        }
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", user.escape_debug())?;
        }
        for (i, server) in self.servers.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match &server.host {
                ServerHost::Tcp(host) if host.contains(':') => {
                    write!(f, "[{host}]:{}", server.port)?;
                }
                ServerHost::Tcp(host) => write!(f, "{}:{}", host.escape_debug(), server.port)?,
                ServerHost::Socket(path) => write!(
                    f,
                    "[{}]:{}",
                    path.to_string_lossy().escape_debug(),
                    server.port
                )?,
                ServerHost::Default => {}
            }
        }
        match &self.database {
            Some(database) => write!(f, "/{}", database.escape_debug()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}
