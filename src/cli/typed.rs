//! The command line as it was typed.

use std::ffi::OsString;

use crate::cli::mode::Mode;
use crate::cli::options::{OPTIONS, Opt, OptionSpec};

/// The command line as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// Which command.
    pub mode: Mode,
    /// The option values in the order of `OPTIONS`; a switch that was given has one empty value.
    pub(super) values: Vec<Vec<OsString>>,
    /// COMMAND and its arguments, or the TARGETs.
    pub operands: Vec<OsString>,
    /// Whether portero was called to become a user, as gosu, and for nothing else.
    pub is_dropper: bool,
    /// What that name implies: defaults in the place of portero's own.
    pub(super) implied: Vec<(Opt, &'static str)>,
    /// tini's `-p`: the signal that portero gets when its parent dies.
    pub parent_death: Option<String>,
    /// tini's `-w`: say of each orphan that it was reaped.
    pub tells_reaped: bool,
}

impl Typed {
    /// An empty command line.
    pub fn nothing(mode: Mode) -> Self {
        Self {
            mode,
            values: vec![Vec::new(); OPTIONS.len()],
            operands: Vec::new(),
            is_dropper: false,
            implied: Vec::new(),
            parent_death: None,
            tells_reaped: false,
        }
    }

    /// The values that were typed for `opt`; none when it was not given.
    pub fn values(&self, opt: Opt) -> &[OsString] {
        &self.values[opt as usize]
    }

    /// What the name that portero was called by implies for `opt`.
    pub fn implied(&self, opt: Opt) -> Option<&'static str> {
        let mut implied = self.implied.iter().filter(|(known, _)| *known == opt);
        implied.next_back().map(|(_, value)| *value)
    }

    /// Whether it was typed in another tool's language.
    pub fn is_of_stand_in(&self) -> bool {
        !self.implied.is_empty()
    }

    /// Whether the variable of `option` counts.
    pub fn heeds(&self, option: &OptionSpec) -> bool {
        option.is_of_dropper() || !self.is_dropper
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To work.
    Work(Typed),
    /// To print this text (`--help`, `--version`) and exit 0.
    Print(String),
}
