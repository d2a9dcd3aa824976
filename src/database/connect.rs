//! A login as libpq would do it: every host, every address, TLS and its fallbacks, the kind of server asked for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::{SslMode as Negotiation, SslNegotiation};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::diagnosis::{HUNG_UP, Trouble, is_gibberish, tls_error};
use super::endpoint::{Endpoint, Reasons, Socket, resolve, server_name};
use super::stranger;
use super::url::{PostgresUrl, SessionAttributes};
use crate::probe::tls::SslMode;
use crate::sys;

/// `28000`, invalid authorization specification: what `pg_hba.conf` says to a connection without TLS, or with it.
const NOT_THIS_WAY: &str = "28000";

/// What is said of a server that is connected to and does not answer in time.
const SILENT: &str = "it accepts the connection and does not answer in time (ETIMEDOUT)";

/// How long the look at who is there may take.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// What connects: the URL, and what was read and built for it once.
pub struct Connector<'a> {
    url: &'a PostgresUrl,
    user: String,
    tls: MakeRustlsConnect,
    application_name: &'a str,
    /// Whether `application_name` goes before the URL's.
    rename: bool,
}

/// A session that was logged in to.
pub struct Login {
    /// What asks.
    pub client: Client,
    /// A duplicate of the connection's socket: the server keeps the session as long as anybody has one, unless it is
    /// told goodbye.
    pub socket: OwnedFd,
}

