//! A login as libpq would do it: every host, every address, TLS and its fallbacks, the kind of server asked for.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Once};
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustls::ClientConfig;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::SslMode as Negotiation;
use tokio_postgres::{Config, NoTls};

use crate::database::client::Login;
use crate::database::diagnosis::{HUNG_UP, Trouble};
use crate::database::endpoint::{Endpoint, Reasons, Socket, resolve, server_name, socket_path};
use crate::database::login::{Authenticated, LoginError, LoginParameters};
use crate::database::passfile::name_of;
use crate::database::secure::{Way, secure};
use crate::database::url::{PostgresUrl, SessionAttributes};
use crate::database::wire::Stream;
use crate::database::{fingerprint, login};
use crate::net::tls::settings::SslMode;
use crate::{redaction, sys};

/// A wait tries many times and says it once.
static GIVEN_UP: Once = Once::new();

/// What is said of a server that is connected to and does not answer in time.
const SILENT: &str = "it accepts the connection and does not answer in time (ETIMEDOUT)";

/// How long the look at who is there may take.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// What connects: the URL, and what was read and built for it once.
pub struct Connector<'a> {
    url: Cow<'a, PostgresUrl>,
    user: String,
    /// None where none of the servers is spoken to by TLS.
    tls: Option<Arc<ClientConfig>>,
    application_name: &'a str,
    /// Whether `application_name` goes before the URL's.
    rename: bool,
}

impl<'a> Connector<'a> {
    /// Reads the files that the URL names. `application_name` is for servers unless the URL has one.
    ///
    /// # Errors
    /// A certificate that can't be read, or no user to log in as: what no waiting can change.
    pub fn new(url: &'a PostgresUrl, application_name: &'a str) -> Result<Self, String> {
        let url = url.with_service()?;
        let user = url.login()?;
        let tls = if url.may_use_tls() {
            Some(Arc::new(url.tls.client_config()?))
        } else {
            None
        };
        Ok(Self {
            url,
            user,
            tls,
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
            match login.check(wanted).await? {
                None => Ok(login),
                Some(unfit) => Err(Trouble::NotYet(unfit.into())),
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
        let mode = match (&endpoint.socket, &self.tls) {
            (Socket::Unix(_), _) | (_, None) => SslMode::Disable,
            (Socket::Tcp(_), Some(_)) => self.url.tls.mode,
        };
        let (first, second) = match mode {
            SslMode::Disable => (Way::Plain, None),
            SslMode::Allow => (Way::Plain, Some(Way::Tls)),
            SslMode::Prefer => (Way::TlsWhereItIs, Some(Way::Plain)),
            _ if self.url.tls.direct => (Way::DirectTls, None),
            _ => (Way::Tls, None),
        };
        let failure = match self.start(endpoint, first, end, ended).await {
            Ok(login) => return Ok(login),
            Err(failure) => failure,
        };
        if let Some(stranger) = stranger(&failure, endpoint).await {
            return Err(stranger);
        }
        // libpq tries the other way after any error; a wrong password is wrong either way, and would count twice.
        let Some(second) = second.filter(|_| failure.other_way) else {
            return Err(self.explain(failure.trouble));
        };
        let before = failure.trouble;
        match self.start(endpoint, second, end, ended).await {
            Ok(login) if second == Way::Plain => {
                let reason = before.reason();
                GIVEN_UP.call_once(|| {
                    log::warn!(
                        "the database is used without TLS, as sslmode=prefer allows: {reason}"
                    );
                });
                Ok(login)
            }
            Ok(login) => Ok(login),
            Err(again) => {
                let how = if second == Way::Plain {
                    "without TLS"
                } else {
                    "with TLS"
                };
                let again = again.trouble;
                Err(again.map(|reason| format!("{}; {how}: {reason}", before.reason())))
            }
        }
    }

    /// What an error means, with what `sslnegotiation=direct` may have to do with it.
    fn explain(&self, trouble: Trouble) -> Trouble {
        let hung_up = trouble.reason() == HUNG_UP || trouble.reason().contains("speak TLS");
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
        way: Way,
        end: Instant,
        ended: Option<&Arc<Notify>>,
    ) -> Result<Login, LoginError> {
        let opened = match timeout(connecting(end), open(endpoint)).await {
            Ok(opened) => opened,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        // A reset of the attempt itself says nothing of who is there.
        let (stream, socket) = opened.map_err(|error| LoginError::from(Trouble::from(&error)))?;
        self.check_peer(endpoint, &socket)?;
        let mut secured = secure(stream, way, &endpoint.name, self.tls.as_ref()).await?;
        login::log_in(&mut secured, &self.credentials(endpoint, end)).await?;
        // It is in already: what it is told here is for nobody.
        let mut config = Config::new();
        config.user(&self.user).ssl_mode(Negotiation::Disable);
        let connected = config
            .connect_raw(Authenticated::new(secured.stream), NoTls)
            .await;
        let connected = connected.map_err(|error| LoginError::from(Trouble::from(&error)))?;
        Ok(Login::new(connected, socket, ended.cloned()))
    }

    /// `requirepeer`: a unix socket's server must be this user's (`unix(7)`, `SO_PEERCRED`).
    fn check_peer(&self, endpoint: &Endpoint<'_>, socket: &OwnedFd) -> Result<(), Trouble> {
        let (Some(wanted), Socket::Unix(_)) = (&self.url.peer, &endpoint.socket) else {
            return Ok(());
        };
        let peer = getsockopt(socket, PeerCredentials)
            .map_err(|errno| Trouble::from(&io::Error::from(errno)))?;
        let name = name_of(peer.uid()).unwrap_or_else(|| peer.uid().to_string());
        if name == *wanted {
            return Ok(());
        }
        Err(Trouble::Refused(format!(
            "requirepeer: the server runs as another user, {name:?}"
        )))
    }

    fn credentials(&self, endpoint: &Endpoint<'_>, end: Instant) -> LoginParameters<'_> {
        let named = self
            .url
            .application_name
            .as_deref()
            .filter(|_| !self.rename);
        let mut parameters = vec![
            ("user", self.user.as_str()),
            (
                "database",
                self.url.database.as_deref().unwrap_or(&self.user),
            ),
            ("application_name", named.unwrap_or(self.application_name)),
        ];
        parameters.extend(
            self.url
                .options
                .as_deref()
                .map(|options| ("options", options)),
        );
        let port = endpoint.server.port;
        let password = self.url.password_for(&endpoint.name, port, &self.user);
        if let Some(password) = &password {
            let named = format!("{}@{}", self.user, self.url);
            redaction::hide_password(password.as_bytes(), &named);
        }
        LoginParameters {
            parameters,
            user: &self.user,
            password,
            methods: self.url.methods,
            binding: self.url.channel_binding,
            end,
        }
    }
}

/// What is there instead of PostgreSQL, when that is what a failure comes from.
async fn stranger(failure: &LoginError, endpoint: &Endpoint<'_>) -> Option<Trouble> {
    match endpoint.socket {
        Socket::Tcp(address) if failure.is_foreign => {
            let end = Instant::now() + SECOND_LOOK;
            fingerprint::identify(address, endpoint.server.port, end).await
        }
        _ => None,
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
            let stream = UnixStream::connect(socket_path(directory, port)).await?;
            let socket = sys::duplicate(stream.as_fd())?;
            (Box::new(stream), socket)
        }
    })
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
