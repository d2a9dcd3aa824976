//! Lists of commands: words, what is expanded in them, and when.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::cli::{Opt, is_reference};
use crate::environment::expand::expand;
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
                let line = line.trim_ascii();
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

const NO_PROGRAM: &str = "the name of a program is empty";
