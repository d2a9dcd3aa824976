//! What is never shown: the values of secrets, and passwords in URLs and parameters.

pub mod passwords;
mod spellings;

use std::ffi::OsString;
use std::sync::{PoisonError, RwLock};

/// Each in all its spellings, the longest first, as one may be a part of another.
type Hidden = RwLock<Vec<String>>;

/// What no output shows.
static SECRETS: Hidden = RwLock::new(Vec::new());

/// What no quotation of a server's words shows.
static PASSWORDS: Hidden = RwLock::new(Vec::new());

/// Values shorter than this, in bytes, are not masked: a letter is in every word, and what is masked everywhere shows
/// itself.
const SHORTEST: usize = 4;

/// The most words that a value is masked by: one with more is a text, and no list of anything.
const MOST_WORDS: usize = 64;

/// From now on no output shows any of these values, wherever it got it from and however that has escaped it; nor a
/// word of one, as which it stands in a list (`--keep-cap '${CAPABILITIES}'`).
pub fn hide(secrets: &[OsString]) {
    for secret in secrets {
        let secret = secret.to_string_lossy();
        add(&SECRETS, &secret);
        let words: Vec<&str> = secret.split_whitespace().take(MOST_WORDS + 1).collect();
        if words.len() <= MOST_WORDS {
            for word in words {
                add(&SECRETS, word);
            }
        }
    }
}

/// From now on nothing that a server says is quoted with this password in it. It stays in portero's own words, and
/// where `name` has it, by which the server is called: one that is `postgres`, too, would black out every line.
pub fn hide_password(password: &[u8], name: &str) {
    let password = String::from_utf8_lossy(password);
    if password != "password" && !name.contains(&*password) {
        add(&PASSWORDS, &password);
    }
}

fn add(hidden: &Hidden, secret: &str) {
    let is_known = |hidden: &[String]| hidden.iter().any(|known| known == secret);
    if secret.len() < SHORTEST || is_known(&hidden.read().unwrap_or_else(PoisonError::into_inner)) {
        return;
    }
    let mut hidden = hidden.write().unwrap_or_else(PoisonError::into_inner);
    let spellings = spellings::of(secret).into_iter();
    hidden.extend(spellings.filter(|spelling| spelling.len() >= SHORTEST));
    hidden.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

/// `text` with `***` for each secret in it.
pub fn without_secrets(text: &str) -> String {
    masked(text, &SECRETS)
}

/// The same, and with `***` for each password that was sent to a server.
pub fn without_known_passwords(text: &str) -> String {
    masked(&without_secrets(text), &PASSWORDS)
}

fn masked(text: &str, hidden: &Hidden) -> String {
    let hidden = hidden.read().unwrap_or_else(PoisonError::into_inner);
    let mask = |text: String, secret: &String| text.replace(secret.as_str(), "***");
    hidden.iter().fold(text.to_owned(), mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_whole_but_for_the_shortest() {
        hide(&["red".into(), "re-da".into(), "re-da-re-da".into()]);
        let said = without_secrets("red re-da-re-da re-da re-");
        assert_eq!(said, "red *** *** re-");
    }
}
