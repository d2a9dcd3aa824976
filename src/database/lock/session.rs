//! One session at the server and the questions that the lock asks there.
//!
//! Each name in a query is the catalog's own (`pg_catalog.`): what a search path has before it must not answer instead.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use crate::database::client::Login;
use crate::database::connect::Connector;
use crate::database::diagnosis::Trouble;
use crate::database::lock::key::{EQUALS, Key};
use crate::database::once::literal;
use crate::sys;

/// The longest that a login or a question may take; none of them waits for anything but the server itself.
pub(super) const ANSWER: Duration = Duration::from_secs(20);
/// How long giving the lock back may take, and how long the goodbye; the end of the connection does both, too.
const GOODBYE: Duration = Duration::from_secs(2);

/// For the session, where the server knows the setting: a role's or a database's own timeouts must not end it, and
/// the server must find a dead client within half a minute. By SET, for PgBouncer refuses startup options.
const SETTINGS: &str = "('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_session_timeout', '0'), \
    ('tcp_keepalives_idle', '15'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'), \
    ('tcp_user_timeout', '30000')";

/// When a process of the server's began, to the microsecond: pids come again, these pairs don't.
const STARTED: &str = "coalesce((SELECT pg_catalog.to_char(backend_start AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS') \
    FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())), '')";

/// A connection and the process that serves it.
pub(super) struct Session {
    login: Login,
    /// Notified when the connection is over. It may also be for a try before it that failed.
    pub ended: Arc<Notify>,
    /// The server's process id for it.
    pub pid: String,
    /// When that process began.
    started: String,
    /// Where `--lock-timeout` ends, and with it the time for any question.
    pub end: Option<Instant>,
    /// Whether the last question was given up: then a goodbye would wait behind it.
    unanswered: Cell<bool>,
}

/// What came of trying for the lock.
pub(super) enum Attempt {
    Got,
    Held,
    /// The server said yes and does not show the lock as this session's.
    NotShown,
    /// Another session than the one that was logged in to has answered.
    Elsewhere,
}

/// Why a server can't be migrated for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritable {
    Standby,
    ReadOnly,
}

impl Session {
    /// Logs in, until `end` at the latest.
    pub(super) async fn open(
        connector: &Connector<'_>,
        end: Option<Instant>,
    ) -> Result<Self, Trouble> {
        let ended = Arc::new(Notify::new());
        let limit = time_left(end);
        let login = timeout(limit, connector.connect(limit, Some(&ended))).await;
        let login = login.unwrap_or_else(|_| Err(silent()))?;
        let mut session = Self {
            login,
            ended,
            pid: String::new(),
            started: String::new(),
            end,
            unanswered: Cell::new(false),
        };
        let query = format!("SELECT pg_catalog.pg_backend_pid(), {STARTED}");
        let mut row = session.row(&query, 2).await?.into_iter();
        session.pid = row.next().unwrap_or_default();
        session.started = row.next().unwrap_or_default();
        Ok(session)
    }

    /// The duplicate of its socket.
    pub(super) fn socket(&self) -> io::Result<OwnedFd> {
        sys::duplicate(self.login.socket.as_fd())
    }

    /// Whether the connection is over.
    pub(super) fn has_ended(&self) -> bool {
        self.login.has_ended()
    }

