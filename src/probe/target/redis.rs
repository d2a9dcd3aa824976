//! Redis URLs, as applications have them in `REDIS_URL`.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::address::Host;

/// The port where a URL has none (IANA, "redis").
const PORT: u16 = 6379;

/// Where a Redis server is and how to log in to it. It shows itself without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub host: Host,
    /// `rediss`.
    pub tls: bool,
    /// Whether the URL leaves it at verifying the server's certificate: not with `ssl_cert_reqs=none` (redis-py, Celery).
    pub verify: bool,
    /// An ACL user; None is the user `default`.
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}", self.host)
    }
}

impl RedisUrl {
    /// What follows `redis://` or `rediss://`: `[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?OPTIONS]`, user and password
    /// percent-encoded (IANA's provisional registration of the schemes). The database is of no interest to a PING.
    pub fn parse(rest: &str, tls: bool) -> Result<Self, String> {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (userinfo, host),
            None => ("", authority),
        };
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        Ok(Self {
            host: Host::parse(host, Some(PORT))?,
            tls,
            verify: !is_unverified(path),
            user: Some(decoded(user)).filter(|user| !user.is_empty()),
            password: password.map(decoded).filter(|text| !text.is_empty()),
        })
    }
}

/// Whether the options say that any certificate will do; it is how the URLs of servers with self-signed ones look.
fn is_unverified(path: &str) -> bool {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    query
        .split('&')
        .filter_map(|option| option.split_once('='))
        .any(|(name, value)| {
            name == "ssl_cert_reqs"
                && matches!(value.to_ascii_lowercase().as_str(), "none" | "cert_none")
        })
}
