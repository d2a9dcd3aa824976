//! Who holds the lock, for those who wait.

use std::fmt;

use super::Key;
use super::session::{Session, shown_as};
use crate::database::diagnosis::Trouble;

/// The session that holds the lock, as far as `pg_stat_activity` shows it: much of it is for the same user alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holder {
    pub pid: String,
    application: String,
    address: String,
    since: String,
}

impl Holder {
    /// Asks the server; None when the lock was just given back.
    pub(super) async fn find(session: &Session, key: &Key) -> Result<Option<Self>, Trouble> {
        let query = format!(
            "SELECT l.pid, a.application_name, host(a.client_addr), \
             to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC' \
             FROM (SELECT pid FROM pg_locks WHERE {}) l LEFT JOIN pg_stat_activity a ON a.pid = l.pid",
            shown_as(key)
        );
        let mut row = session.row(&query, 4).await?.into_iter();
        Ok(row.next().map(|pid| Self {
            pid,
            application: row.next().unwrap_or_default(),
            address: row.next().unwrap_or_default(),
            since: row.next().unwrap_or_default(),
        }))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        if !self.application.is_empty() {
            write!(f, " \"{}\"", self.application.escape_debug())?;
        }
        if !self.address.is_empty() {
            write!(f, " from {}", self.address)?;
        }
        if !self.since.is_empty() {
            write!(f, ", connected since {}", self.since)?;
        }
        Ok(())
    }
}
