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

/// libpq's name of a parameter that sqlx, pgjdbc, R2DBC or a driver of JavaScript spells in another way.
pub(super) fn own_name(name: &str) -> &str {
    match name {
        "ssl-mode" | "sslMode" => "sslmode",
        "ssl-root-cert" | "ssl-ca" | "sslRootCert" | "sslca" => "sslrootcert",
        "ssl-cert" | "sslCert" => "sslcert",
        "ssl-key" | "sslKey" => "sslkey",
        "sslNegotiation" => "sslnegotiation",
        "channelBinding" => "channel_binding",
        "requireAuth" => "require_auth",
        "gssEncMode" => "gssencmode",
        "targetServerType" => "target_session_attrs",
        "applicationName" | "ApplicationName" => "application_name",
        "database" => "dbname",
        "username" => "user",
        name => name,
    }
}

/// libpq's word for a value that pgjdbc or Npgsql spells in another way.
pub(super) fn own_value(keyword: &str, value: String) -> String {
    if ![
        "sslmode",
        "channel_binding",
        "gssencmode",
        "target_session_attrs",
        "require_auth",
    ]
    .contains(&keyword)
    {
        return value;
    }
    let word = match &*value.to_ascii_lowercase().replace(['-', '_'], "") {
        "verifyca" => "verify-ca",
        "verifyfull" => "verify-full",
        "noverify" => "no-verify",
        "readwrite" => "read-write",
        "readonly" => "read-only",
        "preferstandby" | "prefersecondary" | "preferslave" => "prefer-standby",
        "secondary" | "slave" => "standby",
        "master" => "primary",
        "preferprimary" => "any",
        "scramsha256" => "scram-sha-256",
        _ => return value.to_ascii_lowercase(),
    };
    word.to_owned()
}

/// Parameters of libpq and of drivers that mean nothing to a login.
pub(super) const PASSED_OVER: [&str; 43] = [
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
    "sslidentity",
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
