//! What `--migrate-once` asks of the server: whether the version is recorded, and to record it.

use std::fmt;

use crate::database::diagnosis::Trouble;
use crate::database::lock::key::{EQUALS, Key};
use crate::database::lock::replica::host_name;
use crate::database::lock::session::Session;
use crate::database::once::{MigrateOnce, literal};

/// A version that has migrated this database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which.
    pub version: String,
    /// When its migration had ended, in UTC.
    pub finished_at: String,
    /// The name of the host that ran it.
    pub host: String,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, host) = (&self.version, self.host.escape_debug());
        write!(f, "version \"{version}\" did it at {}", self.finished_at)?;
        if !self.host.is_empty() {
            write!(f, " on {host}")?;
        }
        Ok(())
    }
}

/// The table, as one lock uses it.
pub(super) struct Ledger<'a> {
    once: &'a MigrateOnce,
    key: &'a Key,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(once: &'a MigrateOnce, key: &'a Key) -> Self {
        Self { once, key }
    }

    /// The version's record, when there is one. A missing table has none, and leaves no error in the server's log.
    pub(super) async fn find(&self, session: &Session) -> Result<Option<Record>, Trouble> {
        if !self.exists(session).await? {
            return Ok(None);
        }
        let query = format!(
            "SELECT pg_catalog.to_char(finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), host FROM {} \
             WHERE lock_name {EQUALS} {} AND version {EQUALS} {}",
            self.once.table.quoted(),
            literal(&self.key.name),
            literal(&self.once.version)
        );
        let mut row = session.row(&query, 2).await?.into_iter();
        Ok(row.next().map(|finished_at| Record {
            version: self.once.version.clone(),
            finished_at: format!("{finished_at} UTC"),
            host: row.next().unwrap_or_default(),
        }))
    }

    /// Makes the table where it is missing, and finds out before the migration whether its success can be recorded.
    pub(super) async fn prepare(&self, session: &Session) -> Result<(), Trouble> {
        // Twice, as under another lock's name another replica may make the same schema at the same moment.
        for last in [false, true] {
            if self.exists(session).await? {
                break;
            }
            match self.create(session).await {
                Err(trouble) if last => return Err(trouble),
                _ => {}
            }
        }
        let query = format!(
            "SELECT pg_catalog.has_table_privilege({table}, 'SELECT') \
             AND pg_catalog.has_table_privilege({table}, 'INSERT')",
            table = literal(&self.once.table.quoted())
        );
        match session.value(&query).await?.as_str() {
            "t" => Ok(()),
            _ => Err(Trouble::Refused(
                "no right to SELECT and INSERT (42501)".into(),
            )),
        }
    }

    /// Records the version's success. False when the lock is not the session's any more: then nothing is recorded.
    pub(super) async fn record(&self, session: &Session) -> Result<bool, Trouble> {
        let query = format!(
            "INSERT INTO {} (lock_name, version, host) SELECT {}, {}, {} WHERE {} ON CONFLICT DO NOTHING RETURNING 1",
            self.once.table.quoted(),
            literal(&self.key.name),
            literal(&self.once.version),
            literal(&host_name()),
            session.ownership(self.key)
        );
        // A conflict is a success that was recorded before, by a try whose answer was lost.
        Ok(!session.row(&query, 1).await?.is_empty() || session.owns(self.key).await?)
    }

    /// A trouble with the table as one line with its remedy. `None` for what waiting helps against.
    pub(super) async fn explain(&self, session: &Session, trouble: &Trouble) -> Option<String> {
        let Trouble::Refused(reason) = trouble else {
            return None;
        };
        let table = self.once.table.quoted();
        let problem = format!("--migrate-once can't use its table {table}: {reason}");
        let state = reason
            .rsplit_once('(')
            .map_or("", |(_, state)| state.trim_end_matches(')'));
        if state == "42501" {
            let role = session.value("SELECT current_user").await.ok()?;
            return Some(format!(
                "{problem}; let an administrator run in this database: {}",
                self.once.table.administration(&role)
            ));
        }
        Some(if is_foreign(state) {
            format!("{problem}; a table that is not portero's? --migrate-table names another one")
        } else {
            problem
        })
    }

    async fn exists(&self, session: &Session) -> Result<bool, Trouble> {
        let query = format!(
            "SELECT pg_catalog.to_regclass({}) IS NOT NULL",
            literal(&self.once.table.quoted())
        );
        Ok(session.value(&query).await? == "t")
    }

    async fn create(&self, session: &Session) -> Result<(), Trouble> {
        let table = &self.once.table;
        let query = format!(
            "SELECT pg_catalog.to_regnamespace({}) IS NULL",
            literal(&table.quoted_schema())
        );
        if session.value(&query).await? == "t" {
            session.value(&table.create_schema()).await?;
        }
        session.value(&table.create()).await.map(drop)
    }
}

/// Whether an SQLSTATE says that the table is there and is another than portero's: no such column, another type, not a
/// table, a constraint that portero's does not have (PostgreSQL manual, appendix A).
fn is_foreign(state: &str) -> bool {
    matches!(
        state,
        "42703" | "42804" | "42883" | "42809" | "42P10" | "428C9"
    ) || state.starts_with("23")
}
