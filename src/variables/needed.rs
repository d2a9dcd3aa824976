//! The environment of a health check: only what its targets and options use is resolved, so that no other secret and no
//! other default can fail it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::cli::{Opt, options_of};
use crate::environment::expand::{is_name, references};
use crate::environment::resolved::Resolved;
use crate::exit::Failure;
use crate::probe::target::Target;
use crate::settings::{HEALTH_TARGETS, Settings};
use crate::supervise::helper::Stops;
use crate::variables::resolve_parts;

/// Names of variables.
type Names = BTreeSet<String>;

/// Does what `environment::resolve` does, for what is used.
///
/// # Errors
/// 125, as there.
pub fn resolve(settings: &Settings<'_>, stops: Stops<'_>) -> Result<Resolved, Failure> {
    let mut names = used(settings);
    let resolved = resolve_names(settings, stops, &names)?;
    let with = Settings {
        environment: &resolved.environment,
        ..*settings
    };
    let before = names.len();
    if asks_postgres(&with) {
        names.extend(offered(settings).filter(|name| name.starts_with("PG")));
    }
    if names.len() == before {
        return Ok(resolved);
    }
    add_what_defaults_use(settings, &mut names);
    resolve_names(settings, stops, &names)
}

fn resolve_names(
    settings: &Settings<'_>,
    stops: Stops<'_>,
    names: &Names,
) -> Result<Resolved, Failure> {
    let secrets = secrets(settings).filter(|name| names.contains(name));
    let mut defaults = settings.items(Opt::Default);
    defaults.retain(|item| default_of(item).is_some_and(|(name, _)| names.contains(name)));
    resolve_parts(
        settings,
        stops,
        &secrets.collect::<Vec<_>>(),
        names.contains("PORT"),
        &defaults,
    )
}

/// What the targets and options name, directly or through defaults.
fn used(settings: &Settings<'_>) -> Names {
    let mut names = Names::new();
    let targets = settings.target_items(HEALTH_TARGETS);
    for target in &targets {
        names.extend(references(target));
        names.extend(
            target
                .to_str()
                .filter(|name| is_name(name))
                .map(str::to_owned),
        );
    }
    if targets.is_empty() && !settings.is_given(Opt::Port) {
        names.insert("PORT".into());
    }
    // Those of COMMAND's environment, and what a health check has no part in.
    let others = [
        Opt::Secret,
        Opt::Default,
        Opt::ExpandArgs,
        Opt::Mkdir,
        Opt::Chown,
        Opt::Umask,
        Opt::RequireNonRoot,
    ];
    for option in options_of(settings.typed.mode).filter(|option| !others.contains(&option.opt)) {
        let items = settings.items(option.opt);
        names.extend(items.iter().flat_map(|item| references(item)));
    }
    add_what_defaults_use(settings, &mut names);
    names
}

fn add_what_defaults_use(settings: &Settings<'_>, names: &mut Names) {
    let defaults = settings.items(Opt::Default);
    loop {
        let before = names.len();
        for (name, value) in defaults.iter().filter_map(|item| default_of(item)) {
            if names.contains(name) {
                names.extend(references(value));
            }
        }
        if names.len() == before {
            return;
        }
    }
}

/// A target that can't be understood is said with the plan.
fn asks_postgres(settings: &Settings<'_>) -> bool {
    let targets = settings.targets(HEALTH_TARGETS).unwrap_or_default();
    targets.iter().any(|target| {
        Target::parse(target, settings.environment).is_ok_and(|target| target.postgres().is_some())
    })
}

/// What secrets and defaults could give.
fn offered<'a>(settings: &'a Settings<'_>) -> impl Iterator<Item = String> + 'a {
    let defaults = settings.items(Opt::Default);
    let defaults: Vec<String> = defaults
        .iter()
        .filter_map(|item| Some(default_of(item)?.0.to_owned()))
        .collect();
    secrets(settings).chain(defaults)
}

fn secrets(settings: &Settings<'_>) -> impl Iterator<Item = String> {
    let names = settings.list(Opt::Secret).unwrap_or_default();
    names.into_iter().filter_map(|name| name.into_string().ok())
}

/// `NAME=VALUE`, taken apart.
fn default_of(item: &OsStr) -> Option<(&str, &OsStr)> {
    let bytes = item.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=')?;
    let name = std::str::from_utf8(bytes.get(..equals)?).ok()?;
    Some((name, OsStr::from_bytes(bytes.get(equals + 1..)?)))
}
