//! What looks like a password in a text, by where it stands.

use std::ffi::OsStr;

use crate::redaction::without_secrets;

/// A word or a value without any secret that is known, without what stands between `//user:` and `@`, and without what
/// follows `password=`.
pub fn redacted(text: &OsStr) -> String {
    without_passwords(&without_secrets(&text.to_string_lossy()))
}

fn without_passwords(text: &str) -> String {
    without_password_parameters(&without_url_password(text))
}

fn without_url_password(text: &str) -> String {
    let Some(authority) = text.find("://").map(|at| at + 3) else {
        return text.into();
    };
    // The last @ ends the user information, so that a password with one in it is covered whole.
    let Some(at) = text.rfind('@').filter(|at| *at > authority) else {
        return text.into();
    };
    match text[authority..at].find(':') {
        Some(colon) => format!("{}***{}", &text[..=authority + colon], &text[at..]),
        None => text.into(),
    }
}

/// The text with what follows each `password=` hidden: a URL's query, or libpq's keywords and values.
fn without_password_parameters(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.to_ascii_lowercase().find("password=") {
        let value = at + "password=".len();
        let length = parameter_length(&rest[value..]);
        shown.push_str(&rest[..value]);
        shown.push_str("***");
        rest = &rest[value + length..];
    }
    shown + rest
}

/// How long the value is that `text` begins with. One in quotes ends with them; libpq's have backslashes in them.
fn parameter_length(text: &str) -> usize {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        return text.find(['&', ' ', '"', '\'']).unwrap_or(text.len());
    };
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, quote)| at + quote.len_utf8())
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
        ];
        for (text, expected) in table {
            assert_eq!(without_passwords(text), expected);
        }
    }
}
