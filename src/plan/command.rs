//! COMMAND as it was typed, expanded where that is asked for.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::cli::{Opt, is_reference};
use crate::environment::expand::expand;
use crate::exit::Failure;
use crate::settings::Settings;

/// COMMAND with its arguments, never empty. Where `--program` may stand before it, `is_program` tells whether there is
/// a program of a name.
///
/// # Errors
/// 125: there is none, or it can't be expanded.
pub(super) fn command(
    settings: &Settings<'_>,
    is_program: Option<&dyn Fn(&OsStr) -> bool>,
) -> Result<Vec<OsString>, Failure> {
    let typed = &settings.typed.operands;
    let given = if settings.switch(Opt::ExpandArgs)? {
        expanded(settings)?
    } else {
        typed.clone()
    };
    let command = match is_program {
        Some(is_program) => behind_program(settings, given, is_program)?,
        None => given,
    };
    if command.first().is_none_or(|name| name.is_empty()) {
        let name = settings.typed.mode.name();
        return Err(Failure::failed(format!(
            "there is no COMMAND: say what to run, e.g. {name} -- uvicorn main:app (see '{name} --help')"
        )));
    }
    Ok(command)
}

/// What was given, with `--program` before it where that is none itself.
fn behind_program(
    settings: &Settings<'_>,
    given: Vec<OsString>,
    is_program: &dyn Fn(&OsStr) -> bool,
) -> Result<Vec<OsString>, Failure> {
    let needs_none = |name: &OsString| !name.as_bytes().starts_with(b"-") && is_program(name);
    Ok(match program(settings)? {
        Some(program) if !given.first().is_some_and(needs_none) => [program, given].concat(),
        _ => given,
    })
}

/// `--program`, one command.
fn program(settings: &Settings<'_>) -> Result<Option<Vec<OsString>>, Failure> {
    let mut commands = settings.commands(Opt::Program)?.into_iter().flatten();
    let program = commands.next();
    if commands.next().is_some() || settings.has_guards(Opt::Program) {
        let why = "it is one command, without && and if:, which COMMAND's arguments are put behind";
        return Err(settings.invalid(Opt::Program, why));
    }
    Ok(program)
}

/// An argument that is as a whole one `:-` or `:+` and comes out empty drops out.
fn expanded(settings: &Settings<'_>) -> Result<Vec<OsString>, Failure> {
    let mut command = Vec::with_capacity(settings.typed.operands.len());
    for argument in &settings.typed.operands {
        let value = expand(argument, settings.environment)
            .map_err(|error| Failure::failed(format!("--expand-args: {error}")))?;
        if !value.vanished || !is_reference(argument.as_bytes()) {
            command.push(value.text);
        }
    }
    Ok(command)
}
