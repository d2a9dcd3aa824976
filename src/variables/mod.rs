//! Variables before anything runs, in the order of the options: secrets, PORT, defaults.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

pub mod needed;
mod secrets;

use crate::cli::{OPTIONS, Opt, is_reference};
use crate::environment::expand::{expand, is_name};
use crate::environment::resolved::Resolved;
use crate::exit::Failure;
use crate::net::address;
use crate::settings::Settings;
use crate::supervise::helper;
use crate::{redaction, wording};

/// Does what section 2.1 of the options asks, in its order: secrets, PORT, defaults.
///
/// # Errors
/// 125; the line names the variable and never a secret's value. The stop that came while a file was read.
pub fn resolve(settings: &Settings<'_>, stops: helper::Stops<'_>) -> Result<Resolved, Failure> {
    let names = settings.list(Opt::Secret)?;
    let names = names
        .iter()
        .map(|name| variable_name(settings, Opt::Secret, name).map(str::to_owned));
    resolve_parts(
        settings,
        stops,
        &names.collect::<Result<Vec<_>, _>>()?,
        true,
        &settings.items(Opt::Default),
    )
}

/// The same for these secrets and defaults, and for PORT when that is asked for.
pub(super) fn resolve_parts(
    settings: &Settings<'_>,
    stops: helper::Stops<'_>,
    secrets: &[String],
    port: bool,
    defaults: &[OsString],
) -> Result<Resolved, Failure> {
    let mut resolved = Resolved {
        environment: settings.environment.clone(),
        ..Resolved::default()
    };
    refuse_lacking(settings)?;
    secrets::read(&mut resolved, secrets, stops)?;
    redaction::hide(&resolved.secrets);
    if port {
        default_port(settings, &mut resolved)?;
    }
    for item in defaults {
        default(settings, &mut resolved, item)?;
    }
    Ok(resolved)
}

/// A variable of an option that this build lacks is no typo, and must not be passed over.
fn refuse_lacking(settings: &Settings<'_>) -> Result<(), Failure> {
    let options = OPTIONS.iter();
    for option in options.filter(|option| option.is_of(settings.typed.mode)) {
        if let Some(why) = option.lacking()
            && settings.is_given(option.opt)
        {
            return Err(settings.invalid(option.opt, &why));
        }
    }
    Ok(())
}

/// PORT is validated wherever it came from: a platform that does not expand `$PORT` is a well-known crash loop.
fn default_port(settings: &Settings<'_>, resolved: &mut Resolved) -> Result<(), Failure> {
    let known = Settings {
        environment: &resolved.environment,
        ..*settings
    };
    let Some(default) = known.value(Opt::DefaultPort)? else {
        return Ok(());
    };
    if default.to_str().and_then(address::port).is_none() {
        return Err(settings.invalid(
            Opt::DefaultPort,
            &format!("{} is not a port (1-65535)", wording::shown(&default)),
        ));
    }
    match resolved.environment.given("PORT") {
        Some(port) if port.to_str().and_then(address::port).is_some() => {}
        Some(port) => {
            return Err(Failure::failed(format!(
                "PORT={} is not a port (1-65535)",
                wording::shown(port)
            )));
        }
        None => {
            resolved.environment.set("PORT", default);
            resolved.set.push("PORT".into());
        }
    }
    Ok(())
}

fn default(settings: &Settings<'_>, resolved: &mut Resolved, item: &OsStr) -> Result<(), Failure> {
    let equals = item.as_bytes().iter().position(|byte| *byte == b'=');
    let equals = equals.ok_or_else(|| match item.to_str().filter(|item| is_name(item)) {
        Some(name) => settings.invalid(
            Opt::Default,
            &format!("{} is not NAME=VALUE", wording::shown(name)),
        ),
        // It is not shown: it may be a value that lost its name.
        None => settings.invalid(Opt::Default, "an item is not NAME=VALUE"),
    })?;
    let (name, text) = (
        OsStr::from_bytes(&item.as_bytes()[..equals]),
        OsStr::from_bytes(&item.as_bytes()[equals + 1..]),
    );
    let name = variable_name(settings, Opt::Default, name)?;
    if resolved.environment.given(name).is_some() {
        return Ok(());
    }
    let value = expand(text, &resolved.environment);
    let value = value.map_err(|error| {
        settings.invalid(Opt::Default, &format!("{}: {error}", wording::named(name)))
    })?;
    if !value.vanished || !is_reference(text.as_bytes()) {
        resolved.environment.set(name, value.text);
        resolved.set.push(name.into());
    }
    Ok(())
}

fn variable_name<'a>(
    settings: &Settings<'_>,
    opt: Opt,
    name: &'a OsStr,
) -> Result<&'a str, Failure> {
    let valid = name.to_str().filter(|name| is_name(name));
    valid.ok_or_else(|| {
        let rule = "letters, digits and _ make the name of a variable, and no digit comes first";
        // It is not shown: a value may stand in its place.
        let unseen = wording::unseen(&name.to_string_lossy());
        settings.invalid(opt, &format!("{rule}{unseen}"))
    })
}
