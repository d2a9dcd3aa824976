//! Startup and authentication by portero itself, as libpq does them (PostgreSQL manual, 55.2.1 "Start-Up"); the session
//! is tokio-postgres' business then.
//!
//! tokio-postgres has this, too, but can't be told which methods are allowed (`require_auth`), does not tell whether it
//! was asked for a password before it was refused, refuses SCRAM of more than 100,000 iterations and hashes without a
//! pause. A fork of two crates would have to be kept; this is the protocol's smallest part, and it has not changed
//! since 2017. What has logged in is handed over behind [`Authenticated`], to which tokio-postgres sends its own
//! startup message, and which answers that it is in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use postgres_protocol::authentication::md5_hash;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_postgres::config::ChannelBinding;

use crate::database::diagnosis::{ErrorResponse, Trouble, from_answer};
use crate::database::scram::Scram;
use crate::database::url::Methods;
use crate::database::wire::{Message, Stream, Unread};
use crate::database::{fingerprint, wire};

/// The most that a server may say in answer to one message, in bytes: what portero asks is answered in a few hundred,
/// and what reads a session keeps a message, however long it says it is, until all of it is there.
const LONGEST_ANSWER: usize = 1 << 20;

/// How much of the names of ways to log in is shown, in bytes.
const LONGEST_NAMES: usize = 100;

const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Who logs in, and how he may.
pub(super) struct LoginParameters<'a> {
    pub(super) parameters: Vec<(&'a str, &'a str)>,
    pub(super) user: &'a str,
    pub(super) password: Option<String>,
    pub(super) methods: Methods,
    pub(super) binding: ChannelBinding,
    /// When the try is over: what portero reckons by itself takes no longer.
    pub(super) end: Instant,
}

/// A connection with TLS or without.
pub(super) struct Secured {
    pub(super) stream: Box<dyn Stream>,
    /// The data of `tls-server-end-point` (RFC 5929), with TLS, where the certificate has a hash to make it of.
    pub(super) end_point: Option<Vec<u8>>,
}

/// Why there is no login.
pub(super) struct LoginError {
    pub(super) trouble: Trouble,
    /// Whether the server said so before it asked for authentication: then it may be tried with TLS instead of without,
    /// or the other way round. Later, it would count twice, and a password might go in clear.
    pub(super) other_way: bool,
    /// Whether something else may be there than PostgreSQL.
    pub(super) is_foreign: bool,
}

impl From<Trouble> for LoginError {
    fn from(trouble: Trouble) -> Self {
        Self {
            trouble,
            other_way: false,
            is_foreign: false,
        }
    }
}

impl From<ErrorResponse> for LoginError {
    /// `pg_hba.conf` refuses a way by 28000, PgBouncer by 08P01; a password, or what stands for it, is refused by
    /// another function of the server's.
    fn from(answer: ErrorResponse) -> Self {
        let other_way = ["28000", "08P01"].contains(&answer.code.as_str());
        Self {
            other_way: other_way && answer.routine != "auth_failed",
            ..from_answer(&answer.code, &answer.message).into()
        }
    }
}

impl From<io::Error> for LoginError {
    fn from(error: io::Error) -> Self {
        Self {
            is_foreign: error.kind() == io::ErrorKind::ConnectionReset,
            ..Trouble::from(&error).into()
        }
    }
}

impl From<Unread> for LoginError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Failed(error) => error.into(),
            Unread::Foreign(said) => fingerprint::trouble(&said).into(),
        }
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, LoginError> {
    Err(Trouble::Refused(why.into()).into())
}

/// Logs in; on success the server's next messages are its parameters.
pub(super) async fn log_in(
    secured: &mut Secured,
    as_whom: &LoginParameters<'_>,
) -> Result<(), LoginError> {
    let mut parameters = vec![("client_encoding", "UTF8")];
    parameters.extend(&as_whom.parameters);
    wire::send_startup(&mut secured.stream, &parameters).await?;
    let mut dialogue = Dialogue {
        stream: &mut secured.stream,
        has_asked: false,
    };
    let result = dialogue
        .authenticate(as_whom, secured.end_point.as_deref())
        .await;
    let has_asked = dialogue.has_asked;
    result.map_err(|failure| LoginError {
        other_way: failure.other_way && !has_asked,
        is_foreign: failure.is_foreign && !has_asked,
        ..failure
    })
}

struct Dialogue<'a> {
    stream: &'a mut Box<dyn Stream>,
    /// Whether the server has asked for authentication, or done without.
    has_asked: bool,
}

