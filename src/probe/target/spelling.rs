//! How targets are spelled: schemes, lists, quotes, and what is no server's.

use std::ffi::OsStr;

/// Whether it is a scheme as RFC 3986, 3.1 has it, or one with a prefix of Java's. Only such a one is shown: what comes
/// before `://` in other text may have a password in it.
pub fn is_scheme(text: &str) -> bool {
    let own = ["jdbc:", "r2dbc:"]
        .iter()
        .find_map(|java| text.strip_prefix(java));
    own.unwrap_or(text)
        .starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'+' | b'-' | b'.')
                || (own.is_some() && b == b':')
        })
}

/// Whether a database's URL names a file of the application's own: `SQLite`'s, as SQLAlchemy, Rails, Java and Prisma
/// (`file:./dev.db`) spell it.
pub fn is_sqlite(text: &str) -> bool {
    let url = text
        .trim_start_matches([' ', '"', '\''])
        .to_ascii_lowercase();
    let url = url.strip_prefix("jdbc:").unwrap_or(&url);
    url.split_once(':').is_some_and(|(scheme, path)| {
        let own = scheme.split('+').next();
        matches!(own, Some("sqlite" | "sqlite3")) || (scheme == "file" && !path.starts_with("//"))
    })
}

/// What follows `unix://` where it is redis-py's way to Redis: by its credentials or parameters.
pub fn redis_socket(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("unix://")?;
    let has = |part: &str| rest.contains(part);
    let is_redis = ["?db=", "&db=", "?password=", "?username="]
        .into_iter()
        .any(has);
    let has_login = rest
        .split_once("@/")
        .is_some_and(|(login, _)| !login.contains('/'));
    (is_redis || has_login).then_some(rest)
}

/// Whether it is `http://a,http://b`, which would be one target with an odd path. The hosts of one URL stand behind one
/// scheme, and what comes behind a `?` may hold URLs of its own. A URL of ports may repeat its scheme `within` it.
pub fn is_list(text: &OsStr, within: Option<&str>) -> bool {
    let text = text.to_string_lossy();
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    let is_url = before_query
        .split_once("://")
        .is_some_and(|(scheme, _)| !scheme.contains('='));
    is_url
        && before_query.split(',').skip(1).any(|item| {
            let scheme = item.split_once("://").map_or("", |(scheme, _)| scheme);
            let of_schemes = |b: u8| b.is_ascii_alphanumeric() || b"+-.:".contains(&b);
            !scheme.is_empty() && within != Some(scheme) && scheme.bytes().all(of_schemes)
        })
}

/// The text without the white space and the quotes around it that `docker --env-file` and YAML leave there.
pub fn unwrapped(text: &str) -> &str {
    let mut inner = text.trim();
    for quote in ['"', '\''] {
        if let Some(unquoted) = inner
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            inner = unquoted.trim();
        }
    }
    if inner.len() != text.len() {
        log::warn!(
            "a target has white space or quotes around it, which are taken off here; other programs that read this value may not do that (docker --env-file keeps quotes)"
        );
    }
    inner
}
