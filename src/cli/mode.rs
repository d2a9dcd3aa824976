//! The subcommand, and how the help speaks of it.

use std::ffi::OsString;

use crate::features::Feature;

/// The subcommand, by the very first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `portero [--] COMMAND`: be the init.
    Run,
    /// `portero wait`.
    Wait,
    /// `portero migrate`.
    Migrate,
    /// `portero healthcheck`.
    Healthcheck,
}

impl Mode {
    /// The mode that the arguments (without the program's name) ask for, and the arguments that are left.
    pub fn of(arguments: &[OsString]) -> (Self, &[OsString]) {
        let mode = match arguments.first().and_then(|first| first.to_str()) {
            Some("wait") => Self::Wait,
            Some("migrate") => Self::Migrate,
            Some("healthcheck") => Self::Healthcheck,
            _ => return (Self::Run, arguments),
        };
        (mode, &arguments[1..])
    }

    /// How the user calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "portero",
            Self::Wait => "portero wait",
            Self::Migrate => "portero migrate",
            Self::Healthcheck => "portero healthcheck",
        }
    }

    pub(super) fn usage(self) -> &'static str {
        match self {
            Self::Run => {
                "portero [OPTIONS] [--] COMMAND [ARG]...\n       portero wait [OPTIONS] [TARGET]...\n       portero migrate [OPTIONS] [--] [COMMAND [ARG]...]\n       portero healthcheck [OPTIONS] [TARGET]..."
            }
            Self::Wait => "portero wait [OPTIONS] [TARGET]...",
            Self::Migrate => "portero migrate [OPTIONS] [--] [COMMAND [ARG]...]",
            Self::Healthcheck => "portero healthcheck [OPTIONS] [TARGET]...",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Run => {
                "Be the init of a container: prepare the environment, drop root, wait, migrate, then run COMMAND and supervise it"
            }
            Self::Wait => {
                "Wait until every TARGET is ready, then exit 0. Without a TARGET: for PORTERO_WAIT and PORTERO_DATABASE"
            }
            Self::Migrate if !Feature::Postgres.is_built() => {
                "Run COMMAND, or PORTERO_MIGRATE, with --no-lock: this build has no Postgres to hold the lock"
            }
            Self::Migrate => {
                "Run COMMAND, or PORTERO_MIGRATE, while holding the database's migration lock"
            }
            Self::Healthcheck => {
                "Probe once: exit 0 when every TARGET is healthy, else 1. Without a TARGET: those of PORTERO_HEALTH_TARGET, else http://127.0.0.1:PORT/health"
            }
        }
    }
}