    /// Whether a migration could write here.
    pub(super) async fn unwritable(&self) -> Result<Option<Unwritable>, Trouble> {
        let query = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";
        let row = self.row(query, 2).await?;
        Ok(
            match row.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["t", ..] => Some(Unwritable::Standby),
                [_, "on"] => Some(Unwritable::ReadOnly),
                _ => None,
            },
        )
    }

    /// Makes the session fit to hold a lock for hours.
    pub(super) async fn set_up(&self) -> Result<(), Trouble> {
        let query = format!(
            "SELECT pg_catalog.set_config(s.name, v.value, false) FROM (VALUES {SETTINGS}) AS v(name, value) \
             JOIN pg_catalog.pg_settings s ON s.name {EQUALS} v.name"
        );
        self.value(&query).await.map(drop)
    }

    /// Tries for the lock, without waiting for it.
    pub(super) async fn try_lock(&self, key: &Key) -> Result<Attempt, Trouble> {
        let answer = self.locally("pg_try_advisory_lock", key).await?;
        Ok(match answer.as_str() {
            "t" if self.owns(key).await? => Attempt::Got,
            "t" => Attempt::NotShown,
            "f" => Attempt::Held,
            _ => Attempt::Elsewhere,
        })
    }

    /// Whether the server shows the lock as this session's. Trying again would not tell: an owner always gets it.
    pub(super) async fn owns(&self, key: &Key) -> Result<bool, Trouble> {
        let query = format!("SELECT 1 WHERE {}", self.ownership(key));
        Ok(!self.row(&query, 1).await?.is_empty())
    }

    /// The same as a condition: the lock is shown for this pid and, as pids come again, for this beginning.
    pub(super) fn ownership(&self, key: &Key) -> String {
        format!(
            "EXISTS (SELECT 1 FROM pg_catalog.pg_locks WHERE {} AND pid {EQUALS} pg_catalog.pg_backend_pid()) \
             AND pg_catalog.pg_backend_pid() {EQUALS} {} AND {STARTED} {EQUALS} {}",
            key.shown(),
            self.pid_number(),
            literal(&self.started)
        )
    }

    /// Gives the lock back.
    pub(super) async fn unlock(&self, key: &Key) {
        let _ = timeout(GOODBYE, self.locally("pg_advisory_unlock", key)).await;
    }

    /// In a transaction: tries for the lock's gate, which is free again when the transaction ends. It may be idle for
    /// as long as that takes.
    pub(super) async fn pass_gate(&self, key: &Key) -> Result<bool, Trouble> {
        let query = format!(
            "SELECT pg_catalog.pg_try_advisory_xact_lock({}), \
             pg_catalog.set_config('idle_in_transaction_session_timeout', '0', true)",
            key.gate()
        );
        Ok(self.value(&query).await? == "t")
    }

    /// Whether the time for any question is over.
    pub(super) fn is_late(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// Says goodbye, or the server's log has an unexpected end of the connection.
    pub(super) async fn close(self) {
        if self.has_ended() || self.unanswered.get() {
            return;
        }
        let ended = Arc::clone(&self.ended);
        drop(self);
        let _ = timeout(GOODBYE, ended.notified()).await;
    }

    /// Calls one of the lock's functions in the session that was logged in to; an empty answer is from another one.
    async fn locally(&self, function: &str, key: &Key) -> Result<String, Trouble> {
        self.value(&format!(
            "SELECT CASE WHEN pg_catalog.pg_backend_pid() {EQUALS} {} THEN pg_catalog.{function}({}) END",
            self.pid_number(),
            key.arguments()
        ))
        .await
    }

    /// The pid, from a server that might say anything, as SQL.
    fn pid_number(&self) -> i32 {
        self.pid.parse().unwrap_or_default()
    }

    /// Begins a transaction, or ends it.
    pub(super) async fn command(&self, command: &str) -> Result<(), Trouble> {
        self.value(command).await.map(drop)
    }

    /// Which process answers now.
    pub(super) async fn backend(&self) -> Result<String, Trouble> {
        self.value("SELECT pg_catalog.pg_backend_pid()").await
    }

    /// The first `columns` values of the first row.
    pub(super) async fn row(&self, query: &str, columns: usize) -> Result<Vec<String>, Trouble> {
        let end = Instant::now() + time_left(self.end);
        // It stays so where whoever asks gives up sooner, and drops this.
        self.unanswered.set(true);
        let answer = timeout_at(end, self.login.first_row(query, columns)).await;
        self.unanswered.set(answer.is_err());
        answer.unwrap_or_else(|_| Err(silent()))
    }

    /// The first value of the first row; nothing when there is none.
    pub(super) async fn value(&self, query: &str) -> Result<String, Trouble> {
        Ok(self.row(query, 1).await?.pop().unwrap_or_default())
    }
}

fn time_left(end: Option<Instant>) -> Duration {
    end.map_or(ANSWER, |end| {
        ANSWER.min(end.saturating_duration_since(Instant::now()))
    })
}

fn silent() -> Trouble {
    Trouble::NotYet("the server does not answer (ETIMEDOUT)".into())
}
