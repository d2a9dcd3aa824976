//! A session that was logged in to: what is asked of it, whether it is of the wanted kind, and how it has ended.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_postgres::{Client, Connection, Error, SimpleQueryMessage};

use crate::database::diagnosis::Trouble;
use crate::database::url::SessionAttributes;

/// A session that was logged in to.
pub struct Login {
    client: Client,
    /// How the connection has ended, when that was no goodbye.
    end: Arc<OnceLock<Trouble>>,
    /// A duplicate of the connection's socket: the server keeps the session as long as anybody has one, unless it is
    /// told goodbye.
    pub socket: OwnedFd,
}

impl Login {
    /// The connection lives in a task of the current runtime; `ended` is notified when it is over.
    pub(super) fn new<S, T>(
        (client, connection): (Client, Connection<S, T>),
        socket: OwnedFd,
        ended: Option<Arc<Notify>>,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let end = Arc::new(OnceLock::new());
        let news = Arc::clone(&end);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                let trouble = Trouble::from(&error);
                log::debug!("the database connection ended: {}", trouble.reason());
                let _ = news.set(trouble);
            }
            if let Some(ended) = ended {
                ended.notify_one();
            }
        });
        Self {
            client,
            end,
            socket,
        }
    }

    /// Whether the connection is over.
    pub(super) fn has_ended(&self) -> bool {
        self.client.is_closed()
    }

    /// The first `columns` values of a query's first row, NULL as empty; nothing when there is no row.
    ///
    /// # Errors
    /// What the server says, or how the connection has ended.
    pub async fn first_row(&self, query: &str, columns: usize) -> Result<Vec<String>, Trouble> {
        let row = first_row(&self.client, query, columns).await;
        row.map_err(|error| match self.end.get() {
            Some(end) if error.is_closed() => end.clone(),
            _ => Trouble::from(&error),
        })
    }

    /// Why a session is not of the wanted kind, or None when it is.
    pub(super) async fn check(
        &self,
        wanted: SessionAttributes,
    ) -> Result<Option<&'static str>, Trouble> {
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
        let answer = self.first_row(query, 1).await?;
        Ok((answer.first().is_some_and(|value| value == unfit_answer)).then_some(unfit))
    }
}

/// The simple protocol: it needs no prepared statement, which poolers don't like.
async fn first_row(client: &Client, query: &str, columns: usize) -> Result<Vec<String>, Error> {
    for message in client.simple_query(query).await? {
        if let SimpleQueryMessage::Row(row) = message {
            return (0..columns)
                .map(|i| Ok(row.try_get(i)?.unwrap_or_default().to_owned()))
                .collect();
        }
    }
    Ok(Vec::new())
}
