//! How portero ends: the one error type and the one table of exit codes.

use std::fmt;

/// How a run ends. The numbers are GNU coreutils' convention (`timeout`, `env`: "Exit status" in their manuals).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All went well; for `healthcheck`: healthy.
    Success,
    /// `healthcheck` only: not healthy, or not to be found out.
    Unhealthy,
    /// A wait, or the wait for the lock, timed out.
    TimedOut,
    /// portero itself failed: usage, configuration, a drop that did not work, a dependency that says no.
    Failed,
    /// COMMAND, or a migration, can't be executed.
    CannotExecute,
    /// COMMAND, or a migration, was not found.
    NotFound,
    /// COMMAND's own code, or a failed migration's.
    Command(u8),
    /// The signal that ended COMMAND, or ended the run before COMMAND started.
    Signal(i32),
}

impl Exit {
    /// The number that the parent process sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Unhealthy => 1,
            Self::TimedOut => 124,
            Self::Failed => 125,
            Self::CannotExecute => 126,
            Self::NotFound => 127,
            Self::Command(code) => code,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

/// Why a run ends without COMMAND having had its say: an exit and one line that says what failed, on what, why,
/// and the remedy. The line never holds a password or a secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit that goes with it.
    pub exit: Exit,
    /// One line, without `portero: ` before it and without a full stop at its end.
    pub message: String,
}

impl Failure {
    /// A failure with an exit of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// portero itself failed (125): usage, configuration, or a refusal.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A limit was reached (124).
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::new(Exit::TimedOut, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_the_code_of_the_contract() {
        let table = [
            (Exit::Success, 0),
            (Exit::Unhealthy, 1),
            (Exit::TimedOut, 124),
            (Exit::Failed, 125),
            (Exit::CannotExecute, 126),
            (Exit::NotFound, 127),
            (Exit::Command(3), 3),
            (Exit::Signal(15), 143),
            (Exit::Signal(64), 192),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
