//! One session at the server and the questions that the lock asks there.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Key, NAMESPACE};
use crate::database::connect::{Connector, Login, first_row};
use crate::database::diagnosis::Trouble;
use crate::sys;

/// The longest a question may take; none of them waits for anything but the server itself.
const ANSWER: Duration = Duration::from_secs(10);

/// For the session, where the server knows the setting: a role's or a database's own timeouts must not end it, and
/// the server must find a dead client within half a minute. By SET, for PgBouncer refuses startup options.
const SETTINGS: &str = "SELECT set_config(s.name, v.value, false) FROM (VALUES ('statement_timeout', '0'), \
    ('lock_timeout', '0'), ('idle_session_timeout', '0'), ('tcp_keepalives_idle', '15'), \
    ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '30000')) AS v(name, value) \
    JOIN pg_settings s ON s.name = v.name";

/// How often pooling is looked for; a pooler may by chance give the same connection twice.
const POOLING_ROUNDS: usize = 3;

/// A connection and the process that serves it.
pub(super) struct Session {
    login: Login,
    /// The server's process id for it.
    pub pid: String,
}

/// What a session was found to be good for.
pub(super) enum Fitness {
    Fit,
    /// A standby: it can't be migrated.
    Standby,
    /// Behind a pooler that gives each transaction another session.
    Pooled,
}

/// What came of trying for the lock.
pub(super) enum Attempt {
    Got,
    Held,
    /// The server said yes and does not show the lock as this session's.
    NotShown,
}

impl Session {
    /// Logs in. `ended` is notified when the connection is over.
    pub(super) async fn open(
        connector: &Connector<'_>,
        limit: Duration,
        ended: Option<&Arc<Notify>>,
    ) -> Result<Self, Trouble> {
        let login = connector.connect(limit, ended).await?;
        let mut session = Self {
            login,
            pid: String::new(),
        };
        session.pid = session.backend().await?;
        Ok(session)
    }

    /// The duplicate of its socket.
    pub(super) fn socket(&self) -> io::Result<OwnedFd> {
        sys::duplicate(self.login.socket.as_fd())
    }

    /// Whether session-level locks mean something here; asked before any setting is made.
    pub(super) async fn fitness(
        &self,
        connector: &Connector<'_>,
        limit: Duration,
    ) -> Result<Fitness, Trouble> {
        if self.value("SELECT pg_is_in_recovery()").await? == "t" {
            return Ok(Fitness::Standby);
        }
        let other = Self {
            login: connector.connect(limit, None).await?,
            pid: String::new(),
        };
        for _ in 0..POOLING_ROUNDS {
            let mine = self.backend().await?;
            if let Err(error) = other.login.client.simple_query("BEGIN").await {
                // PgBouncer, pool_mode=statement.
                let trouble = Trouble::from(&error);
                return if trouble.reason().contains("statement pooling") {
                    Ok(Fitness::Pooled)
                } else {
                    Err(trouble)
                };
            }
            // The other session now sits on its server connection: was it mine, or must mine change?
            let pooled = other.backend().await? == mine || self.backend().await? != mine;
            other.value("ROLLBACK").await?;
            if pooled {
                return Ok(Fitness::Pooled);
            }
        }
        Ok(Fitness::Fit)
    }

    /// Makes the session fit to hold a lock for hours.
    pub(super) async fn settle(&self) -> Result<(), Trouble> {
        self.value(SETTINGS).await.map(drop)
    }

    /// Tries for the lock, without waiting for it.
    pub(super) async fn try_lock(&self, key: &Key) -> Result<Attempt, Trouble> {
        if self
            .value(&format!(
                "SELECT pg_try_advisory_lock({NAMESPACE}, {})",
                key.number
            ))
            .await?
            != "t"
        {
            return Ok(Attempt::Held);
        }
        Ok(if self.owns(key).await? {
            Attempt::Got
        } else {
            Attempt::NotShown
        })
    }

    /// Whether the server shows the lock as this session's. Trying again would not tell: an owner always gets it.
    pub(super) async fn owns(&self, key: &Key) -> Result<bool, Trouble> {
        let query = format!(
            "SELECT 1 FROM pg_locks WHERE {} AND pid = pg_backend_pid()",
            shown_as(key)
        );
        Ok(!self.row(&query, 1).await?.is_empty())
    }

    /// Whether the server was started less than so long ago: then all who held locks have lost them.
    pub(super) async fn has_just_started(&self, within: Duration) -> Result<bool, Trouble> {
        let query = format!(
            "SELECT clock_timestamp() - pg_postmaster_start_time() < interval '{} s'",
            within.as_secs()
        );
        match self.value(&query).await {
            // It is not asked of servers that only speak Postgres' language.
            Err(Trouble::Refused(_)) => Ok(false),
            answer => Ok(answer? == "t"),
        }
    }

    /// Gives the lock back.
    pub(super) async fn unlock(&self, key: &Key) -> Result<(), Trouble> {
        self.value(&format!(
            "SELECT pg_advisory_unlock({NAMESPACE}, {})",
            key.number
        ))
        .await
        .map(drop)
    }

    /// Ends another session of the same user.
    pub(super) async fn terminate(&self, pid: &str) -> Result<(), Trouble> {
        self.value(&format!("SELECT pg_terminate_backend({pid})"))
            .await
            .map(drop)
    }

    /// The first `columns` values of the first row.
    pub(super) async fn row(&self, query: &str, columns: usize) -> Result<Vec<String>, Trouble> {
        match timeout(ANSWER, first_row(&self.login.client, query, columns)).await {
            Ok(answer) => answer.map_err(|error| Trouble::from(&error)),
            Err(_) => Err(Trouble::NotYet("no answer in time (ETIMEDOUT)".into())),
        }
    }

    /// The first value of the first row; nothing when there is none.
    pub(super) async fn value(&self, query: &str) -> Result<String, Trouble> {
        Ok(self.row(query, 1).await?.pop().unwrap_or_default())
    }

    async fn backend(&self) -> Result<String, Trouble> {
        self.value("SELECT pg_backend_pid()").await
    }
}

/// The lock's rows in `pg_locks` (PostgreSQL manual, 54.12): two keys make `objsubid` 2.
pub(super) fn shown_as(key: &Key) -> String {
    format!(
        "locktype = 'advisory' AND classid = {NAMESPACE} AND objid = {} AND objsubid = 2 AND granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        key.number
    )
}
