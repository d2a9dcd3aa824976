//! What was typed: the options of every command, their help texts, and the command line as clap read it.
//! Nothing is decided here and nothing happens.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use mode::Mode;

use crate::exit::Failure;
use crate::features::{self, Feature};
use crate::wording::named;

mod getopt;
pub mod mode;
mod options;
pub mod stand_in;
mod typed;
mod values;

pub use crate::cli::options::{OPTIONS, Opt, OptionSpec};
pub use crate::cli::typed::{Asked, Typed};
pub use crate::cli::values::{Split, ValueKind, is_reference, reference_length, unit_length};

const OPERANDS: &str = "operands";
const TARGET_FORMS: [(&str, Option<Feature>); 9] = [
    ("postgres://…", Some(Feature::Postgres)),
    ("http://…", None),
    ("https://…", Some(Feature::Tls)),
    ("http+unix:///socket:/path", None),
    ("redis://…", Some(Feature::Redis)),
    ("tcp://host:port", None),
    ("host:port", None),
    ("unix:///path", None),
    ("file:///path", None),
];

/// What to do about the option that was the default's opposite once.
pub const CHILD_ONLY_IS_GONE: &str = "signals go to COMMAND alone by default now: leave it out (--signal-group is for its whole process group)";

const EXIT_CODES: &str = "Exit codes:
  0-255    COMMAND's own; 128+n when signal n ended it, or ended the run before it; a failed migration's own
  124      a wait, or the wait for the lock, timed out
  125      portero itself failed: usage, configuration, a drop that did not work, a dependency that says no
  126/127  COMMAND (or a migration) can't be executed / was not found";
const HEALTH_EXIT_CODES: &str = "Exit codes:
  0  healthy
  1  unhealthy, whatever the reason";

/// Reads the arguments, without the program's name.
///
/// # Errors
/// Usage errors (125), one line each.
pub fn parse(arguments: &[OsString]) -> Result<Asked, Failure> {
    let (mode, arguments) = Mode::of(arguments);
    let mut typed = Typed::nothing(mode);
    if let Some(operands) = plain_operands(mode, arguments) {
        typed.operands = operands.to_vec();
        refuse_empty(&typed)?;
        return Ok(Asked::Work(typed));
    }
    let program = OsString::from(mode.name());
    let line = || std::iter::once(&program).chain(arguments);
    match command(mode, Texts::Left).try_get_matches_from(line()) {
        Ok(mut matches) => {
            typed.operands = matches.remove_many(OPERANDS).unwrap_or_default().collect();
            if mode == Mode::Run {
                refuse_late_subcommand(arguments, &typed.operands)?;
            }
            for option in options_of(mode) {
                typed.values[option.opt as usize] = take(&mut matches, option);
            }
            refuse_empty(&typed)?;
            Ok(Asked::Work(typed))
        }
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp => {
                let help = command(mode, Texts::Given).try_get_matches_from(line());
                let error = help.err().unwrap_or(error);
                Ok(Asked::Print(error.to_string()))
            }
            ErrorKind::DisplayVersion => Ok(Asked::Print(version(mode))),
            _ => Err(usage_failure(mode, &error)),
        },
    }
}

fn version(mode: Mode) -> String {
    let number = env!("CARGO_PKG_VERSION");
    format!("{} {number} ({})\n", mode.name(), features::built())
}

/// What a shell makes of `--wait "$UNSET"` is no wait: it must not pass as one. COMMAND's arguments are its own.
fn refuse_empty(typed: &Typed) -> Result<(), Failure> {
    let refused = |what: &str| {
        Err(Failure::failed(format!(
            "{what}: it is empty: give it a value, or leave it out"
        )))
    };
    for option in options_of(typed.mode) {
        let is_empty = |value: &OsString| match option.kind {
            ValueKind::Switch => false,
            ValueKind::Value => value.is_empty(),
            ValueKind::List(split) => split.items(value).next().is_none(),
        };
        if typed.values(option.opt).iter().any(is_empty) {
            return refused(&option.typed_name());
        }
    }
    let has_targets = matches!(typed.mode, Mode::Wait | Mode::Healthcheck);
    let is_empty = |target: &OsString| Split::Words.items(target).next().is_none();
    if has_targets && typed.operands.iter().any(is_empty) {
        return refused("TARGET");
    }
    Ok(())
}

/// `portero -v wait` is meant for the subcommand, and no program is called so; with `--` before it, it is one.
fn refuse_late_subcommand(arguments: &[OsString], operands: &[OsString]) -> Result<(), Failure> {
    let (Mode::Wait | Mode::Migrate | Mode::Healthcheck, _) = Mode::of(operands) else {
        return Ok(());
    };
    let before = &arguments[..arguments.len().saturating_sub(operands.len())];
    if before.is_empty() || before.last().is_some_and(|last| last == "--") {
        return Ok(());
    }
    let name = operands[0].display();
    Err(Failure::failed(format!(
        "the subcommand comes first: portero {name} [OPTIONS]; for a program called {name} put -- before it"
    )))
}

/// All arguments, where there is no option among them. That is the usual way to be called (`portero -- COMMAND`,
/// `portero healthcheck`), it has nothing for clap to read, and clap is half of the start-up.
fn plain_operands(mode: Mode, arguments: &[OsString]) -> Option<&[OsString]> {
    let is_option = |argument: &OsString| argument.as_encoded_bytes().starts_with(b"-");
    match mode {
        // What follows COMMAND is its own.
        Mode::Run | Mode::Migrate => match arguments {
            [first, rest @ ..] if first == "--" => Some(rest),
            [first, ..] if is_option(first) => None,
            _ => Some(arguments),
        },
        Mode::Wait | Mode::Healthcheck => (!arguments.iter().any(is_option)).then_some(arguments),
    }
}

