//! Who to become.

use std::path::PathBuf;

use crate::cli::Opt;
use crate::cli::mode::Mode;
use crate::exit::Failure;
use crate::identity::capabilities::CapabilitySet;
use crate::identity::privileges::Privileges;
use crate::identity::{IdentityPlan, Names};
use crate::settings::Settings;
use crate::wording::shown;

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
    let mkdir = if gives {
        settings.list(Opt::Mkdir)?
    } else {
        Vec::new()
    };
    Ok(IdentityPlan {
        user,
        umask: if gives { umask(settings)? } else { None },
        mkdir: mkdir.into_iter().map(PathBuf::from).collect(),
        chown: chown.into_iter().map(PathBuf::from).collect(),
        privileges: Privileges {
            keep: kept_capabilities(settings)?,
            allow_new: settings.switch(Opt::AllowNewPrivileges)?,
        },
        names: if settings.typed.is_dropper {
            Names::Home
        } else {
            Names::All
        },
        // Only what starts a COMMAND can start it as root.
        require_non_root: settings.switch(Opt::RequireNonRoot)?
            && matches!(settings.typed.mode, Mode::Run | Mode::Migrate),
    })
}

fn umask(settings: &Settings<'_>) -> Result<Option<u32>, Failure> {
    let Some(text) = settings.text(Opt::Umask)? else {
        return Ok(None);
    };
    let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(&text, 8)
        .ok()
        .filter(|&mode| is_octal && mode <= 0o777);
    let wrong = || {
        let why = format!("{} is not octal, 0-777, e.g. 027", shown(&text));
        settings.invalid(Opt::Umask, &why)
    };
    mode.ok_or_else(wrong).map(Some)
}

fn kept_capabilities(settings: &Settings<'_>) -> Result<CapabilitySet, Failure> {
    let mut keep = CapabilitySet::default();
    for name in settings.list(Opt::KeepCap)? {
        keep.add(&name.to_string_lossy())
            .map_err(|error| settings.invalid(Opt::KeepCap, &error))?;
    }
    Ok(keep)
}
