//! Expansion of `${NAME}`, `${NAME:-default}`, `${NAME:+text}` and `${NAME:?message}`, and of nothing else.
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
    /// Whether it came out empty because a `:-` or `:+` gave nothing: then an item of a list drops out.
    pub vanished: bool,
}

/// Expands `text`.
///
/// # Errors
/// One line that names the variable: it is not set, its `:?` message, a `${` that is not closed or none of the forms.
pub fn expand(text: &OsStr, environment: &Environment) -> Result<Expanded, String> {
    let mut rest = text.as_bytes();
    let mut expanded = Vec::with_capacity(rest.len());
    let mut optional = false;
    // For each default or text that is open whether it is taken: what is not is read, and not evaluated.
    let mut open: Vec<bool> = Vec::new();
    while let Some((&first, after)) = rest.split_first() {
        let taken = open.last().copied().unwrap_or(true);
        if rest.starts_with(b"$${") {
            if !open.is_empty() {
                return Err(NOT_A_REFERENCE.into());
            }
            expanded.extend_from_slice(b"${");
            rest = &rest[3..];
        } else if rest.starts_with(b"${") {
            let reference = Reference::parse(&rest[2..])?;
            rest = reference.rest;
            match reference.form {
                Form::Default | Form::Text => {
                    optional |= open.is_empty();
                    let given = reference.given(environment);
                    if let (Form::Default, true, Some(value)) = (reference.form, taken, &given) {
                        expanded.extend_from_slice(value);
                    }
                    open.push(taken && given.is_some() == (reference.form == Form::Text));
                }
                _ if taken => expanded.extend_from_slice(&reference.value(environment)?),
                _ => {}
            }
        } else {
            match first {
                b'}' if open.pop().is_some() => {}
                b'{' if !open.is_empty() => return Err(NOT_A_REFERENCE.into()),
                _ if taken => expanded.push(first),
                _ => {}
            }
            rest = after;
        }
    }
    if !open.is_empty() {
        return Err(NOT_CLOSED.into());
    }
    Ok(Expanded {
        vanished: optional && expanded.is_empty(),
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

/// What begins with `${`: a name, and what is to happen.
struct Reference<'a> {
    name: &'a str,
    form: Form<'a>,
    /// What follows: behind the closing brace, or for a default and a text what they are.
    rest: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    /// `${NAME}`: it must be set.
    Plain,
    /// `${NAME:-`: what comes up to the brace counts where NAME is unset or empty, as in a shell.
    Default,
    /// `${NAME:+`: it counts where NAME is neither.
    Text,
    /// `${NAME:?message}`.
    Message(&'a [u8]),
}

impl<'a> Reference<'a> {
    fn parse(inner: &'a [u8]) -> Result<Self, String> {
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = inner.iter().take_while(|byte| is_of_name(byte)).count();
        let (name, rest) = inner.split_at(length);
        let (form, rest) = match rest {
            [b'}', rest @ ..] => (Form::Plain, rest),
            [b':', b'-', rest @ ..] => (Form::Default, rest),
            [b':', b'+', rest @ ..] => (Form::Text, rest),
            [b':', b'?', rest @ ..] => {
                let end = rest.iter().position(|byte| b"{}".contains(byte));
                let (message, rest) = rest.split_at(end.ok_or(NOT_CLOSED)?);
                if rest[0] == b'{' {
                    return Err(NOT_A_REFERENCE.into());
                }
                (Form::Message(message), &rest[1..])
            }
            rest if rest.contains(&b'}') => return Err(NOT_A_REFERENCE.into()),
            _ => return Err(NOT_CLOSED.into()),
        };
        match std::str::from_utf8(name) {
            Ok(name) if is_name(name) => Ok(Self { name, form, rest }),
            _ => Err(NOT_A_REFERENCE.into()),
        }
    }

    fn known<'e>(&self, environment: &'e Environment) -> Option<Cow<'e, [u8]>> {
        match environment.get(self.name) {
            // Looked up for who asks for it alone.
            known if self.name == PROCESSORS && is_blank(known) => {
                Some(Cow::Owned(cgroup::processors().to_string().into()))
            }
            known => known.map(|value| Cow::Borrowed(value.as_bytes())),
        }
    }

    fn given<'e>(&self, environment: &'e Environment) -> Option<Cow<'e, [u8]>> {
        self.known(environment).filter(|value| !value.is_empty())
    }

    /// What the forms without a branch come to.
    fn value<'e>(&self, environment: &'e Environment) -> Result<Cow<'e, [u8]>, String> {
        let unset = || format!("the variable {} is not set", named(self.name));
        match self.form {
            Form::Message(message) => self.given(environment).ok_or_else(|| {
                if message.is_empty() {
                    return unset();
                }
                format!("{}: {}", self.name, String::from_utf8_lossy(message))
            }),
            _ => self.known(environment).ok_or_else(unset),
        }
    }
}

const NOT_CLOSED: &str = "a '${' is not closed ('$${' is a literal '${')";

/// What is between the braces is not shown: it may be of a password that has `${` in it.
const NOT_A_REFERENCE: &str = "a '${…}' is not ${NAME}, ${NAME:-default}, ${NAME:+text} or ${NAME:?message}, which \
    hold no other brace ('$${' is a literal '${')";

/// As of every variable of portero's, white space does not count, and an empty one is not given.
fn is_blank(value: Option<&OsStr>) -> bool {
    value.is_none_or(|value| value.as_bytes().trim_ascii().is_empty())
}

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
    fn only_the_four_forms_expand_and_only_once() {
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
            ("${UNSET:-${PORT}}", "8000"),
            ("${UNSET:-a ${EMPTY:-b ${PORT}} c}d", "a b 8000 cd"),
            ("${PORT:-${UNSET}}", "8000"),
            ("${PORT:-${UNSET:?gone}}", "8000"),
            ("${PORT:+--port ${PORT}}", "--port 8000"),
            ("${EMPTY:+${UNSET}}${UNSET:+x}", ""),
            ("${UNSET:-a}b}", "ab}"),
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
            ("${UNSET:-${PORT}", NOT_CLOSED),
            ("${PORT:-${1A}}", NOT_A_REFERENCE),
            ("${PORT:-{}}", NOT_A_REFERENCE),
            ("${PORT:-$${X}}", NOT_A_REFERENCE),
            ("${PORT:?${X}}", NOT_A_REFERENCE),
            ("${PORT:=1}", NOT_A_REFERENCE),
            ("${#PORT}", NOT_A_REFERENCE),
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
        assert!(vanished("${UNSET:+x}"));
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
