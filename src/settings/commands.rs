//! Lists of commands: words, what is expanded in them, and when.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::cli::{Opt, is_reference};
use crate::environment::expand::{expand, is_name};
use crate::environment::words::{self, Piece, Word};
use crate::exit::Failure;
use crate::settings::Settings;

impl Settings<'_> {
    /// A list of commands, split into words first and expanded then; one that is as a whole one `${…}` the other way
    /// round.
    ///
    /// # Errors
    /// What the word rules or expansion say.
    pub fn commands(&self, opt: Opt) -> Result<Vec<Vec<Vec<OsString>>>, Failure> {
        let mut chains = Vec::new();
        for text in self.raw(opt) {
            for line in words::lines(text.as_bytes()) {
                let (line, runs) = self.guarded(opt, line.trim_ascii())?;
                if !runs {
                    words::command(line, true).map_err(|error| self.invalid(opt, &error))?;
                    continue;
                }
                if !is_reference(line) {
                    self.add_chain(opt, line, true, &mut chains)?;
                    continue;
                }
                let value = expand(OsStr::from_bytes(line), self.environment)
                    .map_err(|error| self.invalid(opt, &error))?;
                let lines = words::lines(value.text.as_bytes());
                if lines.is_empty() && !value.vanished {
                    return Err(self.invalid(opt, NO_PROGRAM));
                }
                for line in lines {
                    self.add_chain(opt, line, false, &mut chains)?;
                }
            }
        }
        Ok(chains)
    }

    /// Whether a command begins with `if:NAME` or `unless:NAME`.
    pub fn has_guards(&self, opt: Opt) -> bool {
        let is_guarded = |line: &[u8]| guard(line.trim_ascii()).is_some();
        let texts = self.raw(opt);
        texts
            .iter()
            .any(|text| words::lines(text.as_bytes()).into_iter().any(is_guarded))
    }

    /// What follows the guards of a command, and whether they let it run.
    fn guarded<'l>(&self, opt: Opt, mut line: &'l [u8]) -> Result<(&'l [u8], bool), Failure> {
        let mut runs = true;
        while let Some((wanted, name, rest)) = guard(line) {
            let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
            let name = name.ok_or_else(|| {
                self.invalid(
                    opt,
                    "if: and unless: need the name of a variable, e.g. if:DEBUG",
                )
            })?;
            runs &= is_true(self.environment.get(name)) == wanted;
            line = rest;
        }
        if line.is_empty() {
            return Err(self.invalid(opt, "there is no command behind if: or unless:"));
        }
        Ok((line, runs))
    }

    fn add_chain(
        &self,
        opt: Opt,
        line: &[u8],
        expands: bool,
        chains: &mut Vec<Vec<Vec<OsString>>>,
    ) -> Result<(), Failure> {
        let mut chain = Vec::new();
        for words in words::command(line, expands).map_err(|error| self.invalid(opt, &error))? {
            let mut command = Vec::with_capacity(words.len());
            for word in words {
                let word = self.expand_word(word);
                command.extend(word.map_err(|error| self.invalid(opt, &error))?);
            }
            if command.first().is_some_and(|name| name.is_empty()) {
                return Err(self.invalid(opt, NO_PROGRAM));
            }
            chain.extend(Some(command).filter(|command| !command.is_empty()));
        }
        chains.extend(Some(chain).filter(|chain| !chain.is_empty()));
        Ok(())
    }

    /// `None` for a word that vanished through `:-` or `:+`.
    fn expand_word(&self, word: Word) -> Result<Option<OsString>, String> {
        let is_one = !word.quoted && word.pieces.len() == 1;
        let mut text = Vec::new();
        for piece in word.pieces {
            match piece {
                Piece::Literal(mut literal) => text.append(&mut literal),
                Piece::Reference(reference) => {
                    let value = expand(OsStr::from_bytes(&reference), self.environment)?;
                    if value.vanished && is_one {
                        return Ok(None);
                    }
                    text.extend_from_slice(value.text.as_bytes());
                }
            }
        }
        Ok(Some(OsString::from_vec(text)))
    }
}

/// What a guard at the start of `line` asks of its variable, its name, and what follows.
fn guard(line: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let end = line
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let (wanted, name) = match word.strip_prefix(b"if:") {
        Some(name) => (true, name),
        None => (false, word.strip_prefix(b"unless:")?),
    };
    Some((wanted, name, rest.trim_ascii_start()))
}

/// As a switch's variable, but that anything else is a yes.
fn is_true(value: Option<&OsStr>) -> bool {
    let value = value.map(OsStr::as_bytes).unwrap_or_default().trim_ascii();
    ![&b""[..], b"0", b"false", b"no", b"off"]
        .iter()
        .any(|no| no.eq_ignore_ascii_case(value))
}

const NO_PROGRAM: &str = "the name of a program is empty";
