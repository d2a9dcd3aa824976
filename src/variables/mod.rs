//! Variables before anything runs, in the order of the options: secrets, PORT, defaults.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

pub mod needed;
mod secrets;

use crate::cli::Opt;
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
        Some(name) => settings.invalid(Opt::Default, &format!("'{name}' is not NAME=VALUE")),
        // It is not shown: it may be a value that lost its name.
        None => settings.invalid(Opt::Default, "an item is not NAME=VALUE"),
    })?;
    let (name, value) = (
        OsStr::from_bytes(&item.as_bytes()[..equals]),
        OsStr::from_bytes(&item.as_bytes()[equals + 1..]),
    );
    let name = variable_name(settings, Opt::Default, name)?;
    if resolved.environment.given(name).is_some() {
        return Ok(());
    }
    let value = expand(value, &resolved.environment);
    let value =
        value.map_err(|error| settings.invalid(Opt::Default, &format!("{name}: {error}")))?;
    resolved.environment.set(name, value.text);
    resolved.set.push(name.into());
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cli;
    use crate::cli::Asked;

    /// What this command line comes to in this environment.
    pub fn resolve_with(line: &[&str], environment: &[(&str, &str)]) -> Result<Resolved, Failure> {
        let arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
        let Asked::Work(typed) = cli::parse(&arguments)? else {
            panic!("not work")
        };
        let environment = environment.iter().copied().collect();
        let settings = Settings {
            typed: &typed,
            environment: &environment,
        };
        resolve(&settings, helper::Stops::Handled)
    }

    #[test]
    fn port_has_a_default_and_is_validated_wherever_it_came_from() {
        let port = |environment: &[(&str, &str)]| {
            let resolved = resolve_with(&["--default-port", "8000", "true"], environment)?;
            Ok::<_, Failure>(resolved.environment.get("PORT").unwrap().to_os_string())
        };
        assert_eq!(port(&[]).unwrap(), "8000");
        assert_eq!(port(&[("PORT", "")]).unwrap(), "8000");
        assert_eq!(port(&[("PORT", "65535")]).unwrap(), "65535");
        for bad in ["80a", "0", "65536", "-1", "+80", " 80", "$PORT", "8000 "] {
            assert_eq!(
                port(&[("PORT", bad)]).unwrap_err().message,
                format!("PORT='{bad}' is not a port (1-65535)")
            );
        }
        assert!(resolve_with(&["--default-port", "x", "true"], &[("PORT", "1")]).is_err());
        assert_eq!(
            resolve_with(&["true"], &[("PORT", "80a")])
                .unwrap()
                .environment
                .get("PORT")
                .unwrap(),
            "80a"
        );
    }

    #[test]
    fn defaults_apply_in_order_to_what_is_unset_or_empty() {
        let line = [
            "--default",
            "A=1",
            "--default",
            "B=${A}2",
            "--default",
            "C=x=y",
            "--default",
            "D=${PORT}",
            "--default-port",
            "80",
            "true",
        ];
        let resolved = resolve_with(&line, &[("A", ""), ("C", "kept")]).unwrap();
        let table = [("A", "1"), ("B", "12"), ("C", "kept"), ("D", "80")];
        for (name, value) in table {
            assert_eq!(resolved.environment.get(name).unwrap(), value, "{name}");
        }
        for bad in ["A", "=x", "1A=x", "A B=x", "A=${UNSET}"] {
            assert!(
                resolve_with(&["--default", bad, "true"], &[]).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_list_from_the_environment_splits_and_the_command_line_replaces_it() {
        let environment = [("PORTERO_DEFAULT", "A=1\nB=two words")];
        let resolved = resolve_with(&["true"], &environment).unwrap();
        assert_eq!(resolved.environment.get("B").unwrap(), "two words");
        let resolved = resolve_with(&["--default", "C=3", "true"], &environment).unwrap();
        assert_eq!(
            (resolved.environment.get("A"), resolved.environment.get("C")),
            (None, Some(OsStr::new("3")))
        );
    }
}