/// A connection below Postgres' protocol.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl<'a> Connector<'a> {
    /// Reads the files that the URL names. `application_name` is for servers unless the URL has one.
    ///
    /// # Errors
    /// A certificate that can't be read, or no user to log in as: what no waiting can change.
    pub fn new(url: &'a PostgresUrl, application_name: &'a str) -> Result<Self, String> {
        let user = url.login()?;
        let config = if url.may_use_tls() {
            url.tls.client_config()
        } else {
            unverified()
        }?;
        Ok(Self {
            url,
            user,
            tls: MakeRustlsConnect::new(config),
            application_name,
            rename: false,
        })
    }

    /// The same, but its application name goes before the URL's: others must see who holds the lock.
    #[must_use]
    pub(super) fn renamed(self) -> Self {
        Self {
            rename: true,
            ..self
        }
    }

    /// Logs in at the first server that will do, within `limit` over everything, names included.
    ///
    /// The connection lives in a task of the current runtime; `ended` is notified when it is over.
    ///
    /// # Errors
    /// Why not: at the first refusal, as libpq has it, else when no server was left to try.
    pub async fn connect(
        &self,
        limit: Duration,
        ended: Option<&Arc<Notify>>,
    ) -> Result<Login, Trouble> {
        let deadline = Instant::now() + limit;
        let mut reasons = Reasons::default();
        // `prefer-standby` looks for a standby first, and then takes anyone.
        let rounds: &[SessionAttributes] = match self.url.session_attributes {
            SessionAttributes::PreferStandby => {
                &[SessionAttributes::Standby, SessionAttributes::Any]
            }
            _ => std::slice::from_ref(&self.url.session_attributes),
        };
        let mut left = rounds.len() * self.url.servers.len();
        for wanted in rounds {
            for server in &self.url.servers {
                let end = share(deadline, left);
                left -= 1;
                let endpoints = match resolve(server, end).await {
                    Ok(endpoints) => endpoints,
                    Err(reason) => {
                        reasons.add(&server_name(server), reason);
                        continue;
                    }
                };
                for (i, endpoint) in endpoints.iter().enumerate() {
                    let end = share(end, endpoints.len() - i);
                    let within = self
                        .url
                        .connect_timeout
                        .map_or(end, |own| end.min(Instant::now() + own));
                    match self.log_in(endpoint, *wanted, within, ended).await {
                        Ok(login) => return Ok(login),
                        Err(Trouble::NotYet(reason)) => reasons.add(&endpoint.label(), reason),
                        Err(refusal) => return Err(refusal),
                    }
                }
            }
        }
        Err(Trouble::NotYet(reasons.text()))
    }

    async fn log_in(
        &self,
        endpoint: &Endpoint<'_>,
        wanted: SessionAttributes,
        end: Instant,
        ended: Option<&Arc<Notify>>,
    ) -> Result<Login, Trouble> {
        let limit = end.saturating_duration_since(Instant::now());
        let attempt = async {
            let login = self.negotiate(endpoint, end, ended).await?;
            match check_session(&login.client, wanted).await {
                Ok(None) => Ok(login),
                Ok(Some(unfit)) => Err(Trouble::NotYet(unfit.into())),
                Err(error) => Err(Trouble::from(&error)),
            }
        };
        let result = timeout(limit, attempt).await;
        result.unwrap_or_else(|_| Err(Trouble::NotYet(SILENT.into())))
    }

    /// TLS or not, and what else to try (PostgreSQL manual, table 34.1).
    async fn negotiate(
        &self,
        endpoint: &Endpoint<'_>,
        end: Instant,
        ended: Option<&Arc<Notify>>,
    ) -> Result<Login, Trouble> {
        let mode = match endpoint.socket {
            Socket::Unix(_) => SslMode::Disable,
            Socket::Tcp(_) => self.url.tls.mode,
        };
        let (first, second) = match mode {
            SslMode::Disable => (Negotiation::Disable, None),
            SslMode::Allow => (Negotiation::Disable, Some(Negotiation::Require)),
            SslMode::Prefer => (Negotiation::Prefer, Some(Negotiation::Disable)),
            _ => (Negotiation::Require, None),
        };
        let error = match self.start(endpoint, first, end, ended).await? {
            Ok(login) => return Ok(login),
            Err(error) => error,
        };
        if let Some(stranger) = self.stranger(&error, endpoint).await {
            return Err(stranger);
        }
        // libpq tries the other way after any error; a wrong password is wrong either way, and would count twice.
        let other_way = tls_error(&error).is_some()
            || error.code().is_some_and(|code| code.code() == NOT_THIS_WAY);
        let Some(second) = second.filter(|_| other_way) else {
            return Err(self.explain(&error));
        };
        let started = self.start(endpoint, second, end, ended).await;
        let started = started.and_then(|login| login.map_err(|again| Trouble::from(&again)));
        started.map_err(|again| {
            let before = Trouble::from(&error);
            let how = if second == Negotiation::Disable {
                "without TLS"
            } else {
                "with TLS"
            };
            again.map(|reason| format!("{}; {how}: {reason}", before.reason()))
        })
    }

    /// What is there instead of PostgreSQL, when that is what an error comes from.
    async fn stranger(&self, error: &Error, endpoint: &Endpoint<'_>) -> Option<Trouble> {
        match endpoint.socket {
            Socket::Tcp(address) if is_gibberish(error) => {
                let end = Instant::now() + SECOND_LOOK;
                let who = stranger::identify(address, endpoint.server.port, end).await?;
                Some(Trouble::Refused(who))
            }
            _ => None,
        }
    }

    /// What an error means, with what `sslnegotiation=direct` may have to do with it.
    fn explain(&self, error: &Error) -> Trouble {
        let trouble = Trouble::from(error);
        let hung_up = trouble.reason() == HUNG_UP || is_gibberish(error);
        if !self.url.tls.direct || !hung_up {
            return trouble;
        }
        trouble.map(|reason| {
            format!("{reason}; sslnegotiation=direct is known to PostgreSQL 17 and later only")
        })
    }

    async fn start(
        &self,
        endpoint: &Endpoint<'_>,
        negotiation: Negotiation,
        end: Instant,
        ended: Option<&Arc<Notify>>,
    ) -> Result<Result<Login, Error>, Trouble> {
        let opened = match timeout(connecting(end), open(endpoint)).await {
            Ok(opened) => opened,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let (stream, socket) = opened.map_err(|error| Trouble::from(&error))?;
        let Ok(tls) = MakeTlsConnect::<Box<dyn Stream>>::make_tls_connect(
            &mut self.tls.clone(),
            &endpoint.name,
        );
        let config = self.config(endpoint, negotiation);
        let (client, connection) = match config.connect_raw(stream, tls).await {
            Ok(connected) => connected,
            Err(error) => return Ok(Err(error)),
        };
        let ended = ended.cloned();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!(
                    "the database connection ended: {}",
                    Trouble::from(&error).reason()
                );
            }
            if let Some(ended) = ended {
                ended.notify_one();
            }
        });
        Ok(Ok(Login { client, socket }))
    }

    fn config(&self, endpoint: &Endpoint<'_>, negotiation: Negotiation) -> Config {
        let named = self
            .url
            .application_name
            .as_deref()
            .filter(|_| !self.rename);
        let application_name = named.unwrap_or(self.application_name);
        let mut config = Config::new();
        config
            .user(&self.user)
            .dbname(self.url.database.as_ref().unwrap_or(&self.user))
            .application_name(application_name)
            .ssl_mode(negotiation)
            .channel_binding(self.url.channel_binding);
        if let Some(password) =
            self.url
                .password_for(&endpoint.name, endpoint.server.port, &self.user)
        {
            config.password(password);
        }
        if let Some(options) = &self.url.options {
            config.options(options);
        }
        if self.url.tls.direct && negotiation == Negotiation::Require {
            config.ssl_negotiation(SslNegotiation::Direct);
        }
        config
    }
}

