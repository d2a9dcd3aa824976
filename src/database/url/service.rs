//! A connection service file: named groups of parameters (PostgreSQL manual, 34.17 "The Connection Service File").
//! They take 3.8 kB of the binary.

use std::io;
use std::path::PathBuf;

use crate::environment::Environment;
use crate::{files, wording};

/// Where Debian's libpq and others look for the system's own file; `PGSYSCONFDIR` names another directory.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/etc/postgresql-common", "/etc/postgresql", "/etc"];

/// The parameters of service `name`: keyword and value, in order.
///
/// # Errors
/// No file has the service, or one can't be read. The line does not show the name: it may be a part of a password.
pub(super) fn look_up(name: &str, env: &Environment) -> Result<Vec<(String, String)>, String> {
    for file in places(env) {
        let text = match files::read(&file) {
            Ok((bytes, _)) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let (file, why) = (wording::named(file), wording::error(&error));
                return Err(format!("can't read the service file {file}: {why}"));
            }
        };
        if let Some(parameters) = group(&text, name) {
            return Ok(parameters);
        }
    }
    Err("no service file defines the service that the database URL or PGSERVICE names (PGSERVICEFILE, ~/.pg_service.conf)".into())
}

/// The user's file, then the system's.
fn places(env: &Environment) -> Vec<PathBuf> {
    let own = env.given("PGSERVICEFILE").map(PathBuf::from).or_else(|| {
        env.given("HOME")
            .map(|home| PathBuf::from(home).join(".pg_service.conf"))
    });
    let directories = match env.given("PGSYSCONFDIR") {
        Some(directory) => vec![PathBuf::from(directory)],
        None => SYSTEM_DIRECTORIES.map(PathBuf::from).to_vec(),
    };
    let system = directories
        .into_iter()
        .map(|directory| directory.join("pg_service.conf"));
    own.into_iter().chain(system).collect()
}

/// The lines `keyword=value` below `[name]`.
pub fn group(text: &str, name: &str) -> Option<Vec<(String, String)>> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_head = |line: &str| {
        line.strip_prefix('[')
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(']'))
    };
    lines.find(|line| is_head(line))?;
    let pairs = lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='));
    Some(
        pairs
            .map(|(keyword, value)| (keyword.to_owned(), value.to_owned()))
            .collect(),
    )
}
