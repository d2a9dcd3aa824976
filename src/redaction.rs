//! What is never shown: the values of secrets, and passwords in URLs and parameters.

use std::ffi::{OsStr, OsString};
use std::sync::{PoisonError, RwLock};

/// The longest first, as one may be a part of another.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Values shorter than this, in bytes, are not masked: a letter is in every word, and what is masked everywhere shows
/// itself.
const SHORTEST: usize = 4;

/// From now on no output shows any of these values, wherever it got it from.
pub fn hide(secrets: &[OsString]) {
    let mut hidden = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    let texts = secrets.iter().map(|secret| secret.to_string_lossy());
    for text in texts.filter(|text| text.len() >= SHORTEST) {
        if !hidden.iter().any(|known| *known == text) {
            hidden.push(text.into_owned());
        }
    }
    hidden.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

/// `text` with `***` for each secret in it.
pub fn without_secrets(text: &str) -> String {
    masked(
        text,
        &SECRETS.read().unwrap_or_else(PoisonError::into_inner),
    )
}

fn masked(text: &str, secrets: &[String]) -> String {
    let mask = |text: String, secret: &String| text.replace(secret.as_str(), "***");
    secrets.iter().fold(text.to_owned(), mask)
}

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

    #[test]
    fn secrets_are_masked_whole_but_for_the_shortest() {
        hide(&["red".into(), "re-da".into(), "re-da-re-da".into()]);
        let said = without_secrets("red re-da-re-da re-da re-");
        assert_eq!(said, "red *** *** re-");
    }
}
