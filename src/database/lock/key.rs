//! Which lock: two keys of 31 bits, and how `pg_locks` shows them.

use std::time::Duration;

use crate::database::once::MigrateOnce;
use crate::database::url::PostgresUrl;
/// The first key of every lock of portero's: `port` in ASCII. Both keys have 31 bits, for they are shown as unsigned
/// in `pg_locks` and given as signed.
const NAMESPACE: u32 = 0x706f_7274;
/// The first key of every gate: who holds it may look whether the lock means something here.
const GATES: u32 = NAMESPACE + 1;

/// Which lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// `--lock-name`.
    pub name: String,
    number: u32,
}

impl Key {
    pub(super) fn new(name: &str) -> Self {
        // FNV-1a: it must be the same in every build of portero, as the standard library's hasher is not.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        Self {
            name: name.to_owned(),
            number: hash & 0x7fff_ffff,
        }
    }

    /// Both keys, as a function's arguments.
    pub(super) fn arguments(&self) -> String {
        format!("{NAMESPACE}, {}", self.number)
    }

    /// The gate's keys.
    pub(super) fn gate(&self) -> String {
        format!("{GATES}, {}", self.number)
    }

    /// The lock's rows in `pg_locks` (PostgreSQL manual, 54.12): two keys make `objsubid` 2.
    pub(super) fn shown(&self) -> String {
        format!(
            "locktype {EQUALS} 'advisory' AND classid {EQUALS} {NAMESPACE} AND objid {EQUALS} {} \
             AND objsubid {EQUALS} 2 AND granted AND database {EQUALS} \
             (SELECT oid FROM pg_catalog.pg_database WHERE datname {EQUALS} pg_catalog.current_database())",
            self.number
        )
    }
}

/// The server's own `=`, whatever the search path has before `pg_catalog`.
pub(super) const EQUALS: &str = "OPERATOR(pg_catalog.=)";

/// Which lock is wanted, and for what.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whose server holds it.
    pub url: PostgresUrl,
    /// `--lock-name`.
    pub name: String,
    /// How long to wait for it; `None` is no limit.
    pub timeout: Option<Duration>,
    /// How long to wait for a standby's promotion, or for the end of a read-only mode; `None` is no limit.
    pub writable_within: Option<Duration>,
    /// What need not be done again once it is recorded.
    pub once: Option<MigrateOnce>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_name_has_the_same_number_in_every_release() {
        assert_eq!(Key::new("portero").number, 0x7211_211a);
        assert_ne!(Key::new("portero").number, Key::new("portero2").number);
        assert!(
            [NAMESPACE, GATES, Key::new("").number]
                .iter()
                .all(|key| i32::try_from(*key).is_ok())
        );
    }
}
