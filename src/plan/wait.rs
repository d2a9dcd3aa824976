//! What `portero wait` comes to, and the database that others wait for too.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::Opt;
use crate::cli::mode::Mode;
use crate::database::url::PostgresUrl;
use crate::exit::Failure;
use crate::net::verification::Verification;
use crate::probe::target::{Target, is_scheme, is_sqlite};
use crate::settings::Settings;

/// The variable by which a run tells its migrate stage that its targets were ready a moment ago. Nobody else sets it.
pub(super) const WAITED: &str = "PORTERO_WAITED";

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

impl WaitPlan {
    /// `--wait` and `--database`.
    pub(super) fn of_run(settings: &Settings<'_>) -> Result<Self, Failure> {
        let mut targets = Vec::new();
        for text in settings.list(Opt::Wait)? {
            targets.push(
                Target::parse(&text, settings.environment)
                    .map_err(|failure| settings.invalid(Opt::Wait, &failure.message))?,
            );
        }
        targets.extend(database(settings)?);
        Self::with(settings, targets)
    }

    /// What `portero wait` comes to: its operands, else `--wait` and `--database`.
    ///
    /// # Errors
    /// 125: usage errors, and nothing to wait for.
    pub fn new(settings: &Settings<'_>) -> Result<Self, Failure> {
        let operands = settings.targets("")?;
        let plan = if operands.is_empty() {
            Self::of_run(settings)?
        } else {
            let targets = operands
                .iter()
                .map(|text| Target::parse(text, settings.environment));
            Self::with(settings, targets.collect::<Result<_, _>>()?)?
        };
        // A database that is a file is none to wait for.
        if plan.targets.is_empty() && !settings.is_given(Opt::Database) {
            return Err(Failure::failed(
                "there is nothing to wait for: say a TARGET, or set PORTERO_WAIT or PORTERO_DATABASE",
            ));
        }
        Ok(plan)
    }

    fn with(settings: &Settings<'_>, targets: Vec<Target>) -> Result<Self, Failure> {
        Ok(Self {
            targets,
            timeout: settings.limit(Opt::WaitTimeout)?,
            max_interval: settings
                .limit(Opt::WaitMaxInterval)?
                .unwrap_or(Duration::from_secs(1)),
            verification: verification(settings, Opt::CaCert, Opt::Insecure)?,
            again: settings.environment.get(WAITED).is_some(),
        })
    }
}

pub(super) fn verification(
    settings: &Settings<'_>,
    ca_cert: Opt,
    insecure: Opt,
) -> Result<Verification, Failure> {
    Ok(Verification {
        ca_cert: settings.value(ca_cert)?.map(PathBuf::from),
        insecure: settings.switch(insecure)?,
    })
}

/// The database, when there is one to wait for. It is Postgres or an error, as no other has this lock, unless nobody
/// takes the lock: then it is any target, or a file of `SQLite`'s, for which nobody waits.
pub(super) fn database(settings: &Settings<'_>) -> Result<Option<Target>, Failure> {
    // A bare variable's name stands for its value to the letter; all else is expanded like any option.
    let Some(text) = settings.value(Opt::Database)? else {
        return Ok(None);
    };
    let value = settings.environment.given(&text).unwrap_or(&text);
    let value = value.to_string_lossy();
    let is_unguarded = settings.typed.mode == Mode::Wait || settings.switch(Opt::NoLock)?;
    if is_unguarded && is_sqlite(&value) {
        return Ok(None);
    }
    let target = Target::parse(&text, settings.environment);
    if let Ok(target) = &target
        && (is_unguarded || target.postgres().is_some())
    {
        return Ok(Some(target.clone()));
    }
    let remedy = "only Postgres can hold the migration lock: with --no-lock --database takes any target, as --wait does";
    let message = match (foreign_scheme(&value), target) {
        (Some(scheme), _) => format!("a {scheme} URL is not Postgres: {remedy}"),
        (None, Ok(target)) => format!("{target} is not a Postgres URL: {remedy}"),
        (None, Err(failure)) => failure.message,
    };
    Err(settings.invalid(Opt::Database, &message))
}

/// The scheme of a URL that is of something other than Postgres.
fn foreign_scheme(value: &str) -> Option<String> {
    let text = value.trim_start_matches([' ', '"', '\'']);
    if is_sqlite(text) {
        return text.split_once(':').map(|(scheme, _)| format!("{scheme}:"));
    }
    let scheme = text.split_once("://")?.0.to_ascii_lowercase();
    (is_scheme(&scheme) && !PostgresUrl::is_meant_by(text)).then(|| format!("{scheme}://"))
}
