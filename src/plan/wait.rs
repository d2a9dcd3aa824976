//! What `portero wait` comes to, and the database that others wait for too.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::Opt;
use crate::exit::Failure;
use crate::net::verification::Verification;
use crate::probe::target::Target;
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
        if plan.targets.is_empty() {
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

/// The database, when there is one. It is Postgres or an error: no other has this lock.
pub(super) fn database(settings: &Settings<'_>) -> Result<Option<Target>, Failure> {
    // A bare variable's name stands for its value to the letter; all else is expanded like any option.
    let Some(text) = settings.value(Opt::Database)? else {
        return Ok(None);
    };
    let remedy = "only Postgres can hold the migration lock: use --wait TARGET, and --no-lock for the migrations";
    let target = Target::parse(&text, settings.environment).map_err(|failure| {
        let value = settings.environment.given(&text).unwrap_or(&text);
        let message = foreign_scheme(value)
            .map(|scheme| format!("a {scheme}:// URL is not Postgres: {remedy}"));
        settings.invalid(Opt::Database, message.as_ref().unwrap_or(&failure.message))
    })?;
    if target.postgres().is_none() {
        return Err(settings.invalid(
            Opt::Database,
            &format!("{target} is not a Postgres URL: {remedy}"),
        ));
    }
    Ok(Some(target))
}

/// The scheme of a URL that is of something other than Postgres. Only what RFC 3986, 3.1 takes for one is shown: what
/// comes before `://` in other text may have a password in it.
fn foreign_scheme(value: &OsStr) -> Option<String> {
    let text = value.to_str()?.trim_start_matches([' ', '"', '\'']);
    let scheme = text.split_once("://")?.0.to_ascii_lowercase();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    (is_scheme && !scheme.starts_with("postgres")).then_some(scheme)
}
