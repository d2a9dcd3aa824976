//! Expansion of `${NAME}`, `${NAME:-default}` and `${NAME:?message}`, and of nothing else.
//!
//! One pass over bytes: what a variable's value holds is never looked at again, what has no `${` comes out as it was,
//! and `$${` is a literal `${`.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::cgroup;
use crate::environment::Environment;
use crate::wording::named;

/// How many processors this container may use, where nobody has set it.
pub const PROCESSORS: &str = "PORTERO_CPUS";

/// An expanded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: OsString,
    /// Whether it came out empty because a `:-` gave nothing: then an item of a list drops out.
    pub vanished: bool,
}

/// Expands `text`.
///
/// # Errors
/// One line that names the variable: it is not set, its `:?` message, a `${` that is not closed, a name that is none.
pub fn expand(text: &OsStr, environment: &Environment) -> Result<Expanded, String> {
    let mut rest = text.as_bytes();
    let mut expanded = Vec::with_capacity(rest.len());
    let mut defaulted = false;
    while let Some(at) = find(rest, b"${") {
        if at > 0 && rest[at - 1] == b'$' {
            expanded.extend_from_slice(&rest[..at - 1]);
            expanded.extend_from_slice(b"${");
            rest = &rest[at + 2..];
            continue;
        }
        expanded.extend_from_slice(&rest[..at]);
        let end =
            find(&rest[at..], b"}").ok_or("a '${' is not closed ('$${' is a literal '${')")?;
        let reference = Reference::parse(&rest[at + 2..at + end])?;
        defaulted |= matches!(reference.otherwise, Otherwise::Default(_));
        expanded.extend_from_slice(&reference.value(environment)?);
        rest = &rest[at + end + 1..];
    }
    expanded.extend_from_slice(rest);
    Ok(Expanded {
        vanished: defaulted && expanded.is_empty(),
        text: OsString::from_vec(expanded),
    })
}

/// What to say behind the error of a text with a shell's `$NAME` in it, or a `${NAME}` that stayed as it was.
pub fn hint(text: &OsStr) -> &'static str {
    let mut pairs = text.as_bytes().windows(2);
    let is_variable = |pair: &[u8]| {
        pair[0] == b'$' && (pair[1].is_ascii_alphabetic() || b"_{".contains(&pair[1]))
    };
    if pairs.any(is_variable) {
        "; no shell expands a $ here: write ${NAME}"
    } else {
        ""
    }
}

/// The names that `text` may be expanded with.
pub fn references(text: &OsStr) -> Vec<String> {
    let (mut rest, mut names) = (text.as_bytes(), Vec::new());
    while let Some(at) = find(rest, b"${") {
        let inner = &rest[at + 2..];
        let is_literal = at > 0 && rest[at - 1] == b'$';
        let name = inner.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        let name = name.into_iter().next().unwrap_or_default();
        names.extend(
            std::str::from_utf8(name)
                .ok()
                .filter(|name| !is_literal && is_name(name))
                .map(str::to_owned),
        );
        rest = inner;
    }
    names
}

/// What stands between `${` and `}`.
struct Reference<'a> {
    name: &'a str,
    otherwise: Otherwise<'a>,
}

/// What counts when the variable is unset; for the last two also when it is empty, as in a shell.
enum Otherwise<'a> {
    Error,
    Default(&'a [u8]),
    Message(&'a [u8]),
}

impl<'a> Reference<'a> {
    fn parse(inner: &'a [u8]) -> Result<Self, String> {
        let length = inner
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
            .count();
        let (name, rest) = inner.split_at(length);
        let otherwise = match rest {
            [] => Otherwise::Error,
            [b':', b'-', default @ ..] => Otherwise::Default(default),
            [b':', b'?', message @ ..] => Otherwise::Message(message),
            _ => return Err(NOT_A_REFERENCE.into()),
        };
        match std::str::from_utf8(name) {
            Ok(name) if is_name(name) => Ok(Self { name, otherwise }),
            _ => Err(NOT_A_REFERENCE.into()),
        }
    }

    fn value(&self, environment: &'a Environment) -> Result<Cow<'a, [u8]>, String> {
        let name = self.name;
        let known = match environment.get(name) {
            // Looked up for who asks for it alone.
            None if name == PROCESSORS => Some(Cow::Owned(cgroup::processors().to_string().into())),
            known => known.map(|value| Cow::Borrowed(value.as_bytes())),
        };
        let unset = || format!("the variable {} is not set", named(name));
        let given = known.clone().filter(|value| !value.is_empty());
        match self.otherwise {
            Otherwise::Error => known.ok_or_else(unset),
            Otherwise::Default(default) => Ok(given.unwrap_or(Cow::Borrowed(default))),
            Otherwise::Message(message) => match given {
                Some(value) => Ok(value),
                None if message.is_empty() => Err(unset()),
                None => Err(format!("{name}: {}", String::from_utf8_lossy(message))),
            },
        }
    }
}

/// What is between the braces is not shown: it may be of a password that has `${` in it.
const NOT_A_REFERENCE: &str =
    "a '${…}' is not ${NAME}, ${NAME:-default} or ${NAME:?message} ('$${' is a literal '${')";

/// Whether `name` can be a variable's name (POSIX.1-2017, 3.235).
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        [
            ("PORT", "8000"),
            ("EMPTY", ""),
            ("NESTED", "${PORT}"),
            ("A_1", "x"),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn only_the_three_forms_expand_and_only_once() {
        let table = [
            ("", ""),
            ("plain", "plain"),
            ("$PORT $ $$ {PORT} $(x)", "$PORT $ $$ {PORT} $(x)"),
            ("${PORT}", "8000"),
            ("0.0.0.0:${PORT}/${A_1}", "0.0.0.0:8000/x"),
            ("${NESTED}", "${PORT}"),
            ("${EMPTY}", ""),
            ("${EMPTY:-y}", "y"),
            ("${UNSET:-y z}", "y z"),
            ("${UNSET:-}", ""),
            ("${PORT:?gone}", "8000"),
            ("$${PORT}", "${PORT}"),
            ("$$${PORT}", "$${PORT}"),
            ("${UNSET:-${PORT}", "${PORT"),
        ];
        for (text, expected) in table {
            assert_eq!(
                expand(OsStr::new(text), &environment()).unwrap().text,
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_names_the_variable() {
        let table = [
            ("${UNSET}", "the variable UNSET is not set"),
            ("${UNSET:?set it to the key}", "UNSET: set it to the key"),
            ("${EMPTY:?}", "the variable EMPTY is not set"),
            ("a${PORT", "a '${' is not closed ('$${' is a literal '${')"),
            ("${}", NOT_A_REFERENCE),
            ("${1A}", NOT_A_REFERENCE),
            ("${PORT-1}", NOT_A_REFERENCE),
            ("pa${ss!word}", NOT_A_REFERENCE),
        ];
        for (text, message) in table {
            assert_eq!(
                expand(OsStr::new(text), &environment()).unwrap_err(),
                message,
                "{text}"
            );
        }
    }

    #[test]
    fn an_item_vanishes_only_through_a_default() {
        let vanished = |text: &str| expand(OsStr::new(text), &environment()).unwrap().vanished;
        assert!(vanished("${UNSET:-}"));
        assert!(!vanished("${EMPTY}"));
        assert!(!vanished("${UNSET:-}x"));
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let bytes = b"\xff${PORT}\xfe";
        assert_eq!(
            expand(OsStr::from_bytes(bytes), &environment())
                .unwrap()
                .text
                .as_bytes(),
            b"\xff8000\xfe"
        );
    }
}
