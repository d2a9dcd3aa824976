//! URLs of servers that are asked by their ports alone: other databases, brokers, mail.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::net::address::{Host, HostError, socket_path};
use crate::wording::looked_up;

/// One or more servers; any that accepts a connection will do. It shows itself without user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    scheme: String,
    pub hosts: Vec<Host>,
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.hosts.iter().map(Host::to_string).collect();
        let hosts = hosts.join(",");
        write!(f, "only the port of {}://{hosts}", self.scheme)
    }
}

impl Ports {
    /// What follows `scheme://`, which drivers may stand in: `[USER[:PASSWORD]@]HOST[:PORT][,…][/…]`, also several with
    /// the scheme before each (NATS, Celery).
    pub fn parse(scheme: &str, rest: &str) -> Result<Self, String> {
        // What Java puts before it is no part of it.
        let java = ["jdbc:", "r2dbc:"]
            .iter()
            .find_map(|java| scheme.strip_prefix(java));
        let own = java.unwrap_or(scheme);
        let default = default_port(scheme);
        // No URL has a line's end.
        let mut rest = rest.replace(&format!(",{scheme}://"), "\n");
        // Celery's list may say the scheme once; Java has parameters behind a semicolon.
        if java.is_none() {
            rest = rest.replace(&format!(";{scheme}://"), "\n");
            if rest.split(';').all(|url| url.contains('@')) {
                rest = rest.replace(';', "\n");
            }
        }
        let mut hosts = Vec::new();
        for url in rest.split('\n') {
            for host in hosts_of(url)?.split(',') {
                hosts.push(Host::parse(host, default).map_err(|why| match why {
                    HostError::NoPort => format!(
                        "has no port, which is all that portero asks of {own}://: write {own}://HOST:PORT"
                    ),
                    HostError::Other(why) => why.to_owned(),
                })?);
            }
        }
        Ok(Self {
            scheme: own.to_owned(),
            hosts,
        })
    }
}

impl Ports {
    /// Without Java's prefix.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }
}

/// The port that a URL with one of these words in its scheme may leave out, as its clients have it.
fn default_port(scheme: &str) -> Option<u16> {
    const PORTS: &str = "mysql 3306 mysql2 3306 trilogy 3306 mariadb 3306 mongodb 27017 amqp 5672 pyamqp 5672 \
        amqps 5671 nats 4222 kafka 9092 memcached 11211 memcache 11211 clickhouse 9000 mssql 1433 sqlserver 1433 \
        smtp 25 smtps 465 ldap 389 ldaps 636 sentinel 26379";
    let mut words = scheme.split(['+', ':', '-']);
    words.find_map(|word| looked_up(PORTS, word))?.parse().ok()
}

/// The hosts of a URL, without user and password.
fn hosts_of(url: &str) -> Result<&str, String> {
    let (authority, behind) = url.split_at(url.find(['/', '?', '#', ';']).unwrap_or(url.len()));
    refuse_stray_at(behind)?;
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    // Go's way of writing an address for MySQL.
    let address = hosts
        .strip_prefix("tcp(")
        .and_then(|hosts| hosts.strip_suffix(')'));
    Ok(address.unwrap_or(hosts))
}

/// What may be half of a password is never taken for a host: an `@` behind the authority is a parameter's or an error.
pub fn refuse_stray_at(behind: &str) -> Result<(), String> {
    match behind.split_once('@') {
        Some((before, _)) if !before.contains('=') => Err(
            "has an @ behind a / ? # or ; and so no clear host: in user and password write @ / ? # ; as \
             %40 %2F %3F %23 %3B"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// The socket of a server on this machine, where a driver's parameter names one instead of a host.
pub fn socket(rest: &str) -> Option<Result<PathBuf, String>> {
    let (_, query) = rest.split_once('?')?;
    let mut parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, path) = parameters.find(|(name, _)| matches!(*name, "unix_socket" | "socket"))?;
    let path: Vec<u8> = percent_decode_str(path).collect();
    Some(socket_path(&path, "unix"))
}
