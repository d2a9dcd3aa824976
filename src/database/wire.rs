//! Messages of PostgreSQL's protocol as far as a login needs them (PostgreSQL manual, 55.7 "Message Formats").

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Duration, timeout};

use crate::database::diagnosis::ErrorResponse;

/// A connection below Postgres' protocol.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// `SSLRequest`: its length and its code.
pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Version 3.0, as a startup message has it.
const VERSION: [u8; 4] = [0, 3, 0, 0];

/// The longest message that is read before the login is through, in bytes: libpq's limit.
const LONGEST: usize = 30_000;

/// The longest part of a stranger's answer that is read, in bytes: less of it is shown, cut where secrets are masked.
pub(super) const LONGEST_ANSWER: usize = 1024;

/// How long a stranger's first words are collected.
const SENTENCE: Duration = Duration::from_millis(50);

/// A message of the server's.
pub(super) enum Message {
    /// `AuthenticationXXX`: its kind and what comes behind it.
    Authentication(u32, Vec<u8>),
    /// `ErrorResponse`.
    Error(ErrorResponse),
    /// A notice, or another version of the protocol that is offered: of no interest.
    Other,
}

/// Why there is no message.
pub(super) enum Unread {
    Failed(io::Error),
    /// What came is nothing that PostgreSQL says.
    Foreign(Vec<u8>),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads the next message.
pub(super) async fn read(stream: &mut (impl Stream + ?Sized)) -> Result<Message, Unread> {
    let kind = stream.read_u8().await?;
    read_behind(stream, kind).await
}

/// The same when its first byte has been read already.
pub(super) async fn read_behind(
    stream: &mut (impl Stream + ?Sized),
    kind: u8,
) -> Result<Message, Unread> {
    if !b"RENv".contains(&kind) {
        return Err(foreign(stream, vec![kind]).await);
    }
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let Some(rest) = usize::try_from(u32::from_be_bytes(length))
        .ok()
        .and_then(|length| length.checked_sub(4))
        .filter(|rest| (4..=LONGEST).contains(rest))
    else {
        let mut first = vec![kind];
        first.extend(length);
        return Err(foreign(stream, first).await);
    };
    let mut body = vec![0; rest];
    stream.read_exact(&mut body).await?;
    Ok(match kind {
        b'R' => {
            let behind = body.split_off(4);
            let kind = body.try_into().map_or(u32::MAX, u32::from_be_bytes);
            Message::Authentication(kind, behind)
        }
        b'E' => Message::Error(ErrorResponse::parse(&body)),
        _ => Message::Other,
    })
}

/// What else is said at once.
pub(super) async fn foreign(stream: &mut (impl Stream + ?Sized), mut first: Vec<u8>) -> Unread {
    let mut more = [0; LONGEST_ANSWER];
    if let Ok(Ok(length)) = timeout(SENTENCE, stream.read(&mut more)).await {
        first.extend_from_slice(&more[..length]);
    }
    Unread::Foreign(first)
}

/// Sends one message, whose body is these parts one after another.
pub(super) async fn send(
    stream: &mut (impl Stream + ?Sized),
    kind: u8,
    parts: &[&[u8]],
) -> io::Result<()> {
    let body = parts.concat();
    let mut message = vec![kind];
    message.extend(length_of(&body));
    message.extend(body);
    stream.write_all(&message).await?;
    stream.flush().await
}

/// Sends the startup message, which has no kind.
pub(super) async fn send_startup(
    stream: &mut (impl Stream + ?Sized),
    parameters: &[(&str, &str)],
) -> io::Result<()> {
    let mut body = VERSION.to_vec();
    for (name, value) in parameters {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    let mut message = length_of(&body).to_vec();
    message.extend(body);
    stream.write_all(&message).await?;
    stream.flush().await
}

/// A length counts its own four bytes.
pub(super) fn length_of(body: &[u8]) -> [u8; 4] {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    length.to_be_bytes()
}