/// Connects, and duplicates the socket.
async fn open(endpoint: &Endpoint<'_>) -> io::Result<(Box<dyn Stream>, OwnedFd)> {
    let port = endpoint.server.port;
    Ok(match &endpoint.socket {
        Socket::Tcp(address) => {
            let stream = TcpStream::connect((*address, port)).await?;
            stream.set_nodelay(true)?;
            let socket = sys::duplicate(stream.as_fd())?;
            (Box::new(stream), socket)
        }
        Socket::Unix(directory) => {
            let path = directory.join(format!(".s.PGSQL.{port}"));
            let stream = UnixStream::connect(path).await?;
            let socket = sys::duplicate(stream.as_fd())?;
            (Box::new(stream), socket)
        }
    })
}

/// For connections that never speak TLS: tokio-postgres wants a connector all the same.
fn unverified() -> Result<ClientConfig, String> {
    crate::probe::tls::client_config(
        &crate::probe::Verification::default(),
        &crate::probe::tls::OwnFiles::default(),
        false,
    )
}

/// When the next of `left` tries must be over, so that one dead host does not use up everyone's time.
fn share(deadline: Instant, left: usize) -> Instant {
    let now = Instant::now();
    let tries = u32::try_from(left.max(1)).unwrap_or(u32::MAX);
    now + deadline.saturating_duration_since(now) / tries
}

/// The time to make the connection itself: a little less than all, so that a network that swallows packets is told from
/// a server that says nothing.
fn connecting(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now()) / 10 * 9
}

/// Why a session is not of the wanted kind, or None when it is.
async fn check_session(
    client: &Client,
    wanted: SessionAttributes,
) -> Result<Option<&'static str>, Error> {
    let (query, unfit_answer, unfit) = match wanted {
        SessionAttributes::Any | SessionAttributes::PreferStandby => return Ok(None),
        SessionAttributes::ReadWrite => (
            "SHOW transaction_read_only",
            "on",
            "the session is read-only",
        ),
        SessionAttributes::ReadOnly => (
            "SHOW transaction_read_only",
            "off",
            "the session is not read-only",
        ),
        SessionAttributes::Primary => {
            ("SELECT pg_is_in_recovery()", "t", "the server is a standby")
        }
        SessionAttributes::Standby => (
            "SELECT pg_is_in_recovery()",
            "f",
            "the server is not a standby",
        ),
    };
    let answer = first_row(client, query, 1).await?;
    Ok((answer.first().is_some_and(|value| value == unfit_answer)).then_some(unfit))
}

/// The first `columns` values of a query's first row, NULL as empty; nothing when there is no row.
///
/// The simple protocol: it needs no prepared statement, which poolers don't like.
pub(super) async fn first_row(
    client: &Client,
    query: &str,
    columns: usize,
) -> Result<Vec<String>, Error> {
    for message in client.simple_query(query).await? {
        if let SimpleQueryMessage::Row(row) = message {
            return (0..columns)
                .map(|i| Ok(row.try_get(i)?.unwrap_or_default().to_owned()))
                .collect();
        }
    }
    Ok(Vec::new())
}
