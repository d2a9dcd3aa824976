//! What looks like a password in a text, by where it stands.

use std::ffi::OsStr;

use crate::redaction::without_secrets;

/// A word or a value without any secret that is known, without what stands between `user:` and `@`, and without what
/// follows `password=`. More is hidden rather than less: what comes behind a password is shown where it begins as
/// another parameter does.
pub fn redacted(text: &OsStr) -> String {
    without_passwords(&without_secrets(&text.to_string_lossy()))
}

fn without_passwords(text: &str) -> String {
    without_password_parameters(&without_url_password(text))
}

/// Go's DSN has no scheme: `user:password@tcp(host)/db`.
fn without_url_password(text: &str) -> String {
    let authority = text.find("://").map_or(0, |at| at + 3);
    // The last @ ends the user information, so that a password with one in it is covered whole.
    let Some(at) = text.rfind('@').filter(|at| *at > authority) else {
        return text.into();
    };
    match text[authority..at].find(':') {
        Some(colon) => format!("{}***{}", &text[..=authority + colon], &text[at..]),
        None => text.into(),
    }
}

/// The names that say password, as drivers and clients spell them.
const NAMES: [&str; 5] = ["password", "passwd", "passphrase", "pwd", "psw"];

/// The text with the value of each password hidden: of a URL's query, of libpq's or Npgsql's keywords and values.
fn without_password_parameters(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((value, is_query)) = next_password(rest) {
        shown.push_str(&rest[..value]);
        shown.push_str("***");
        rest = &rest[value..];
        rest = &rest[value_length(rest, is_query)..];
    }
    shown + rest
}

/// Where the first value of a password begins, and whether it is one of a URL's query.
fn next_password(text: &str) -> Option<(usize, bool)> {
    text.match_indices('=').find_map(|(equals, _)| {
        let name = text[..equals].trim_end();
        let says_password = |word: &str| {
            let start = name.len().checked_sub(word.len());
            let end = start.and_then(|start| name.get(start..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(word))
        };
        NAMES.into_iter().find(|word| says_password(word))?;
        let before = name.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "_-".contains(c));
        let value = &text[equals + 1..];
        let blanks = value.len() - value.trim_start().len();
        Some((equals + 1 + blanks, before.ends_with(['?', '&'])))
    })
}

/// How long the value is that `text` begins with: to where another parameter begins.
fn value_length(text: &str, is_query: bool) -> usize {
    let quoted = quoted_length(text);
    let mut escaped = false;
    let end = text[quoted..].char_indices().find(|(at, c)| {
        let separates = if is_query {
            *c == '&'
        } else {
            *c == ';' || c.is_whitespace()
        };
        let ends = separates && !escaped && begins_parameter(&text[quoted + at + c.len_utf8()..]);
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| quoted + at)
}

/// How much of it stands in quotes: libpq's have backslashes in them, Npgsql's are doubled.
fn quoted_length(text: &str) -> usize {
    let (mut open, mut escaped) = (None, false);
    let end = text.char_indices().find(|(_, c)| {
        let is_quote = !escaped && matches!(c, '\'' | '"');
        escaped = *c == '\\' && !escaped;
        match open {
            None if is_quote => open = Some(*c),
            None => return true,
            Some(quote) if is_quote && *c == quote => open = None,
            Some(_) => {}
        }
        false
    });
    end.map_or(text.len(), |(at, _)| at)
}

/// Whether there is a name with `=` behind it.
fn begins_parameter(text: &str) -> bool {
    let name = text.split('=').next().unwrap_or_default().trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    name.len() < text.len() && !name.is_empty() && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let table = [
            ("plain", "plain"),
            (
                "postgres://app:p@ss:w/ord@db:5432/x",
                "postgres://app:***@db:5432/x",
            ),
            ("postgres://app@db/x", "postgres://app@db/x"),
            (
                "postgres://db/x?user=u&password=p&a=b",
                "postgres://db/x?user=u&password=***&a=b",
            ),
            ("host=db PASSWORD=p", "host=db PASSWORD=***"),
            ("password='p q\\'r' host=db", "password=*** host=db"),
            ("password=\"p q\"", "password=***"),
            ("password='open", "password=***"),
            ("PGPASSWORD=p --password=q", "PGPASSWORD=*** --password=***"),
            ("http://db/x?a=b@c", "http://db/x?a=b@c"),
            ("host=db password = hunter2", "host=db password = ***"),
            ("password=ab'hunter2 x port=5", "password=*** port=5"),
            ("password=ab\\ hunter2=1 host=db", "password=*** host=db"),
            ("password=ab&hunter2;c host=db", "password=*** host=db"),
            ("password=ab''hunter2", "password=***"),
            ("Password='a''hunter2';Host=db", "Password=***;Host=db"),
            ("Password='a; b=hunter2';Host=db", "Password=***;Host=db"),
            ("Password=''hunter2;User Id=u", "Password=*** Id=u"),
            ("Host=db;Pwd=hunter2", "Host=db;Pwd=***"),
            ("Host=db;PWD = hunter2 2;Port=5", "Host=db;PWD = ***;Port=5"),
            ("MYSQL_PWD=hunter2 x", "MYSQL_PWD=***"),
            ("u:hunter2@tcp(db:3306)/x", "u:***@tcp(db:3306)/x"),
            ("u:hunter2@2@unix(/s)/x?a=b", "u:***@unix(/s)/x?a=b"),
            ("db:5432", "db:5432"),
            ("git@example.com:x", "git@example.com:x"),
        ];
        for (text, expected) in table {
            assert_eq!(without_passwords(text), expected);
        }
    }
}
