//! COMMAND as it was typed, expanded where that is asked for.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::cli::{Opt, is_reference};
use crate::environment::expand::expand;
use crate::exit::Failure;
use crate::settings::Settings;

/// COMMAND with its arguments, never empty.
///
/// # Errors
/// 125: there is none, or it can't be expanded.
pub(super) fn command(settings: &Settings<'_>) -> Result<Vec<OsString>, Failure> {
    let typed = &settings.typed.operands;
    let command = if settings.switch(Opt::ExpandArgs)? {
        expanded(settings)?
    } else {
        typed.clone()
    };
    if command.first().is_none_or(|name| name.is_empty()) {
        let name = settings.typed.mode.name();
        return Err(Failure::failed(format!(
            "there is no COMMAND: say what to run, e.g. {name} -- uvicorn main:app (see '{name} --help')"
        )));
    }
    Ok(command)
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
