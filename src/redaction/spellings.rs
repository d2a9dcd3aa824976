//! How else a secret is spelled once something has escaped, trimmed or decoded it: masking then finds it wherever it
//! comes in between.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::wording::characters::{escaped, printable};

/// What RFC 3986 reserves, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a path still may have (Python's `quote`).
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// What JavaScript's `encodeURIComponent` encodes.
const RESERVED_IN_SCRIPT: &AsciiSet = &RESERVED
    .remove(b'!')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*');

/// The secret itself and its other spellings, each once; only itself when it is of plain letters and digits.
pub fn of(secret: &str) -> BTreeSet<String> {
    let mut spellings = BTreeSet::from([secret.to_owned()]);
    if secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return spellings;
    }
    let decoded = percent_decode_str(secret).decode_utf8_lossy();
    // A URL that it is put into as it is ends a part there. One that is a URL has parts that are no secrets.
    let parts = secret.split(['?', '#']).filter(|_| !secret.contains("://"));
    for text in parts.chain([secret, secret.trim(), &decoded]) {
        let debugged = format!("{text:?}");
        spellings.extend([
            text.to_owned(),
            printable(text),
            escaped(text),
            text.escape_debug().to_string(),
            // Within a text, where a combining character at the secret's start is none at the text's.
            format!("a{text}").escape_debug().skip(1).collect(),
            debugged[1..debugged.len() - 1].to_owned(),
            json(text),
        ]);
        for set in [RESERVED, RESERVED_IN_PATH, RESERVED_IN_SCRIPT] {
            let encoded = utf8_percent_encode(text, set).to_string();
            spellings.insert(encoded.replace("%20", "+"));
            spellings.insert(encoded);
        }
    }
    spellings
}

/// As a string of JSON has it (RFC 8259, section 7).
fn json(text: &str) -> String {
    let mut spelled = String::new();
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(spelled, "\\{c}"),
            '\t' | '\n' | '\r' => write!(spelled, "{}", c.escape_debug()),
            c if c.is_control() => write!(spelled, "\\u{:04x}", u32::from(c)),
            c => write!(spelled, "{c}"),
        };
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_a_spelling_for_each_way_to_escape_it() {
        let secret = "h\"u\\n\t't/\u{1b}e r\u{a0}2\n";
        let table = [
            "h\"u\\n 't/ e r\u{a0}2",
            "h\\\"u\\\\n\\t't/\\u{1b}e r\\u{a0}2\\n",
            "h\\\"u\\\\n\\t\\'t/\\u{1b}e r\\u{a0}2\\n",
            "h\"u\\n\\t't/\\u{1b}e r\u{a0}2",
            "h\\\"u\\\\n\\t't/\\u001be r\u{a0}2\\n",
            "h%22u%5Cn%09%27t%2F%1Be%20r%C2%A02%0A",
            "h%22u%5Cn%09%27t/%1Be+r%C2%A02",
        ];
        let spellings = of(secret);
        for spelling in table {
            assert!(
                spellings.contains(spelling),
                "{spelling} is not in {spellings:#?}"
            );
        }
        assert!(of("a%20%22b").contains("a \"b"));
        assert_eq!(of("plain1").len(), 1);
    }
}
