//! What is meant: the typed plans that the command line and the environment come to. Made purely: nothing here reads a
//! file, asks the system, or prints.

use std::ffi::{CStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use crate::cli::{Mode, Opt};
use crate::database::once::Once;
use crate::exit::Failure;
use crate::init::signals::SignalMap;
use crate::init::supervise::Supervision;
use crate::logger::Format;
use crate::probe::http::Expectation;
use crate::probe::{Verification, target::Target};
use crate::redaction::shown;
use crate::settings::Settings;
use crate::setup::capabilities::CapabilitySet;
use crate::setup::environment::Environment;
use crate::setup::privileges::Privileges;

mod describe;
mod migrate;
mod probe;
mod run;
#[cfg(test)]
mod tests;
mod wait;

/// One command of a migration: programs joined by `&&`, each with its arguments.
pub type Chain = Vec<Vec<OsString>>;

/// Who to become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityPlan {
    /// SPEC of `--user`.
    pub user: Option<String>,
    /// What is given to that user before the drop.
    pub chown: Vec<PathBuf>,
    /// What is left to that user: `--keep-cap`, `--allow-new-privileges`.
    pub privileges: Privileges,
    /// Refuse to start COMMAND as uid 0.
    pub require_non_root: bool,
}

/// How portero speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputPlan {
    /// From this level on.
    pub level: LevelFilter,
    /// Text or JSON.
    pub format: Format,
}

/// A step before COMMAND that runs as a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `portero wait`.
    Wait,
    /// `portero migrate`.
    Migrate,
}

impl Stage {
    /// The subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Migrate => "migrate",
        }
    }

    /// What the init is called (`PR_SET_NAME`) as long as it runs this stage, so that a health check can tell the stage
    /// from any other process that has its name. The kernel takes 15 bytes.
    pub fn init_name(self) -> &'static CStr {
        match self {
            Self::Wait => c"portero-wait",
            Self::Migrate => c"portero-migrate",
        }
    }
}

/// What `portero COMMAND` does.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// COMMAND and its arguments.
    pub command: Vec<OsString>,
    /// The resolved environment, portero's own variables still in it.
    pub environment: Environment,
    /// Who to become.
    pub identity: IdentityPlan,
    /// What runs before COMMAND.
    pub stages: Vec<Stage>,
    /// What is waited for, when the wait stage runs.
    pub wait: Option<WaitPlan>,
    /// What is migrated, when the migrate stage runs.
    pub migrate: Option<MigratePlan>,
    /// How COMMAND is supervised.
    pub supervision: Supervision,
    /// `--map-exit`: from, to.
    pub map_exit: Vec<(u8, u8)>,
    /// Replace portero by COMMAND.
    pub exec: bool,
    /// What is worth a warning, though not a failure.
    pub warnings: Vec<String>,
    /// Options typed on the command line, as the variables by which a stage gets them.
    typed: Vec<(String, OsString)>,
}

/// What `portero wait` does.
#[derive(Clone, Debug)]
pub struct WaitPlan {
    /// All of them must be ready.
    pub targets: Vec<Target>,
    /// For all of them together; `None` is no limit.
    pub timeout: Option<Duration>,
    /// The longest pause between two tries of one target.
    pub max_interval: Duration,
    /// For `https` and `rediss` targets.
    pub verification: Verification,
    /// Whether this run has waited for all of them before: who is ready at once is not told again.
    pub again: bool,
}

/// What `portero migrate` does.
#[derive(Clone, Debug)]
pub struct MigratePlan {
    /// What must be ready first: the database among it.
    pub wait: WaitPlan,
    /// Whose lock guards the migrations; `None` with `--no-lock`.
    pub database: Option<Target>,
    /// Run in order.
    pub commands: Vec<Chain>,
    /// Which lock.
    pub lock_name: String,
    /// How long to wait for it; `None` is no limit.
    pub lock_timeout: Option<Duration>,
    /// What need not be migrated again once it is recorded.
    pub once: Option<Once>,
    /// How a migration is supervised.
    pub supervision: Supervision,
}

/// What `portero healthcheck` does.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// Probed side by side; all must pass.
    pub targets: Vec<Target>,
    /// One deadline over everything; `None` is no limit.
    pub timeout: Option<Duration>,
    /// What is asked of an HTTP target, and which answer is healthy.
    pub expectation: Expectation,
    /// For `https` and `rediss` targets.
    pub verification: Verification,
    /// Healthy also while portero itself is still waiting or migrating.
    pub live: bool,
}

