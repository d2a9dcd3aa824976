//! What `portero COMMAND` comes to.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cli::{CHILD_ONLY_IS_GONE, OPTIONS, Opt, OptionSpec, options_of};
use crate::environment::Environment;
use crate::environment::expand::PROCESSORS;
use crate::environment::resolved::Resolved;
use crate::exit::{Exit, Failure};
use crate::identity::IdentityPlan;
use crate::plan::command::command;
use crate::plan::identity::identity;
use crate::plan::migrate::{self, Chain, MigratePlan, PREPARES};
use crate::plan::stage::Stage;
use crate::plan::supervision::supervision;
use crate::plan::wait::{WAITED, WaitPlan};
use crate::settings::{HEALTH_TARGETS, Settings, switch_word};
use crate::supervise::{Supervision, stops};
use crate::sys::signal_names;
use crate::wording::{named, shown};

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
    /// `--prepare`, when that stage runs.
    pub prepare: Vec<Chain>,
    /// How COMMAND is supervised.
    pub supervision: Supervision,
    /// `--map-exit`: from, to.
    pub map_exit: Vec<(u8, u8)>,
    /// The signal that portero gets when its parent dies.
    pub parent_death: Option<i32>,
    /// Replace portero by COMMAND.
    pub exec: bool,
    /// What is worth a warning, though not a failure.
    pub warnings: Vec<String>,
    /// That steps that are set are left out, as COMMAND is none of `--only-for`: a wrapper before the command must not
    /// start it unmigrated without a word.
    pub left_out: Option<String>,
    /// Options typed on the command line, as the variables by which a stage gets them.
    typed: Vec<(String, OsString)>,
}

impl RunPlan {
    /// What `portero COMMAND` comes to. `is_program` is asked only where `--program` may stand before COMMAND.
    ///
    /// # Errors
    /// 125: usage errors.
    pub fn new(
        settings: &Settings<'_>,
        resolved: &Resolved,
        is_program: &dyn Fn(&OsStr) -> bool,
    ) -> Result<Self, Failure> {
        let command = command(settings, Some(is_program))?;
        let name = command.first().map(OsString::as_os_str).unwrap_or_default();
        let skipped = skipped_steps(settings)?;
        let only_for = settings.list(Opt::OnlyFor)?;
        let has_steps =
            only_for.is_empty() || only_for.iter().any(|known| begins_with(&command, known));
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
            // What is skipped is not looked at: its variables may be another place's.
            if runs("migrate") {
                migrate::check(settings)?;
            }
            None
        };
        let prepare = if runs("prepare") {
            settings.commands(Opt::Prepare)?
        } else {
            Vec::new()
        };
        let stages = [
            wait.as_ref().map(|_| Stage::Wait),
            migrate.as_ref().map(|_| Stage::Migrate),
            (!prepare.is_empty()).then_some(Stage::Prepare),
        ];
        Ok(Self {
            warnings: warnings(settings, &command)?,
            environment: resolved.environment.clone(),
            identity: identity(settings)?,
            stages: stages.into_iter().flatten().collect(),
            wait,
            migrate,
            prepare,
            supervision: supervision(settings)?,
            map_exit: settings
                .list(Opt::MapExit)?
                .iter()
                .map(|item| map_exit(settings, item))
                .collect::<Result<_, _>>()?,
            parent_death: parent_death(settings)?,
            exec: replaces(settings)?,
            left_out: if has_steps {
                None
            } else {
                left_out(settings, name, &skipped)?
            },
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
        for option in OPTIONS.iter().filter(|option| !option.is_for_stages) {
            environment.remove(option.variable());
        }
        let map = stops::handed_down(&self.supervision.map)
            .describe()
            .join(" ");
        environment.set(OPTIONS[Opt::MapSignal as usize].variable(), map);
        if stage == Stage::Prepare {
            let variable = |opt: Opt| OPTIONS[opt as usize].variable();
            let commands = environment
                .get(variable(Opt::Prepare))
                .map(OsStr::to_os_string);
            environment.set(variable(Opt::Migrate), commands.unwrap_or_default());
            environment.remove(variable(Opt::Database));
            environment.remove(variable(Opt::MigrateOnce));
            environment.set(variable(Opt::NoLock), "1");
            environment.set(PREPARES, "1");
        }
        if stage != Stage::Wait {
            // A migration is told as a whole, whatever COMMAND is.
            environment.set(OPTIONS[Opt::SignalGroup as usize].variable(), "1");
            environment.remove(OPTIONS[Opt::Wait as usize].variable());
            if self.wait.is_some() {
                environment.set(WAITED, "1");
            }
        }
        environment
    }

    /// How a stage is supervised: it gets all as it comes, and maps for itself.
    pub fn stage_supervision(&self) -> Supervision {
        Supervision {
            map: stops::as_received(&self.supervision.map),
            ..Supervision::default()
        }
    }
}

/// tini's `-p`.
fn parent_death(settings: &Settings<'_>) -> Result<Option<i32>, Failure> {
    let number = |name: &String| {
        let wrong = || format!("-p: {} is no signal", shown(name));
        // A real-time signal the C library's names have, and tini's do not.
        let number = signal_names::number(name).filter(|number| *number <= 31);
        number.ok_or_else(|| Failure::new(Exit::Command(1), wrong()))
    };
    settings.typed.parent_death.as_ref().map(number).transpose()
}

/// `--exec`. What is typed beside it and would do nothing is an error; an image's environment may well hold some.
fn replaces(settings: &Settings<'_>) -> Result<bool, Failure> {
    let exec = settings.switch(Opt::Exec)?;
    let is_typed = |option: &&OptionSpec| !settings.typed.values(option.opt).is_empty();
    // Who can't change another tool's line must not find it refused.
    let is_own = !settings.typed.is_of_stand_in();
    let mut useless = OPTIONS
        .iter()
        .filter(|option| option.supervises() && is_own);
    match useless.find(is_typed) {
        Some(option) if exec => Err(settings.invalid(
            Opt::Exec,
            &format!(
                "COMMAND replaces portero, so {} would do nothing: leave out one of the two",
                option.typed_name()
            ),
        )),
        _ => Ok(exec),
    }
}

/// Whether COMMAND begins with the words of an item of `--only-for`. One without a `/` is a path's file name, too.
fn begins_with(command: &[OsString], item: &OsStr) -> bool {
    let is_space = |byte: &u8| byte.is_ascii_whitespace();
    let words = item
        .as_bytes()
        .split(is_space)
        .filter(|word| !word.is_empty());
    let mut arguments = command.iter();
    let mut fits = words.map(OsStr::from_bytes).map(|word| {
        arguments
            .next()
            .is_some_and(|argument| argument == word || is_named(argument, word))
    });
    fits.all(|fits| fits)
}

fn is_named(command: &OsStr, name: &OsStr) -> bool {
    Path::new(command).file_name() == Some(name)
}

fn left_out(
    settings: &Settings<'_>,
    command: &OsStr,
    skipped: &[&str],
) -> Result<Option<String>, Failure> {
    let waits = !settings.list(Opt::Wait)?.is_empty() || settings.is_given(Opt::Database);
    let migrates = !settings.commands(Opt::Migrate)?.is_empty();
    let prepares = !settings.commands(Opt::Prepare)?.is_empty();
    let steps = [
        ("wait", waits),
        ("migrate", migrates),
        ("prepare", prepares),
    ];
    let steps = steps
        .iter()
        .filter(|(step, set)| *set && !skipped.contains(step));
    let steps: Vec<&str> = steps.map(|(step, _)| *step).collect();
    let are = if steps.len() == 1 { "is" } else { "are" };
    Ok((!steps.is_empty()).then(|| {
        format!(
            "{} {are} left out: COMMAND is {}, which {} does not name",
            steps.join(" and "),
            shown(command),
            settings.origin(Opt::OnlyFor)
        )
    }))
}

fn skipped_steps(settings: &Settings<'_>) -> Result<Vec<&'static str>, Failure> {
    const STEPS: [&str; 3] = ["wait", "migrate", "prepare"];
    let mut skipped = Vec::new();
    for item in settings.list(Opt::Skip)? {
        let word = item.to_string_lossy();
        match STEPS.into_iter().find(|step| *step == word) {
            Some(step) => skipped.push(step),
            None => match switch_word(&word) {
                Some(true) => skipped.extend(STEPS),
                Some(false) => {}
                None => {
                    let why = format!("{} is not wait, migrate or prepare", shown(&item));
                    return Err(settings.invalid(Opt::Skip, &why));
                }
            },
        }
    }
    Ok(skipped)
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
            &format!("{} is not CODE=CODE, each 0-255, e.g. 143=0", shown(item)),
        )
    })
}

