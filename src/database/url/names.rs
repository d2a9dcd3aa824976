//! The names of the parameters that a database URL may have: libpq's, and those of drivers.

use crate::wording::looked_up;

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
    const NAMES: &str = "ssl-mode sslmode sslMode sslmode ssl-root-cert sslrootcert ssl-ca sslrootcert \
        sslRootCert sslrootcert ssl-cert sslcert sslCert sslcert ssl-key sslkey sslKey sslkey \
        sslNegotiation sslnegotiation channelBinding channel_binding requireAuth require_auth gssEncMode gssencmode \
        targetServerType target_session_attrs applicationName application_name ApplicationName application_name \
        database dbname username user";
    looked_up(NAMES, name).unwrap_or(name)
}

/// libpq's word for a value that pgjdbc or Npgsql spells in another way.
pub(super) fn own_value(keyword: &str, value: String) -> String {
    const KEYWORDS: &str =
        "sslmode - channel_binding - gssencmode - target_session_attrs - require_auth -";
    const VALUES: &str = "verifyca verify-ca verifyfull verify-full noverify no-verify readwrite read-write \
        readonly read-only preferstandby prefer-standby prefersecondary prefer-standby preferslave prefer-standby \
        secondary standby slave standby master primary preferprimary any scramsha256 scram-sha-256";
    if looked_up(KEYWORDS, keyword).is_none() {
        return value;
    }
    let value = value.to_ascii_lowercase();
    let mut plain = value.clone();
    plain.retain(|c| c != '-' && c != '_');
    looked_up(VALUES, &plain).map_or(value, Into::into)
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
