//! The names of the parameters that a database URL may have: libpq's, and those of drivers.

/// Keywords that mean something here, and the variable that stands in for each.
pub(super) const KEYWORDS: [(&str, &str); 28] = [
    ("service", "PGSERVICE"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("require_auth", "PGREQUIREAUTH"),
    ("requirepeer", "PGREQUIREPEER"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("sslcertmode", "PGSSLCERTMODE"),
    ("sslsni", "PGSSLSNI"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("gssencmode", "PGGSSENCMODE"),
    ("min_protocol_version", "PGMINPROTOCOLVERSION"),
    ("application_name", "PGAPPNAME"),
    ("options", "PGOPTIONS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

/// libpq's name of a parameter that sqlx spells in another way.
pub(super) fn own_name(name: &str) -> &str {
    match name {
        "ssl-mode" => "sslmode",
        "ssl-root-cert" | "ssl-ca" => "sslrootcert",
        "ssl-cert" => "sslcert",
        "ssl-key" => "sslkey",
        name => name,
    }
}

/// Parameters of libpq and of drivers that mean nothing to a login.
pub(super) const PASSED_OVER: [&str; 42] = [
    "authtype",
    "charset",
    "client_encoding",
    "connection_limit",
    "currentSchema",
    "encoding",
    "fallback_application_name",
    "gssdelegation",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "pgbouncer",
    "pool",
    "pool_max_conns",
    "pool_timeout",
    "prepared_statement_cache_size",
    "replication",
    "requiressl",
    "schema",
    "scram_client_key",
    "scram_server_key",
    "search_path",
    "serverVersion",
    "servicefile",
    "socket_timeout",
    "sslaccept",
    "sslcompression",
    "sslkeylogfile",
    "sslpassword",
    "statement_cache_size",
    "tcp_user_timeout",
    "timezone",
    "tty",
];

/// Whether a URL's parameter is of that name, and not what looks like one in a password.
pub(super) fn is_parameter(name: &str) -> bool {
    let name = own_name(name);
    KEYWORDS.iter().any(|(keyword, _)| *keyword == name)
        || PASSED_OVER.contains(&name)
        || ["ssl", "unix_sock"].contains(&name)
}
