//! What is put right before anything runs: the environment, the user, the privileges.

use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::plan::IdentityPlan;
use crate::probe::files;
use environment::Environment;
use helper::Stops;
use privileges::Standing;

pub mod capabilities;
pub mod chown;
pub mod environment;
pub mod expand;
pub mod helper;
pub mod needed;
pub mod privileges;
#[cfg(test)]
mod properties;
mod secrets;
pub mod user;
pub mod words;

/// Gives the user that `plan` names what is to be given, becomes that user, when this process can, and sets `USER`,
/// `LOGNAME` and `HOME` in `environment`. What may take long a helper process does, which `stops` end.
///
/// # Errors
/// 125: a SPEC that is none, a PATH that can't be given, a drop that did not fully happen, root where
/// `--require-non-root` forbids it. The stop that came while files were given away.
pub fn become_user(
    plan: &IdentityPlan,
    environment: &mut Environment,
    stops: Stops<'_>,
) -> Result<(), Failure> {
    match &plan.user {
        Some(spec) => become_specified(spec, plan, environment, stops)?,
        None => keep_what_is_held(plan),
    }
    if plan.require_non_root && nix::unistd::Uid::effective().is_root() {
        return Err(Failure::failed(
            "--require-non-root: COMMAND would run as root: add USER to the Dockerfile, or --user",
        ));
    }
    Ok(())
}

fn become_specified(
    spec: &str,
    plan: &IdentityPlan,
    environment: &mut Environment,
    stops: Stops<'_>,
) -> Result<(), Failure> {
    let read = |path: &str| match files::read(Path::new(path)) {
        Ok((text, _)) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::failed(format!(
            "--user {spec}: can't read {path}: {error}"
        ))),
    };
    let credentials = user::resolve(spec, &read("/etc/passwd")?, &read("/etc/group")?)
        .map_err(|error| Failure::failed(format!("--user: {error}")))?;
    let standing = privileges::standing(&credentials);
    if nix::unistd::Uid::effective().is_root() {
        give(plan, &credentials, stops)?;
    } else if standing == Standing::Already && !plan.chown.is_empty() {
        log::warn!("running as '{spec}' already, not as root: --chown is skipped");
    }
    match standing {
        Standing::Already => {
            log::debug!("already uid {}: nothing to drop", credentials.uid);
            keep_what_is_held(plan);
        }
        Standing::SomebodyElse => {
            let uid = nix::unistd::Uid::effective();
            let skipped = if plan.chown.is_empty() {
                "--user is"
            } else {
                "--user and --chown are"
            };
            log::warn!("running as uid {uid}, which can't become '{spec}': {skipped} skipped");
            keep_what_is_held(plan);
        }
        Standing::CanDrop => {
            privileges::drop_to(&credentials, plan.privileges)
                .map_err(|error| Failure::failed(format!("--user {spec}: {error}")))?;
            name_user(&credentials, environment);
        }
    }
    Ok(())
}

/// `--chown`, in the order given.
fn give(
    plan: &IdentityPlan,
    credentials: &user::Credentials,
    stops: Stops<'_>,
) -> Result<(), Failure> {
    if plan.chown.is_empty() {
        return Ok(());
    }
    let owner = chown::Owner {
        uid: credentials.uid,
        gid: credentials.gid,
    };
    let give =
        |path: &PathBuf| chown::give(path, owner).map_err(|error| format!("--chown: {error}"));
    helper::run(stops, || {
        plan.chown.iter().try_for_each(give).map(|()| Vec::new())
    })
    .map(drop)
}

/// `--keep-cap` where nobody drops: whoever chose the user chose its capabilities, so that a lack is a warning.
fn keep_what_is_held(plan: &IdentityPlan) {
    if let Err(error) = privileges::keep_without_drop(plan.privileges.keep) {
        log::warn!("--keep-cap: {error}");
    }
}

fn name_user(credentials: &user::Credentials, environment: &mut Environment) {
    if let Some(name) = &credentials.name {
        environment.set("USER", name);
        environment.set("LOGNAME", name);
    }
    let home = environment.given("HOME");
    if home.is_none_or(|home| home == "/" || home == "/root") {
        environment.set(
            "HOME",
            credentials.home.clone().unwrap_or_else(|| "/".into()),
        );
    }
}
