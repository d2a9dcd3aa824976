//! `--secret`: a variable's value from the file that another one names, as the official images have it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::environment::Environment;
use crate::environment::resolved::Resolved;
use crate::exit::Failure;
use crate::supervise::helper;
use crate::{files, wording};

/// Makes each of `names` the content of the file that `NAME_FILE` names, less one trailing newline, where that is set.
/// The files are read by a helper process, as they may lie on a mount that is dead.
///
/// # Errors
/// 125; the line names the variable and the file, and never shows a value. The stop that came meanwhile.
pub fn read(
    resolved: &mut Resolved,
    names: &[String],
    stops: helper::Stops<'_>,
) -> Result<(), Failure> {
    let has_file = |name: &&String| resolved.environment.given(file_variable(name)).is_some();
    if names.iter().any(|name| has_file(&name)) {
        let environment = resolved.environment.clone();
        let answer = helper::run(stops, || read_all(environment, names))?;
        for entry in answer
            .split(|byte| *byte == 0)
            .filter(|entry| !entry.is_empty())
        {
            let (name, value) = split(entry);
            resolved
                .environment
                .remove(file_variable(&name.to_string_lossy()));
            resolved.environment.set(name, value);
            resolved.set.push(name.to_os_string());
        }
    }
    // One that was given as it is is to be shown no more than one from a file.
    for name in names {
        let value = resolved.environment.given(name).map(OsStr::to_os_string);
        resolved.secrets.extend(value);
        warn_of_mark(name, &resolved.environment);
    }
    Ok(())
}

fn file_variable(name: &str) -> String {
    format!("{name}_FILE")
}

/// What an editor of Windows puts before a text is a part of the value, which nobody sees.
fn warn_of_mark(name: &str, environment: &Environment) {
    let value = environment.given(name).map_or(&[][..], OsStr::as_bytes);
    if value.starts_with(b"\xef\xbb\xbf") {
        log::warn!("the secret {name} begins with a byte order mark, which becomes part of it");
    }
}

/// What the helper does: every `NAME=VALUE` that comes from a file, each with a NUL behind it.
fn read_all(mut environment: Environment, names: &[String]) -> Result<Vec<u8>, String> {
    let mut answer = Vec::new();
    for name in names {
        let file_variable = file_variable(name);
        let Some(path) = environment.given(&file_variable).map(OsStr::to_os_string) else {
            continue;
        };
        if environment.given(name).is_some() {
            return Err(format!(
                "{name} and {file_variable} are both set: which one counts? Remove one"
            ));
        }
        let value = read_one(name, Path::new(&path)).map_err(|error| {
            let path = wording::named(&path);
            format!("can't read the secret {name} from {path} ({file_variable}): {error}")
        })?;
        for part in [name.as_bytes(), b"=", &value, b"\0"] {
            answer.extend_from_slice(part);
        }
        // The next one's file may be named by this one.
        environment.set(name, OsString::from_vec(value));
    }
    Ok(answer)
}

fn split(entry: &[u8]) -> (&OsStr, &OsStr) {
    let equals = entry.iter().position(|byte| *byte == b'=');
    let (name, value) = entry.split_at(equals.unwrap_or(entry.len()));
    let value = value.get(1..).unwrap_or_default();
    (OsStr::from_bytes(name), OsStr::from_bytes(value))
}

fn read_one(name: &str, path: &Path) -> Result<Vec<u8>, String> {
    let (mut value, _) = files::read(path).map_err(|error| error.to_string())?;
    if value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
    if value.contains(&0) {
        return Err("it has a NUL byte, which no variable can hold".into());
    }
    if value.len() + name.len() > MAX_VARIABLE {
        return Err(format!(
            "it is larger than the {MAX_VARIABLE} bytes that a variable can hold: hand the file itself to COMMAND"
        ));
    }
    Ok(value)
}

/// A variable has at most 128 KiB (`execve(2)`, `MAX_ARG_STRLEN`), less `=` and NUL.
const MAX_VARIABLE: usize = 128 * 1024 - 2;