/// What was typed, as the variables that say the same.
fn typed_variables(settings: &Settings<'_>) -> Vec<(String, OsString)> {
    let mut variables = Vec::new();
    for option in options_of(settings.typed.mode) {
        let values = settings.typed.values(option.opt);
        let value = match (option.kind, values) {
            (_, []) => match settings.typed.implied(option.opt) {
                Some(value) if settings.environment.given(option.variable()).is_none() => {
                    value.into()
                }
                _ => continue,
            },
            (crate::cli::ValueKind::Switch, _) => OsString::from("1"),
            (crate::cli::ValueKind::Value, [.., last]) => last.clone(),
            (crate::cli::ValueKind::List(split), values) => {
                values.join(OsStr::new(split.separator()))
            }
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
    let own = settings.environment.own();
    for (name, _) in own.filter(|_| !settings.typed.is_dropper) {
        let name = name.to_string_lossy();
        if name == "PORTERO_SIGNAL_CHILD_ONLY" {
            warnings.push(format!("{name} is gone: {CHILD_ONLY_IS_GONE}"));
        } else if !is_known_variable(&name) {
            let name = named(&*name);
            warnings.push(format!("{name} is not a variable of portero's: a typo?"));
        }
    }
    let is_literal = |argument: &OsString| argument.to_string_lossy().contains("${");
    if !settings.typed.is_of_stand_in()
        && !settings.switch(Opt::ExpandArgs)?
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
    kubernetes || name == HEALTH_TARGETS || name == PROCESSORS || own()
}

fn is_shell(command: &OsStr) -> bool {
    ["sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"]
        .iter()
        .any(|shell| is_named(command, OsStr::new(shell)))
}
