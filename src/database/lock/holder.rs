//! Who holds the lock, for those who wait.

use std::fmt;

use crate::database::diagnosis::Trouble;
use crate::database::lock::key::{EQUALS, Key};
use crate::database::lock::session::Session;

/// The session that holds the lock, as far as `pg_stat_activity` shows it: much of it is for the same user alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holder {
    pid: String,
    application: String,
    address: String,
    since: String,
}

impl Holder {
    /// Asks the server; None when nobody has it.
    pub(super) async fn find(session: &Session, key: &Key) -> Result<Option<Self>, Trouble> {
        let query = format!(
            "SELECT l.pid, a.application_name, pg_catalog.host(a.client_addr), \
             pg_catalog.to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') \
             FROM (SELECT pid FROM pg_catalog.pg_locks WHERE {}) l \
             LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid {EQUALS} l.pid",
            key.shown()
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
            write!(f, ", connected since {} UTC", self.since)?;
        }
        Ok(())
    }
}