/// `--log-level`, `-q`, `-v` and `--log-format`.
///
/// # Errors
/// 125 for a word that is neither.
pub fn output(settings: &Settings<'_>) -> Result<OutputPlan, Failure> {
    let level = match settings.text(Opt::LogLevel)?.as_deref() {
        _ if settings.switch(Opt::Quiet)? => LevelFilter::Error,
        _ if settings.switch(Opt::Verbose)? => LevelFilter::Debug,
        Some("error") => LevelFilter::Error,
        Some("warn") => LevelFilter::Warn,
        Some("info") | None => LevelFilter::Info,
        Some("debug") => LevelFilter::Debug,
        Some(other) => {
            return Err(settings.invalid(
                Opt::LogLevel,
                &format!("{} is not error, warn, info or debug", shown(other)),
            ));
        }
    };
    let format = match settings.text(Opt::LogFormat)?.as_deref() {
        Some("text") | None => Format::Text,
        Some("json") => Format::Json,
        Some(other) => {
            return Err(settings.invalid(
                Opt::LogFormat,
                &format!("{} is not text or json", shown(other)),
            ));
        }
    };
    Ok(OutputPlan { level, format })
}

/// `--user` and what belongs to it.
///
/// # Errors
/// 125, from expansion.
pub fn identity(settings: &Settings<'_>) -> Result<IdentityPlan, Failure> {
    let user = settings.text(Opt::User)?;
    if user.is_none() && settings.is_given(Opt::User) {
        // Nothing is not nobody in particular: without the drop COMMAND would run as root, by accident.
        return Err(settings.invalid(Opt::User, "it is empty: user, user:group, uid or uid:gid"));
    }
    // A health check comes every few seconds, and changes nothing.
    let gives = settings.typed.mode != Mode::Healthcheck;
    let chown = if gives {
        settings.list(Opt::Chown)?
    } else {
        Vec::new()
    };
    if user.is_none() && !chown.is_empty() {
        return Err(settings.invalid(Opt::Chown, "needs --user, to say whose the files are to be"));
    }
    Ok(IdentityPlan {
        user,
        chown: chown.into_iter().map(PathBuf::from).collect(),
        privileges: Privileges {
            keep: kept_capabilities(settings)?,
            allow_new: settings.switch(Opt::AllowNewPrivileges)?,
        },
        // Only what starts a COMMAND can start it as root.
        require_non_root: settings.switch(Opt::RequireNonRoot)?
            && matches!(settings.typed.mode, Mode::Run | Mode::Migrate),
    })
}

fn kept_capabilities(settings: &Settings<'_>) -> Result<CapabilitySet, Failure> {
    let mut keep = CapabilitySet::default();
    for name in settings.list(Opt::KeepCap)? {
        keep.add(&name.to_string_lossy())
            .map_err(|error| settings.invalid(Opt::KeepCap, &error))?;
    }
    Ok(keep)
}

/// `--map-signal` as far as it says what a stop is, for what forwards nothing: `wait` has it of its variable alone.
///
/// # Errors
/// 125 for what is no FROM=TO.
pub fn stops_of(settings: &Settings<'_>) -> Result<SignalMap, Failure> {
    match settings.typed.mode {
        Mode::Healthcheck => Ok(SignalMap::default()),
        _ => signal_map(settings),
    }
}

fn signal_map(settings: &Settings<'_>) -> Result<SignalMap, Failure> {
    let mut map = SignalMap::default();
    for item in settings.list(Opt::MapSignal)? {
        map.add(&item.to_string_lossy())
            .map_err(|error| settings.invalid(Opt::MapSignal, &error))?;
    }
    Ok(map)
}

fn supervision(settings: &Settings<'_>) -> Result<Supervision, Failure> {
    Ok(Supervision {
        group: settings.switch(Opt::SignalGroup)?,
        map: signal_map(settings)?,
        stop_delay: settings.pause(Opt::StopDelay)?,
        stop_timeout: settings.limit(Opt::StopTimeout)?,
        orphan_grace: settings.limit(Opt::OrphanGrace)?,
    })
}

/// The variable of `healthcheck`'s targets.
pub const HEALTH_TARGETS: &str = "PORTERO_HEALTH_TARGET";
