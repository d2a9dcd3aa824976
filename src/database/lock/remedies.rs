//! What is said of servers where the lock can't be had, each with its remedy. A server's URL stands before each.

use crate::database::lock::session::Unwritable;

/// Sessions change hands, or each query may go to another server.
pub(super) const POOLED: &str = "goes through a transaction pooler (PgBouncer) or a load balancer (Pgpool-II), where a \
    lock means nothing: give --database the server's direct URL, often found in DIRECT_URL, DATABASE_URL_UNPOOLED or \
    POSTGRES_URL_NON_POOLING";

/// All clients are one session, so that a lock keeps nobody out.
pub(super) const ONLY_ONE: &str = "has one session only (PGlite?), so that a lock keeps nobody out: use --no-lock and \
    start one migration at a time";

/// The server's yes is none.
pub(super) const NOT_SHOWN: &str = "says that it gave the migration lock and does not show it: not a real advisory lock \
    (CockroachDB has none, a pooler may share sessions); use the server's direct URL, or --no-lock and one release job";

/// A pooler, or a server, with one connection to give.
pub(super) const NO_SECOND: &str = "gives no second connection within 10s, which tells whether a pooler shares sessions: \
    give --database the server's direct URL (often in DIRECT_URL, DATABASE_URL_UNPOOLED or POSTGRES_URL_NON_POOLING), \
    or the pool two connections; with PGlite use --no-lock";

/// The same, where `--lock-timeout` ends before that is known.
pub(super) const NO_SECOND_YET: &str = "no second connection so far, which tells whether a pooler shares sessions (a \
    pool of one never gives it: use the server's direct URL, or give the pool two)";

/// The functions or the view of the lock.
pub(super) const MISSING: &str = "has no advisory locks as PostgreSQL has them (CockroachDB, YugabyteDB and some poolers \
    have none): use the server's direct URL, or --no-lock and one release job";

/// Whether a refusal of the lock's own queries says that the server has no such function, table or feature.
pub(super) fn is_missing(reason: &str) -> bool {
    ["(42883)", "(42P01)", "(0A000)"]
        .iter()
        .any(|state| reason.ends_with(state))
}

/// What a server that can't be migrated is, and what to do about it.
pub(super) fn unwritable(why: Unwritable) -> (&'static str, &'static str) {
    match why {
        Unwritable::Standby => (
            "is a hot standby, which can't be migrated before it is promoted",
            "use the primary's URL (with several hosts, add target_session_attrs=read-write)",
        ),
        Unwritable::ReadOnly => (
            "gives read-only sessions (default_transaction_read_only is on)",
            "a role's or a database's setting, a managed disk that is full, a reader's address, or a failover that \
             has not ended",
        ),
    }
}
