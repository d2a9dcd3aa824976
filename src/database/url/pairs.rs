//! Keywords and values in the place of a URL: libpq's `host=db dbname=shop`, PDO's `pgsql:host=db;dbname=shop`, and
//! `Host=db;Database=shop` of Npgsql and ODBC.
//!
//! As everywhere here, no error shows a part of the text.

use crate::database::url::scheme;
use crate::wording::looked_up;

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
    let value = |wanted: &str| {
        pairs
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    };
    // psqlODBC and PostgreSQL Unicode, not MariaDB, SQL Server or another.
    let is_postgres = value("driver").is_some_and(|driver| driver.starts_with(['p', 'P']))
        || value("host").is_some()
        || value("port").is_some_and(|port| port != "3306" && port != "1433");
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
        .trim_end()
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let mut rest = value.trim_start();
    let _ = libpq_value(&mut rest, true);
    let next = rest
        .trim_start()
        .strip_prefix(';')
        .map(|next| plain(next.split('=').next().unwrap_or_default()));
    is_keyword && next.is_none_or(|next| !next.is_empty() && own_name(&next).is_none())
}

/// libpq's conninfo strings (PostgreSQL manual, 34.1.1.1 "Keyword/Value Connection Strings").
fn of_libpq(text: &str) -> Result<Pairs, String> {
    let mut rest = text.trim_start();
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').unwrap_or_default();
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(
                "the database URL has a keyword without = and a value: write 'a value with blanks' in quotes".into(),
            );
        }
        rest = value.trim_start();
        let Some(value) = libpq_value(&mut rest, false) else {
            return Err("the database URL has a quote that is not closed".into());
        };
        pairs.push((name.to_owned(), value));
        rest = rest.trim_start();
    }
    Ok(pairs)
}

/// One value, in quotes or up to white space; a backslash takes the next character as it is.
fn libpq_value(rest: &mut &str, to_semicolon: bool) -> Option<String> {
    let unquoted = rest.strip_prefix('\'');
    let mut chars = unquoted.unwrap_or(rest).chars();
    let mut value = String::new();
    loop {
        *rest = chars.as_str();
        match chars.next() {
            None => return unquoted.is_none().then_some(value),
            Some('\'') if unquoted.is_some() => {
                *rest = chars.as_str();
                return Some(value);
            }
            Some(c) if unquoted.is_none() && (c.is_whitespace() || (to_semicolon && c == ';')) => {
                return Some(value);
            }
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
        }
    }
}

/// `Name=value;Name='a; b';Name={a; b}`: in quotes a doubled one is one, and braces are ODBC's quotes. Names come
/// plain.
fn with_semicolons(text: &str) -> Pairs {
    let mut rest = text;
    let mut pairs = Vec::new();
    while let Some((name, behind)) = rest.split_once('=') {
        let behind = behind.trim_start();
        let close = match behind.as_bytes().first() {
            Some(b'{') => '}',
            Some(b'"') => '"',
            Some(b'\'') => '\'',
            _ => ';',
        };
        let mut value = String::new();
        rest = behind;
        if close != ';' {
            rest = &rest[1..];
        }
        while let Some((part, behind)) = rest.split_once(close) {
            value.push_str(part);
            rest = behind;
            match behind.strip_prefix(close) {
                Some(behind) if close != ';' => {
                    value.push(close);
                    rest = behind;
                }
                _ => break,
            }
        }
        if close == ';' && value.is_empty() && !behind.starts_with(';') {
            (value, rest) = (rest.to_owned(), "");
        }
        let value = if close == ';' {
            value.trim_end().to_owned()
        } else {
            value
        };
        pairs.push((plain(name), value));
        rest = rest.trim_start_matches([';', ' ']);
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
    const NAMES: &str = "host host server host servername host port port database dbname db dbname username user \
        user user userid user uid user password password pwd password psw password passfile passfile sslmode sslmode \
        ssl ssl rootcertificate sslrootcert sslcertificate sslcert clientcertificate sslcert sslkey sslkey \
        clientcertificatekey sslkey timeout connect_timeout applicationname application_name options options \
        channelbinding channel_binding requireauth require_auth gssencryptionmode gssencmode \
        targetsessionattributes target_session_attrs";
    looked_up(NAMES, name)
}
