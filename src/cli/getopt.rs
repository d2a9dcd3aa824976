//! Options as other tools read them, in the way of `getopt_long(3)`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::wording::shown;

/// Options as `getopt_long(3)` reads them, up to the first word that is none.
pub struct Options<'a> {
    /// What has not been read yet: behind the last option, the operands.
    pub rest: &'a [OsString],
    /// Letters of the current word that are still to be read.
    letters: &'a [u8],
    /// The letters that take a value.
    with_value: &'static str,
}

impl<'a> Options<'a> {
    /// Of these arguments; `with_value` has the letters that take a value.
    pub fn new(rest: &'a [OsString], with_value: &'static str) -> Self {
        Self {
            rest,
            letters: &[],
            with_value,
        }
    }

    /// The next option by its letter, and its value. `long` has the long ones' letters.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next(&mut self, long: &[(&str, char)]) -> Result<Option<(char, OsString)>, String> {
        if self.letters.is_empty() {
            let Some((word, rest)) = self.rest.split_first() else {
                return Ok(None);
            };
            let bytes = word.as_bytes();
            if bytes == b"-" || !bytes.starts_with(b"-") {
                return Ok(None);
            }
            self.rest = rest;
            if bytes == b"--" {
                return Ok(None);
            }
            if let Some(name) = bytes.strip_prefix(b"--") {
                return self.long(name, long).map(Some);
            }
            self.letters = &bytes[1..];
        }
        let (letter, letters) = (char::from(self.letters[0]), &self.letters[1..]);
        self.letters = letters;
        if !self.with_value.contains(letter) {
            return Ok(Some((letter, OsString::new())));
        }
        self.letters = &[];
        let own = Some(letters).filter(|letters| !letters.is_empty());
        let value = own.map(|own| OsString::from_vec(own.to_vec()));
        Ok(Some((letter, self.value(letter, value)?)))
    }

    /// One that may be cut short as long as it is the only one that begins so.
    fn long(&mut self, name: &[u8], long: &[(&str, char)]) -> Result<(char, OsString), String> {
        let mut parts = name.splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next());
        let is_meant = |(known, _): &&(&str, char)| known.as_bytes().starts_with(name);
        let mut meant = long.iter().filter(is_meant);
        let exact = long.iter().find(|(known, _)| known.as_bytes() == name);
        let found = exact.or_else(|| meant.next().filter(|_| meant.next().is_none()));
        let letter = found
            .map(|(_, letter)| *letter)
            .filter(|_| !name.is_empty());
        let letter = letter.ok_or_else(|| {
            let option = [b"--", name].concat();
            unknown(OsStr::from_bytes(&option))
        })?;
        let value = value.map(|value| OsString::from_vec(value.to_vec()));
        match (self.with_value.contains(letter), value) {
            (true, value) => Ok((letter, self.value(letter, value)?)),
            (false, None) => Ok((letter, OsString::new())),
            (false, Some(_)) => Err(format!("-{letter} takes no value")),
        }
    }

    fn value(&mut self, letter: char, own: Option<OsString>) -> Result<OsString, String> {
        let next = || {
            let (value, rest) = self.rest.split_first()?;
            self.rest = rest;
            Some(value.clone())
        };
        let missing = || format!("-{letter} needs a value");
        own.or_else(next).ok_or_else(missing)
    }
}

/// For an option that is none.
pub fn unknown(option: impl AsRef<OsStr>) -> String {
    format!("unknown option {}", shown(option))
}
