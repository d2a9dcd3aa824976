//! Keywords and values in the place of a URL: libpq's `host=db dbname=shop`, PDO's `pgsql:host=db;dbname=shop`, and
//! `Host=db;Database=shop` of Npgsql and ODBC.
//!
//! As everywhere here, no error shows a part of the text.

use std::iter::Peekable;
use std::str::Chars;

use crate::database::url::scheme;

/// By name and value, in order.
type Pairs = Vec<(String, String)>;

/// Takes such a text apart, by libpq's names where they have others.
pub(super) fn split(text: &str) -> Result<Pairs, String> {
    if let Some(dsn) = scheme::of_pdo(text) {
        // As PDO itself does it.
        return of_libpq(&dsn.replace(';', " "));
    }
    if is_of_libpq(text) {
        return of_libpq(text);
    }
    let pairs = with_semicolons(text);
    let value = |names: &[&str]| {
        let mut found = pairs.iter().filter(|(name, _)| names.contains(&&**name));
        found.next().map(|(_, value)| value.as_str())
    };
    let is_postgres = value(&["driver"])
        .is_some_and(|driver| driver.to_ascii_lowercase().contains("postgres"))
        || value(&["host"]).is_some()
        || value(&["port"]).is_some_and(|port| port != "3306" && port != "1433");
    if !is_postgres {
        return Err(
            "the database URL begins like one of SQL Server or MySQL: write Host= for Postgres, and for others \
             tcp://HOST:PORT"
                .into(),
        );
    }
    let known = pairs
        .into_iter()
        .map(|(name, value)| (own_name(&name).map_or(name.clone(), Into::into), value));
    Ok(known.collect())
}

/// Whether it is libpq's, with white space between its pairs: not where a semicolon stands behind the first one, with
/// nothing or another name behind it.
fn is_of_libpq(text: &str) -> bool {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let is_keyword = name
        .trim()
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let mut rest = value.trim_start().chars().peekable();
    let _ = libpq_value(&mut rest, true);
    let rest: String = rest.collect();
    let next = rest
        .trim_start()
        .strip_prefix(';')
        .map(|next| next.split('=').next().unwrap_or_default());
    is_keyword
        && next.is_none_or(|next| !next.trim().is_empty() && own_name(&plain(next)).is_none())
}

/// libpq's conninfo strings (PostgreSQL manual, 34.1.1.1 "Keyword/Value Connection Strings").
fn of_libpq(text: &str) -> Result<Pairs, String> {
    let mut rest = text.chars().peekable();
    let mut pairs = Vec::new();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let mut name = String::new();
        while let Some(c) = rest.next_if(|c| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        if name.is_empty() && rest.peek().is_none() {
            return Ok(pairs);
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.next() != Some('=') || name.is_empty() {
            return Err(
                "the database URL has a keyword without = and a value: write 'a value with blanks' in quotes".into(),
            );
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(value) = libpq_value(&mut rest, false) else {
            return Err("the database URL has a quote that is not closed".into());
        };
        pairs.push((name, value));
    }
}

/// One value, in quotes or up to white space; a backslash takes the next character as it is.
fn libpq_value(rest: &mut Peekable<Chars<'_>>, to_semicolon: bool) -> Option<String> {
    let quoted = rest.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    while let Some(&c) = rest.peek() {
        if (quoted && c == '\'') || (!quoted && (c.is_whitespace() || (to_semicolon && c == ';'))) {
            break;
        }
        rest.next();
        value.extend(if c == '\\' { rest.next() } else { Some(c) });
    }
    (!quoted || rest.next().is_some()).then_some(value)
}

/// `Name=value;Name='a; b';Name={a; b}`: in quotes a doubled one is one, and braces are ODBC's quotes. Names come
/// plain.
fn with_semicolons(text: &str) -> Pairs {
    let mut rest = text;
    let mut pairs = Vec::new();
    while let Some((name, behind)) = rest.split_once('=') {
        let behind = behind.trim_start();
        let close = match behind.chars().next() {
            Some('{') => Some('}'),
            Some(quote @ ('"' | '\'')) => Some(quote),
            _ => None,
        };
        let mut value = String::new();
        let mut chars = behind
            .char_indices()
            .skip(usize::from(close.is_some()))
            .peekable();
        let mut end = behind.len();
        while let Some((at, c)) = chars.next() {
            if Some(c) == close && chars.next_if(|(_, next)| *next == c).is_none() {
                end = behind[at..]
                    .find(';')
                    .map_or(behind.len(), |more| at + more);
                break;
            }
            if close.is_none() && c == ';' {
                end = at;
                break;
            }
            value.push(c);
        }
        let value = if close.is_some() {
            value
        } else {
            value.trim_end().to_owned()
        };
        pairs.push((plain(name), value));
        rest = behind[end..].trim_start_matches([';', ' ']);
    }
    pairs
}

/// A name as all spellings of it come to: no letter case, no blanks.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(|c| !c.is_whitespace() && *c != '_');
    kept.collect::<String>().to_ascii_lowercase()
}

/// libpq's name for one of Npgsql's or ODBC's, which comes plain.
fn own_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "host" | "server" | "servername" => "host",
        "port" => "port",
        "database" | "db" => "dbname",
        "username" | "user" | "userid" | "uid" => "user",
        "password" | "pwd" | "psw" => "password",
        "passfile" => "passfile",
        "sslmode" => "sslmode",
        "ssl" => "ssl",
        "sslnegotiation" => "sslnegotiation",
        "rootcertificate" => "sslrootcert",
        "sslcertificate" | "clientcertificate" => "sslcert",
        "sslkey" | "clientcertificatekey" => "sslkey",
        "timeout" => "connect_timeout",
        "applicationname" => "application_name",
        "options" => "options",
        "channelbinding" => "channel_binding",
        "requireauth" => "require_auth",
        "gssencryptionmode" => "gssencmode",
        "targetsessionattributes" => "target_session_attrs",
        _ => return None,
    })
}