fn take(matches: &mut ArgMatches, option: &OptionSpec) -> Vec<OsString> {
    match option.kind {
        ValueKind::Switch if matches.get_flag(option.long) => vec![OsString::new()],
        ValueKind::Switch => Vec::new(),
        ValueKind::Value | ValueKind::List(_) => matches
            .remove_many(option.long)
            .unwrap_or_default()
            .collect(),
    }
}

/// The options that `mode` takes.
pub fn options_of(mode: Mode) -> impl Iterator<Item = &'static OptionSpec> {
    let built = OPTIONS.iter().filter(|option| option.lacking().is_none());
    built.filter(move |option| option.is_of(mode))
}

/// Whether help texts are made: nobody reads them unless they are asked for, and they cost half of what clap does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Texts {
    Left,
    Given,
}

fn command(mode: Mode, texts: Texts) -> Command {
    let exit_codes = if mode == Mode::Healthcheck {
        HEALTH_EXIT_CODES
    } else {
        EXIT_CODES
    };
    Command::new(mode.name())
        .about(mode.about())
        .override_usage(mode.usage())
        .version(env!("CARGO_PKG_VERSION"))
        .after_long_help(exit_codes)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .arg(operand(mode))
        .args(options_of(mode).map(|option| argument(mode, option, texts)))
}

fn argument(mode: Mode, option: &'static OptionSpec, texts: Texts) -> Arg {
    let arg = Arg::new(option.long);
    let arg = match option.short {
        Some(short) => arg.short(short),
        None => arg.long(option.long),
    };
    let arg = match option.kind {
        ValueKind::Switch => arg.action(ArgAction::SetTrue),
        ValueKind::Value => value(arg, option).action(ArgAction::Set),
        ValueKind::List(_) => value(arg, option).action(ArgAction::Append),
    };
    if texts == Texts::Left {
        return arg;
    }
    arg.help_heading(option.heading(mode))
        .help(option.help)
        .long_help(option.long_help())
}

fn value(arg: Arg, option: &'static OptionSpec) -> Arg {
    arg.value_name(option.value_name)
        .value_parser(value_parser!(OsString))
}

/// clap's error as one line that repeats no value: it may be a password in the wrong place.
fn usage_failure(mode: Mode, error: &clap::Error) -> Failure {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => option_part(argument),
        Some(ContextValue::Strings(arguments)) => {
            arguments.first().map_or("", |first| option_part(first))
        }
        _ => "",
    };
    let argument = &*named(argument);
    let what = match error.kind() {
        ErrorKind::UnknownArgument if argument == "--signal-child-only" => {
            return Failure::failed(format!("option '{argument}' is gone: {CHILD_ONLY_IS_GONE}"));
        }
        ErrorKind::UnknownArgument if let Some(why) = lacking(argument) => {
            return Failure::failed(format!("option '{argument}': {why}"));
        }
        ErrorKind::UnknownArgument => {
            let hint = match mode {
                Mode::Run | Mode::Migrate => "; if it is COMMAND's, -- is missing before COMMAND",
                Mode::Wait | Mode::Healthcheck => "",
            };
            format!("unknown option '{argument}'{hint}")
        }
        ErrorKind::InvalidValue => format!("option '{argument}' needs a value"),
        ErrorKind::TooManyValues => format!("option '{argument}' takes no value"),
        kind => format!(
            "{} '{argument}'",
            kind.as_str()
                .unwrap_or("the command line can't be understood at")
        ),
    };
    Failure::failed(format!("{what} (see '{} --help')", mode.name()))
}

/// Why this build does not know an option that others have.
fn lacking(argument: &str) -> Option<String> {
    let mut options = OPTIONS.iter();
    let option = options.find(|option| option.typed_name() == argument)?;
    option.lacking()
}

fn option_part(argument: &str) -> &str {
    argument.split(['=', ' ']).next().unwrap_or_default()
}

/// What `name` is called where only the letters of a variable's name are allowed.
pub fn is_own_variable(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"PORTERO_")
}

/// How targets are spelled, of those that this build has.
fn target_help() -> String {
    let forms = TARGET_FORMS.iter();
    let built = forms.filter(|(_, needs)| needs.is_none_or(Feature::is_built));
    let forms: Vec<_> = built.map(|(form, _)| *form).collect();
    format!(
        "{}, or the NAME of a variable that holds one",
        forms.join(", ")
    )
}

/// What follows the options.
fn operand(mode: Mode) -> Arg {
    let (name, help) = match mode {
        Mode::Run => (
            "COMMAND",
            "What to run and supervise, with its arguments".to_owned(),
        ),
        Mode::Migrate => ("COMMAND", "The migration, with its arguments".to_owned()),
        Mode::Wait | Mode::Healthcheck => ("TARGET", target_help()),
    };
    let arg = Arg::new(OPERANDS)
        .value_name(name)
        .help(help)
        .num_args(0..)
        .value_parser(value_parser!(OsString));
    arg.trailing_var_arg(matches!(mode, Mode::Run | Mode::Migrate))
}

#[cfg(test)]
#[cfg(all(feature = "postgres", feature = "redis"))]
mod manual;
#[cfg(test)]
#[cfg(all(feature = "postgres", feature = "redis"))]
mod tests;
