//! What is meant: the typed plans that the command line and the environment come to. Made purely: nothing here reads a
//! file, asks the system, or prints.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use crate::cli::{Mode, OPTIONS, Opt, is_own_variable, options_of};
use crate::database::once::{Once, Table};
use crate::exit::Failure;
use crate::init::signals::SignalMap;
use crate::init::supervise::Supervision;
use crate::logger::Format;
use crate::probe::http::{Expectation, StatusSet};
use crate::probe::{Verification, target::Target};
use crate::settings::Settings;
use crate::setup::capabilities::CapabilitySet;
use crate::setup::environment::{Environment, Resolved, parse_port};
use crate::setup::expand::expand;
use crate::setup::privileges::Privileges;

mod describe;
#[cfg(test)]
mod tests;

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
                &format!("'{other}' is not error, warn, info or debug"),
            ));
        }
    };
    let format = match settings.text(Opt::LogFormat)?.as_deref() {
        Some("text") | None => Format::Text,
        Some("json") => Format::Json,
        Some(other) => {
            return Err(settings.invalid(Opt::LogFormat, &format!("'{other}' is not text or json")));
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

impl RunPlan {
    /// What `portero COMMAND` comes to.
    ///
    /// # Errors
    /// 125: usage errors.
    pub fn new(settings: &Settings<'_>, resolved: &Resolved) -> Result<Self, Failure> {
        let command = command(settings)?;
        let name = command.first().map(OsString::as_os_str).unwrap_or_default();
        let skipped = skipped_steps(settings)?;
        let only_for = settings.list(Opt::OnlyFor)?;
        let has_steps = only_for.is_empty() || only_for.iter().any(|known| is_named(name, known));
        let runs = |step: &str| has_steps && !skipped.contains(&step);
        let wait = if runs("wait") {
            Some(WaitPlan::of_run(settings)?).filter(|plan| !plan.targets.is_empty())
        } else {
            None
        };
        let migrates = runs("migrate") && !settings.commands(Opt::Migrate)?.is_empty();
        let migrate = if migrates {
            Some(MigratePlan::new(settings)?)
        } else {
            None
        };
        let stages = [
            wait.as_ref().map(|_| Stage::Wait),
            migrate.as_ref().map(|_| Stage::Migrate),
        ];
        Ok(Self {
            warnings: warnings(settings, &command)?,
            environment: resolved.environment.clone(),
            identity: identity(settings)?,
            stages: stages.into_iter().flatten().collect(),
            wait,
            migrate,
            supervision: supervision(settings)?,
            map_exit: settings
                .list(Opt::MapExit)?
                .iter()
                .map(|item| map_exit(settings, item))
                .collect::<Result<_, _>>()?,
            exec: settings.switch(Opt::Exec)?,
            typed: typed_variables(settings),
            command,
        })
    }

    /// The environment of a stage: the resolved one, with what was typed as variables, less what is done already or
    /// concerns COMMAND alone.
    pub fn stage_environment(&self, stage: Stage) -> Environment {
        let mut environment = self.environment.clone();
        for (variable, value) in &self.typed {
            environment.set(variable, value);
        }
        // The names of the secrets stay, so that a stage shows their values no more than portero does.
        let done: &[Opt] = &[
            Opt::DefaultPort,
            Opt::Default,
            Opt::User,
            Opt::Chown,
            Opt::KeepCap,
            Opt::MapSignal,
            Opt::MapExit,
            Opt::StopDelay,
            Opt::Exec,
            Opt::Skip,
            Opt::OnlyFor,
        ];
        for opt in done {
            environment.remove(OPTIONS[*opt as usize].variable());
        }
        if stage == Stage::Migrate {
            environment.remove(OPTIONS[Opt::Wait as usize].variable());
        }
        environment
    }

    /// How a stage is supervised: it maps and delays for itself what it needs to, and takes all else as it comes.
    pub fn stage_supervision(&self) -> Supervision {
        Supervision {
            map: self.supervision.map.drops(),
            ..Supervision::default()
        }
    }
}

fn command(settings: &Settings<'_>) -> Result<Vec<OsString>, Failure> {
    let typed = &settings.typed.operands;
    if typed.first().is_none_or(|name| name.is_empty()) {
        let name = settings.typed.mode.name();
        return Err(Failure::failed(format!(
            "there is no COMMAND: say what to run, e.g. {name} -- uvicorn main:app (see '{name} --help')"
        )));
    }
    if !settings.switch(Opt::ExpandArgs)? {
        return Ok(typed.clone());
    }
    let expand_argument =
        |argument: &OsString| expand(argument, settings.environment).map(|expanded| expanded.text);
    let expanded: Result<Vec<OsString>, String> = typed.iter().map(expand_argument).collect();
    expanded.map_err(|error| Failure::failed(format!("--expand-args: {error}")))
}

fn is_named(command: &OsStr, name: &OsStr) -> bool {
    std::path::Path::new(command).file_name() == Some(name)
}

fn skipped_steps(settings: &Settings<'_>) -> Result<Vec<&'static str>, Failure> {
    let step = |item: OsString| match item.to_str() {
        Some("wait") => Ok("wait"),
        Some("migrate") => Ok("migrate"),
        _ => Err(settings.invalid(
            Opt::Skip,
            &format!("'{}' is not wait or migrate", item.display()),
        )),
    };
    settings.list(Opt::Skip)?.into_iter().map(step).collect()
}

fn map_exit(settings: &Settings<'_>, item: &OsStr) -> Result<(u8, u8), Failure> {
    let code = |text: &str| {
        text.parse()
            .ok()
            .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let codes = item.to_str().and_then(|text| text.split_once('='));
    let codes = codes.and_then(|(from, to)| Some((code(from)?, code(to)?)));
    codes.ok_or_else(|| {
        settings.invalid(
            Opt::MapExit,
            &format!(
                "'{}' is not CODE=CODE, each 0-255, e.g. 143=0",
                item.display()
            ),
        )
    })
}

fn supervision(settings: &Settings<'_>) -> Result<Supervision, Failure> {
    let mut map = SignalMap::default();
    for item in settings.list(Opt::MapSignal)? {
        map.add(&item.to_string_lossy())
            .map_err(|error| settings.invalid(Opt::MapSignal, &error))?;
    }
    Ok(Supervision {
        child_only: settings.switch(Opt::SignalChildOnly)?,
        map,
        stop_delay: settings.limit(Opt::StopDelay)?,
        stop_timeout: settings.limit(Opt::StopTimeout)?,
        orphan_grace: settings.limit(Opt::OrphanGrace)?,
    })
}

/// What was typed, as the variables that say the same.
fn typed_variables(settings: &Settings<'_>) -> Vec<(String, OsString)> {
    let mut variables = Vec::new();
    for option in options_of(settings.typed.mode) {
        let values = settings.typed.values(option.opt);
        let value = match (option.kind, values) {
            (_, []) => continue,
            (crate::cli::Kind::Switch, _) => OsString::from("1"),
            (crate::cli::Kind::Value, [.., last]) => last.clone(),
            (crate::cli::Kind::List(split), values) => values.join(OsStr::new(split.separator())),
        };
        match option.opt {
            Opt::Quiet => variables.push(("PORTERO_LOG_LEVEL".into(), "error".into())),
            Opt::Verbose => variables.push(("PORTERO_LOG_LEVEL".into(), "debug".into())),
            _ if option.has_variable() => variables.push((option.variable(), value)),
            _ => {}
        }
    }
    variables
}

/// A typo in a variable must not pass silently; neither must a `${…}` that nobody will expand.
fn warnings(settings: &Settings<'_>, command: &[OsString]) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for (name, _) in settings
        .environment
        .iter()
        .filter(|(name, _)| is_own_variable(name))
    {
        let name = name.to_string_lossy();
        if !is_known_variable(&name) {
            warnings.push(format!("{name} is not a variable of portero's: a typo?"));
        }
    }
    let is_literal = |argument: &OsString| argument.to_string_lossy().contains("${");
    if !settings.switch(Opt::ExpandArgs)?
        && !is_shell(&command[0])
        && command.iter().any(is_literal)
    {
        // The argument itself is not shown: it may hold a password.
        warnings.push(
            "COMMAND gets a literal ${…} in its arguments: --expand-args would expand it".into(),
        );
    }
    Ok(warnings)
}

fn is_known_variable(name: &str) -> bool {
    let kubernetes = name == "PORTERO_PORT"
        || name.starts_with("PORTERO_PORT_")
        || name.starts_with("PORTERO_SERVICE_");
    let own = || {
        OPTIONS
            .iter()
            .any(|option| option.has_variable() && option.variable() == name)
    };
    kubernetes || name == HEALTH_TARGETS || own()
}

fn is_shell(command: &OsStr) -> bool {
    ["sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"]
        .iter()
        .any(|shell| is_named(command, OsStr::new(shell)))
}

fn verification(
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
fn database(settings: &Settings<'_>) -> Result<Option<Target>, Failure> {
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

impl WaitPlan {
    /// `--wait` and `--database`.
    fn of_run(settings: &Settings<'_>) -> Result<Self, Failure> {
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
        })
    }
}

impl MigratePlan {
    /// What `portero migrate` comes to: its operands as one command, else `--migrate`.
    ///
    /// # Errors
    /// 125: usage errors, nothing to run, neither a database nor `--no-lock`.
    pub fn new(settings: &Settings<'_>) -> Result<Self, Failure> {
        let is_subcommand = settings.typed.mode == Mode::Migrate;
        let commands = if is_subcommand && !settings.typed.operands.is_empty() {
            vec![vec![command(settings)?]]
        } else {
            settings.commands(Opt::Migrate)?
        };
        if commands.is_empty() {
            return Err(Failure::failed(
                "there is nothing to migrate: say a COMMAND, or set PORTERO_MIGRATE",
            ));
        }
        let unguarded = settings.switch(Opt::NoLock)?;
        let database = database(settings)?.filter(|_| !unguarded);
        if database.is_none() && !unguarded {
            return Err(settings.invalid(
                Opt::Migrate,
                "needs --database for its lock, or --no-lock to run without one",
            ));
        }
        Ok(Self {
            wait: WaitPlan::of_run(settings)?,
            database,
            commands,
            lock_name: settings
                .text(Opt::LockName)?
                .ok_or_else(|| settings.invalid(Opt::LockName, "it is empty"))?,
            lock_timeout: settings.limit(Opt::LockTimeout)?,
            once: once(settings, unguarded)?,
            supervision: supervision(settings)?,
        })
    }
}

/// `--migrate-once` and `--migrate-table`. Without the lock nothing may be recorded: two could migrate at once.
fn once(settings: &Settings<'_>, unguarded: bool) -> Result<Option<Once>, Failure> {
    if !settings.is_given(Opt::MigrateOnce) {
        return Ok(None);
    }
    let refuse = |opt| move |why: String| settings.invalid(opt, &why);
    if unguarded {
        return Err(refuse(Opt::MigrateOnce)(
            "works under the migration lock only: leave out --no-lock, or this".into(),
        ));
    }
    let version = settings.text(Opt::MigrateOnce)?.unwrap_or_default();
    let table = settings.text(Opt::MigrateTable)?.unwrap_or_default();
    Ok(Some(Once {
        version: Once::version(&version).map_err(refuse(Opt::MigrateOnce))?,
        table: Table::parse(&table).map_err(refuse(Opt::MigrateTable))?,
    }))
}

/// The variable of `healthcheck`'s targets.
const HEALTH_TARGETS: &str = "PORTERO_HEALTH_TARGET";

impl ProbePlan {
    /// What `portero healthcheck` comes to: its operands, else `PORTERO_HEALTH_TARGET`, else the image's own port.
    ///
    /// # Errors
    /// Usage errors; the caller makes them 1.
    pub fn new(settings: &Settings<'_>) -> Result<Self, Failure> {
        let mut targets = Vec::new();
        for text in settings.targets(HEALTH_TARGETS)? {
            targets.push(Target::parse(&text, settings.environment)?);
        }
        if targets.is_empty() {
            let path = settings.text(Opt::Path)?.unwrap_or_default();
            targets.push(Target::own_http(health_port(settings)?, &path)?);
        }
        Ok(Self {
            targets,
            timeout: settings.limit(Opt::Timeout)?,
            expectation: expectation(settings)?,
            verification: verification(settings, Opt::HealthCaCert, Opt::HealthInsecure)?,
            live: settings.switch(Opt::Live)?,
        })
    }
}

fn health_port(settings: &Settings<'_>) -> Result<u16, Failure> {
    let typed = settings
        .value(Opt::Port)?
        .map(|port| (settings.origin(Opt::Port), port));
    let platform = || {
        settings
            .environment
            .given("PORT")
            .map(|port| (String::from("PORT"), port.to_os_string()))
    };
    let default = || {
        Ok::<_, Failure>(
            settings
                .value(Opt::DefaultPort)?
                .map(|port| (settings.origin(Opt::DefaultPort), port)),
        )
    };
    let given = match typed.or_else(platform) {
        Some(given) => Some(given),
        None => default()?,
    };
    let Some((origin, port)) = given else {
        return Err(Failure::failed(
            "no port is known: put ENV PORT=… in the Dockerfile, as the check runs with the image's environment",
        ));
    };
    parse_port(&port).ok_or_else(|| {
        Failure::failed(format!(
            "{origin}='{}' is not a port (1-65535)",
            port.display()
        ))
    })
}

fn expectation(settings: &Settings<'_>) -> Result<Expectation, Failure> {
    let mut headers = Vec::new();
    for header in settings.list(Opt::Header)? {
        let text = header.to_str().and_then(|text| text.split_once(':'));
        let (name, value) =
            text.ok_or_else(|| settings.invalid(Opt::Header, "an item is not 'Name: value'"))?;
        headers.push((name.trim().to_string(), value.trim().to_string()));
    }
    let status = settings.text(Opt::Status)?.unwrap_or_default();
    let expectation = Expectation {
        method: settings.text(Opt::Method)?.unwrap_or_default(),
        headers,
        status: StatusSet::parse(&status).map_err(|error| settings.invalid(Opt::Status, &error))?,
        contains: settings
            .value(Opt::Contains)?
            .map(OsString::into_encoded_bytes),
    };
    expectation.validate()?;
    Ok(expectation)
}
