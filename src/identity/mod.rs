//! What is put right before anything runs: the environment, the user, the privileges.

use std::path::{Path, PathBuf};

use nix::sys::stat::{self, Mode};

use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::identity::privileges::{Ids, Privileges, Relation};
use crate::identity::user::Credentials;
use crate::supervise::helper::{self, Stops};

pub mod capabilities;
pub mod chown;
pub mod privileges;
#[cfg(test)]
mod properties;
pub mod user;

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
    if let Some(mode) = plan.umask {
        stat::umask(Mode::from_bits_truncate(mode));
    }
    if let Some(spec) = &plan.user {
        become_specified(spec, plan, environment, stops)?;
    } else {
        prepare_paths(plan, None, stops)?;
        keep_what_is_held(plan);
    }
    verify_user(plan)
}

/// The last look before anything is started, on ids that the kernel was asked for just now: whatever went before, who
/// asked for a user that is not root gets nothing that is root, or could be again.
///
/// # Errors
/// 125.
pub fn verify_user(plan: &IdentityPlan) -> Result<(), Failure> {
    let spec = plan.user.as_deref();
    let must_not = plan.require_non_root || spec.is_some_and(|spec| !user::asks_for_root(spec));
    if !must_not {
        return Ok(());
    }
    let ids = Ids::current().map_err(Failure::failed)?;
    if !ids.has_root() {
        return Ok(());
    }
    if plan.require_non_root {
        return Err(Failure::failed(
            "--require-non-root: COMMAND would run as root: add USER to the Dockerfile, or --user",
        ));
    }
    let (spec, [real, effective, saved]) = (spec.unwrap_or_default(), ids.uids);
    Err(Failure::failed(format!(
        "--user {spec}: still root (uid real {real}, effective {effective}, saved {saved}): nothing is started"
    )))
}

fn become_specified(
    spec: &str,
    plan: &IdentityPlan,
    environment: &mut Environment,
    stops: Stops<'_>,
) -> Result<(), Failure> {
    let fail = |error: String| Failure::new(plan.names.exit(), format!("--user {spec}: {error}"));
    let read = |path: &str| match files::read(Path::new(path)) {
        Ok((text, _)) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fail(format!("can't read {path}: {error}"))),
    };
    let credentials = user::resolve(spec, &read("/etc/passwd")?, &read("/etc/group")?)
        .map_err(|error| Failure::new(plan.names.exit(), format!("--user: {error}")))?;
    if plan.names == Names::Home {
        let uids = Ids::current().map_err(fail)?.uids;
        if uids[0] != uids[1] {
            return Err(fail(
                "installed with the setuid bit, it would make anybody anybody".into(),
            ));
        }
        set_home(&credentials, environment);
    }
    match privileges::relation_to(&credentials).map_err(fail)? {
        Relation::Already if credentials.uid == 0 => {
            prepare_paths(plan, Some(&credentials), stops)?;
        }
        Relation::CanDrop => {
            privileges::become_root().map_err(fail)?;
            prepare_paths(plan, Some(&credentials), stops)?;
            privileges::drop_to(&credentials, plan.privileges).map_err(fail)?;
            name_user(&credentials, plan.names, environment);
            return Ok(());
        }
        Relation::SomebodyElse(uid) if plan.names == Names::Home => {
            let reason =
                format!("running as uid {uid}, which can't become '{spec}': it takes root");
            return Err(Failure::new(Exit::Command(1), reason));
        }
        Relation::SomebodyElse(uid) => {
            let skipped = if plan.chown.is_empty() {
                "--user is"
            } else {
                "--user and --chown are"
            };
            log::warn!("running as uid {uid}, which can't become '{spec}': {skipped} skipped");
            prepare_paths(plan, None, stops)?;
        }
        relation => {
            let Credentials { uid, gid, .. } = credentials;
            log::debug!("already uid {uid}: nothing to drop");
            if let Relation::InGroup(own) = relation {
                log::warn!(
                    "running as uid {uid} already, but in group {own}, not {gid} as '{spec}' says: it stays so"
                );
            }
            if !plan.chown.is_empty() {
                log::warn!("running as '{spec}' already, not as root: --chown is skipped");
            }
            prepare_paths(plan, None, stops)?;
        }
    }
    keep_what_is_held(plan);
    Ok(())
}

/// `--mkdir` and `--chown`, in the order given; without a user that root is to become, what is made is whoever's.
fn prepare_paths(
    plan: &IdentityPlan,
    user: Option<&Credentials>,
    stops: Stops<'_>,
) -> Result<(), Failure> {
    let owner = user.map(|user| chown::Owner {
        uid: user.uid,
        gid: user.gid,
    });
    let given = owner.map(|owner| (&plan.chown, owner));
    let given = given.filter(|(paths, _)| !paths.is_empty());
    if plan.mkdir.is_empty() && given.is_none() {
        return Ok(());
    }
    helper::run(stops, || {
        for path in &plan.mkdir {
            chown::make(path, owner).map_err(|error| format!("--mkdir: {error}"))?;
        }
        if let Some((paths, owner)) = given {
            for path in paths {
                chown::change_owner(path, owner).map_err(|error| format!("--chown: {error}"))?;
            }
        }
        Ok(Vec::new())
    })
    .map(drop)
}

/// `--keep-cap` where nobody drops: whoever chose the user chose its capabilities, so that a lack is a warning.
fn keep_what_is_held(plan: &IdentityPlan) {
    if let Err(error) = privileges::keep_without_drop(plan.privileges.keep) {
        log::warn!("--keep-cap: {error}");
    }
}

fn name_user(credentials: &Credentials, names: Names, environment: &mut Environment) {
    if names == Names::Home {
        return;
    }
    if let Some(name) = &credentials.name {
        environment.set("USER", name);
        environment.set("LOGNAME", name);
    }
    let home = environment.given("HOME");
    if home.is_none_or(|home| home == "/" || home == "/root") {
        set_home(credentials, environment);
    }
}

fn set_home(credentials: &Credentials, environment: &mut Environment) {
    let home = credentials.home.clone().unwrap_or_else(|| "/".into());
    environment.set("HOME", home);
}

/// Which variables say who the user is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// `USER` and `LOGNAME`, and `HOME` where it was root's or nobody's.
    #[default]
    All,
    /// `HOME` alone and always, as gosu has it, who also goes on as nobody else than asked for.
    Home,
}

impl Names {
    /// For a SPEC that is none.
    fn exit(self) -> Exit {
        match self {
            Self::All => Exit::Failed,
            Self::Home => Exit::Command(1),
        }
    }
}

/// Who to become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityPlan {
    /// SPEC of `--user`.
    pub user: Option<String>,
    /// That of all that is started.
    pub umask: Option<u32>,
    /// What is made for that user before the drop.
    pub mkdir: Vec<PathBuf>,
    /// What is given to that user before the drop.
    pub chown: Vec<PathBuf>,
    /// What is left to that user: `--keep-cap`, `--allow-new-privileges`.
    pub privileges: Privileges,
    /// What is said of that user in the environment.
    pub names: Names,
    /// Refuse to start COMMAND as uid 0.
    pub require_non_root: bool,
}
