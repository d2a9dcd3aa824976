//! The shape of a database URL: where its parts begin and end, and what percent-encoding hides.
//!
//! No error in here shows a part of the URL: what looks like a port may be the rest of a password.

use std::borrow::Cow;

use crate::database::url::names::is_parameter;
use crate::database::url::pairs;
use crate::database::url::scheme::{is_known, is_pairs, without_prefix};
use crate::net::address;

/// One host of the authority, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// A name, an IP address without brackets, the directory of a unix socket; empty when it is not given.
    pub host: String,
    /// The port as written; empty when it is not given.
    pub port: String,
}

/// The parts of a URL, decoded; empty is not given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub user: String,
    pub password: String,
    pub addresses: Vec<Address>,
    pub database: String,
    /// Query parameters in order, names as written.
    pub query: Vec<(String, String)>,
}

/// Takes a URL apart.
pub(super) fn split(text: &str) -> Result<Parts, String> {
    let text = text.trim();
    if is_pairs(text) {
        return Ok(Parts {
            query: pairs::split(text)?,
            ..Parts::default()
        });
    }
    let rest = &*after_scheme(text)?;
    let (userinfo, location) = match end_of_userinfo(rest) {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => ("", rest),
    };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (location, query) = location.split_once('?').unwrap_or((location, ""));
    let (authority, database) = location.split_once('/').unwrap_or((location, ""));
    Ok(Parts {
        user: decoded(user, "user")?,
        password: decoded(password, "password")?,
        addresses: addresses(authority)?,
        database: decoded(database, "database name")?,
        query: parameters(query)?,
    })
}

/// What follows `scheme://`.
fn after_scheme(text: &str) -> Result<Cow<'_, str>, String> {
    if text.is_empty() {
        return Err("the database URL is empty: it must look like postgres://user:password@host:5432/database".into());
    }
    let (url, java) = without_prefix(text);
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(
            "the database URL has no scheme: it must begin with postgres:// or postgresql://"
                .into(),
        );
    };
    if !is_known(scheme) {
        let named = scheme.len() <= 32
            && rest.starts_with("//")
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let what = if named {
            format!("the scheme {scheme}://")
        } else {
            "a scheme that is not Postgres".into()
        };
        return Err(format!(
            "the database URL has {what}: it must begin with postgres:// or postgresql://"
        ));
    }
    // R2DBC says so where there are several hosts.
    let rest = if java {
        rest.strip_prefix("failover:").unwrap_or(rest)
    } else {
        rest
    };
    match rest.strip_prefix("//") {
        Some(rest) => Ok(rest.into()),
        // pgjdbc's short forms `jdbc:postgresql:/shop`, `jdbc:postgresql:shop`.
        None if java && rest.starts_with('/') => Ok(rest.into()),
        None if java => Ok(format!("/{rest}").into()),
        None => Err("the database URL has no // behind its scheme: it must begin with postgres:// or postgresql://".into()),
    }
}

/// Where the `@` is that ends user and password.
///
/// By the book the authority ends at the first `/`, `?` or `#`; real passwords hold those and `@` too, not encoded.
/// So it is the last `@`, but for one that belongs to a parameter: before it stands a proper authority with a `?name=`
/// behind it, of a name that parameters have, or more parameters come behind it. A password is not asked for as a host.
fn end_of_userinfo(rest: &str) -> Option<usize> {
    let behind_last = rest.rsplit('@').next().unwrap_or_default();
    let is_within_query = behind_last
        .split('?')
        .next()
        .is_some_and(|part| names(part).count() > 0);
    let mut end = None;
    loop {
        let start = end.map_or(0, |at| at + 1);
        let Some(next) = rest[start..].find('@') else {
            return end;
        };
        let location = &rest[start..start + next];
        let authority = location.find(['/', '?', '#']).map(|at| &location[..at]);
        if authority.is_some_and(|authority| {
            let has_query =
                |query: &str| names(query).any(|name| is_within_query || is_parameter(name));
            addresses(authority).is_ok() && has_query(&location[authority.len()..])
        }) {
            return end;
        }
        end = Some(start + next);
    }
}

/// The names of `?name=` and `&name=` in it.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(['?', '&']).filter_map(|(at, _)| {
        let behind = &text[at + 1..];
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let name = &behind[..behind.find(|c| !plain(c))?];
        (!name.is_empty() && behind[name.len()..].starts_with('=')).then_some(name)
    })
}

/// `host[:port][,host[:port]]...`
fn addresses(authority: &str) -> Result<Vec<Address>, String> {
    authority.split(',').map(address).collect()
}

/// One `host[:port]`, `[v6][:port]`; the host may be a percent-encoded path, and either part may be missing.
fn address(text: &str) -> Result<Address, String> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let Some((host, behind)) = bracketed.split_once(']') else {
            return Err(
                "the database URL has an IPv6 address without its closing bracket ]".into(),
            );
        };
        match behind.strip_prefix(':') {
            Some(port) => (host, port),
            None if behind.is_empty() => (host, ""),
            None => return Err("the database URL has something between ] and the port".into()),
        }
    } else {
        text.split_once(':').unwrap_or((text, ""))
    };
    if port.contains(':') && !text.starts_with('[') {
        return Err("the database URL has several colons in its host: write an IPv6 address in [ ], and encode a colon in a password as %3A".into());
    }
    check_port(port)?;
    let host = decoded(host, "host")?;
    if !host.starts_with('/')
        && host
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || "@#\"'<>\\^`{|}".contains(c))
    {
        return Err("the database URL has a host that can't be one: encode @ / ? # % in user and password as %40 %2F %3F %23 %25".into());
    }
    Ok(Address {
        host,
        port: port.into(),
    })
}

/// Refuses what is neither empty nor a number from 1 to 65535; says so without showing it.
pub(super) fn check_port(port: &str) -> Result<(), String> {
    if port.is_empty() || address::port(port).is_some() {
        return Ok(());
    }
    Err("the database's port is not a number from 1 to 65535 (if it is part of a password, encode @ / ? # as %40 %2F %3F %23)".into())
}

fn parameters(query: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name, "query")?, decoded(value, "query")?))
        })
        .collect()
}

/// Percent-decoding. A `%` that begins no escape stays, as SQLAlchemy has it; libpq would refuse the URL.
fn decoded(text: &str, what: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let escape = match tail {
            [high, low, ..] if *byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        bytes.push(escape.map_or(*byte, |(high, low)| high << 4 | low));
        rest = if escape.is_some() { &tail[2..] } else { tail };
    }
    if bytes.contains(&0) {
        return Err(format!(
            "the database URL has %00 in its {what}, which Postgres does not allow"
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| format!("the {what} of the database URL is not UTF-8 once it is decoded"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}
