//! COMMAND as it was typed, expanded where that is asked for.

use std::ffi::OsString;

use crate::cli::Opt;
use crate::environment::expand::expand;
use crate::exit::Failure;
use crate::settings::Settings;

/// COMMAND with its arguments, never empty.
///
/// # Errors
/// 125: there is none, or it can't be expanded.
pub(super) fn command(settings: &Settings<'_>) -> Result<Vec<OsString>, Failure> {
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