impl Dialogue<'_> {
    /// The next message about authentication: its kind and what is behind it.
    async fn next(&mut self) -> Result<(u32, Vec<u8>), LoginError> {
        loop {
            match wire::read(self.stream).await {
                Ok(Message::Authentication(kind, behind)) => {
                    self.has_asked = true;
                    return Ok((kind, behind));
                }
                Ok(Message::Error(answer)) => return Err(answer.into()),
                Ok(Message::Other) => {}
                // In TLS 1.3 a client's certificate is refused after the handshake.
                Err(Unread::Failed(error)) if super::diagnosis::tls_error(&error).is_some() => {
                    return Err(LoginError {
                        other_way: true,
                        ..error.into()
                    });
                }
                Err(unread) => return Err(unread.into()),
            }
        }
    }

    async fn authenticate(
        &mut self,
        as_whom: &LoginParameters<'_>,
        end_point: Option<&[u8]>,
    ) -> Result<(), LoginError> {
        let (kind, behind) = self.next().await?;
        let method = match kind {
            0 => Methods::NONE,
            3 => Methods::PASSWORD,
            5 => Methods::MD5,
            10 => return self.sasl(as_whom, end_point, &behind).await,
            2 | 7 => {
                return refused(
                    "the server asks for GSSAPI (Kerberos), which portero does not have",
                );
            }
            9 => return refused("the server asks for SSPI (Windows), which portero does not have"),
            other => {
                return refused(format!(
                    "the server asks for authentication of kind {other}, which portero does not know"
                ));
            }
        };
        as_whom.allow(method)?;
        if as_whom.binding == ChannelBinding::Require {
            return refused(
                "channel_binding=require, and the server authenticates without channel binding",
            );
        }
        if method == Methods::NONE {
            return Ok(());
        }
        let password = as_whom.password()?.as_bytes();
        let hashed = behind.get(..4).and_then(|salt| salt.try_into().ok());
        let said = match hashed.filter(|_| method == Methods::MD5) {
            Some(salt) => md5_hash(as_whom.user.as_bytes(), password, salt),
            None if method == Methods::MD5 => return refused(BROKEN),
            None => as_whom.password()?.to_owned(),
        };
        wire::send(self.stream, b'p', &[said.as_bytes(), &[0]]).await?;
        self.end().await
    }

    async fn sasl(
        &mut self,
        as_whom: &LoginParameters<'_>,
        end_point: Option<&[u8]>,
        mechanisms: &[u8],
    ) -> Result<(), LoginError> {
        let names = mechanisms.split(|byte| *byte == 0);
        let names: Vec<_> = names.map(String::from_utf8_lossy).collect();
        let offers = |name| names.iter().any(|offered| offered == name);
        let end_point = end_point.filter(|_| as_whom.binding != ChannelBinding::Disable);
        let (mechanism, header, data) = match end_point {
            Some(data) if offers(SCRAM_PLUS) => (SCRAM_PLUS, "p=tls-server-end-point,,", data),
            _ if as_whom.binding == ChannelBinding::Require && offers(SCRAM) => {
                return refused(if end_point.is_some() {
                    "channel_binding=require, and the server does not offer channel binding"
                } else {
                    "channel_binding=require, and there is no TLS whose certificate could be bound"
                });
            }
            // The server must not have taken the offer away: it is told that there would have been a taker.
            Some(_) if offers(SCRAM) => (SCRAM, "y,,", &[][..]),
            None if offers(SCRAM) => (SCRAM, "n,,", &[][..]),
            _ => {
                let names = crate::wording::quoted(names.join(" ").trim(), LONGEST_NAMES);
                return refused(format!(
                    "the server asks for {names}, and portero knows {SCRAM} only"
                ));
            }
        };
        as_whom.allow(Methods::SCRAM)?;
        let password = as_whom.password()?;
        let scram = Scram::new(password, header, data).or_else(refused)?;
        let first = format!("{header}{}", scram.first());
        let length = u32::try_from(first.len()).unwrap_or_default().to_be_bytes();
        let parts: [&[u8]; 4] = [mechanism.as_bytes(), &[0], &length, first.as_bytes()];
        wire::send(self.stream, b'p', &parts).await?;
        let (11, challenge) = self.next().await? else {
            return refused(BROKEN);
        };
        let (answer, expected) = scram.answer(&challenge, as_whom.end).await?;
        wire::send(self.stream, b'p', &[answer.as_bytes()]).await?;
        match self.next().await? {
            (12, proof) if expected.is(&proof) => self.end().await,
            _ => refused(
                "the server does not prove that it knows the password: somebody may sit between",
            ),
        }
    }

    async fn end(&mut self) -> Result<(), LoginError> {
        match self.next().await? {
            (0, _) => Ok(()),
            _ => refused(BROKEN),
        }
    }
}

const BROKEN: &str = "the server breaks the rules of authentication";

impl LoginParameters<'_> {
    fn password(&self) -> Result<&str, LoginError> {
        match &self.password {
            Some(password) => Ok(password),
            None => refused(
                "the server asks for a password, and none is given (URL, PGPASSWORD, ~/.pgpass)",
            ),
        }
    }

    fn allow(&self, method: Methods) -> Result<(), LoginError> {
        if self.methods.contains(method) {
            return Ok(());
        }
        refused(match method {
            Methods::NONE => "require_auth: the server lets anybody in without authentication",
            Methods::PASSWORD => {
                "require_auth: the server asks for the password in clear; it was not sent"
            }
            Methods::MD5 => {
                "require_auth: the server asks for the password's md5 hash; it was not sent"
            }
            _ => "require_auth: the server asks for SCRAM-SHA-256",
        })
    }
}

/// A connection that is logged in, to a client that has yet to do it: swallows his startup message, and answers with
/// `AuthenticationOk`.
pub(super) struct Authenticated {
    stream: Box<dyn Stream>,
    has_started: bool,
    /// What is left to be read of the answer.
    answer: &'static [u8],
    /// How many bytes came since something was last sent.
    received: usize,
}

impl Authenticated {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            has_started: false,
            answer: b"R\0\0\0\x08\0\0\0\0",
            received: 0,
        }
    }
}

impl AsyncRead for Authenticated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.answer.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            self.received += buffer.filled().len() - before;
            if self.received > LONGEST_ANSWER {
                return Poll::Ready(Err(io::Error::other(
                    "the server says more than any answer of PostgreSQL's would be",
                )));
            }
            return Poll::Ready(Ok(()));
        }
        let (now, later) = self
            .answer
            .split_at(self.answer.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.answer = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Authenticated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.has_started {
            // The startup message is the first thing, and all of it, that is written.
            self.has_started = true;
            return Poll::Ready(Ok(bytes.len()));
        }
        self.received = 0;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
