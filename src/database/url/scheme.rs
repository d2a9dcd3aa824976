//! Which URLs are those of Postgres.

/// Schemes that mean Postgres; a `+driver` behind them is passed over, as is what Java puts before them.
const SCHEMES: [&str; 20] = [
    "postgres",
    "postgresql",
    "pg",
    "pgsql",
    "psql",
    "postgis",
    "cockroachdb",
    "cockroach",
    "timescaledb",
    // dj-database-url.
    "timescale",
    "timescalegis",
    // golang-migrate.
    "crdb-postgres",
    // Tortoise ORM, peewee.
    "asyncpg",
    "psycopg",
    "postgresext",
    "postgresqlext",
    // Symfony, Elixir's Ecto, golang-migrate.
    "pdo-pgsql",
    "ecto",
    "pgx",
    "pgx5",
];

/// Whether a text means to be a database URL, right or wrong.
pub(super) fn is_postgres(text: &str) -> bool {
    let (url, java) = without_prefix(text);
    is_pairs(text)
        || url
            .split_once(':')
            .is_some_and(|(scheme, rest)| is_known(scheme) && (java || rest.starts_with("//")))
}

/// Whether it is no URL but names and values: libpq's, Npgsql's, ODBC's, PDO's. One of the names says where.
pub(super) fn is_pairs(text: &str) -> bool {
    let text = of_pdo(text).unwrap_or(text);
    let is_name = |name: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b' ');
        !name.trim().is_empty() && name.bytes().all(plain)
    };
    let places = [
        "host",
        "hostaddr",
        "server",
        "servername",
        "dbname",
        "database",
        "service",
    ];
    let is_place = |word: &str| places.iter().any(|place| place.eq_ignore_ascii_case(word));
    text.split_once('=').is_some_and(|(name, _)| is_name(name))
        && text.split(['=', ';', ' ', '\t', '\n']).any(is_place)
}

/// What follows `pgsql:` in PHP's PDO.
pub(super) fn of_pdo(text: &str) -> Option<&str> {
    text.strip_prefix("pgsql:")
        .filter(|dsn| !dsn.starts_with("//"))
}

/// Whether a scheme means Postgres, whatever driver stands behind it.
pub(super) fn is_known(scheme: &str) -> bool {
    let dialect = scheme.split('+').next().unwrap_or(scheme);
    SCHEMES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(dialect))
}

/// The URL without what Java puts before it, a pool's and a wrapper's name too (`r2dbc:pool:`, `jdbc:aws-wrapper:`),
/// and whether there was any.
pub(super) fn without_prefix(text: &str) -> (&str, bool) {
    let after = |prefix: &str| {
        let (start, rest) = text.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some(rest)
    };
    let Some(rest) = after("jdbc:").or_else(|| after("r2dbc:")) else {
        return (text, false);
    };
    let wrapped = rest.split_once("://").and_then(|(scheme, _)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b':');
        let own = scheme.strip_suffix(":failover").unwrap_or(scheme);
        own.rfind(':').filter(|_| own.bytes().all(plain))
    });
    (wrapped.map_or(rest, |colon| &rest[colon + 1..]), true)
}
