//! Which URLs are those of Postgres.

/// Schemes that mean Postgres; a `+driver` behind them is passed over, as is a word of [`PREFIXES`] before them.
const SCHEMES: [&str; 12] = [
    "postgres",
    "postgresql",
    "pgsql",
    "psql",
    "postgis",
    "cockroachdb",
    "cockroach",
    "timescaledb",
    // Symfony, Elixir's Ecto, golang-migrate.
    "pdo-pgsql",
    "ecto",
    "pgx",
    "pgx5",
];

/// What Java puts before the scheme.
const PREFIXES: [&str; 3] = ["jdbc:", "r2dbc:", "pool:"];

/// Whether a text means to be a database URL, right or wrong.
pub(super) fn is_postgres(text: &str) -> bool {
    let (url, java) = without_prefix(text);
    url.split_once(':').is_some_and(|(scheme, rest)| {
        is_known(scheme) && (rest.starts_with("//") || (java && rest.starts_with('/')))
    })
}

/// Whether a scheme means Postgres, whatever driver stands behind it.
pub(super) fn is_known(scheme: &str) -> bool {
    let dialect = scheme.split('+').next().unwrap_or(scheme);
    SCHEMES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(dialect))
}

/// The URL without Java's prefixes, and whether there were any.
pub(super) fn without_prefix(text: &str) -> (&str, bool) {
    let mut url = text;
    for prefix in PREFIXES {
        if let Some((start, rest)) = url.split_at_checked(prefix.len())
            && start.eq_ignore_ascii_case(prefix)
        {
            url = rest;
        }
    }
    (url, url.len() != text.len())
}
