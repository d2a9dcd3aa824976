//! TLS below a login, as PostgreSQL negotiates it (PostgreSQL manual, 55.2.11 "SSL Session Encryption").

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::database::diagnosis::{Trouble, tls_error};
use crate::database::login::{LoginError, Secured};
use crate::database::wire::{Message, SSL_REQUEST, Stream, Unread};
use crate::database::{fingerprint, wire};
use crate::net::tls::end_point;

/// How a connection is to be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Plain,
    Tls,
    /// Without, where the server has no TLS.
    TlsWhereItIs,
    /// The handshake comes first (`sslnegotiation=direct`).
    DirectTls,
}

/// Goes `way` over an open connection.
pub(super) async fn secure(
    mut stream: Box<dyn Stream>,
    way: Way,
    name: &str,
    config: Option<&Arc<ClientConfig>>,
) -> Result<Secured, LoginError> {
    let plain = |stream| Secured {
        stream,
        end_point: None,
    };
    let Some(config) = config.filter(|_| way != Way::Plain) else {
        return Ok(plain(stream));
    };
    if way != Way::DirectTls && !has_tls(&mut stream).await? {
        return if way == Way::TlsWhereItIs {
            Ok(plain(stream))
        } else {
            Err(Trouble::Refused("server does not support TLS".into()).into())
        };
    }
    let name = ServerName::try_from(name.to_owned()).map_err(|_| {
        LoginError::from(Trouble::Refused(
            "the host's name is none that a certificate can have".into(),
        ))
    })?;
    match TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
    {
        Ok(tls) => {
            let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
            let end_point = certificates.first().and_then(|first| end_point(first));
            Ok(Secured {
                stream: Box::new(tls),
                end_point,
            })
        }
        Err(error) => Err(LoginError {
            other_way: true,
            is_foreign: is_no_tls(&error),
            ..error.into()
        }),
    }
}

/// Asks for TLS: exactly one letter is read, so that nothing that came before the handshake counts as coming after it.
async fn has_tls(stream: &mut Box<dyn Stream>) -> Result<bool, LoginError> {
    stream.write_all(&SSL_REQUEST).await?;
    stream.flush().await?;
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        b'E' => match wire::read_behind(stream, b'E').await {
            Ok(Message::Error(answer)) => Err(answer.into()),
            Ok(_) => Err(fingerprint::trouble(b"").into()),
            Err(unread) => Err(unread.into()),
        },
        other => Err(match wire::foreign(stream, vec![other]).await {
            Unread::Foreign(said) => fingerprint::trouble(&said).into(),
            Unread::Failed(error) => error.into(),
        }),
    }
}

/// Whether what was said to a handshake is none of TLS.
fn is_no_tls(error: &io::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
        || error.kind() == io::ErrorKind::ConnectionReset
}
