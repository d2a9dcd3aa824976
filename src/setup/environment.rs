//! The environment as portero resolves it and as COMMAND gets it: in order, byte for byte.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::expand::{expand, is_name};
use super::{helper, secrets};
use crate::cli::{Opt, is_own_variable};
use crate::exit::Failure;
use crate::redaction;
use crate::settings::Settings;
use crate::sys;

/// Variables in the order in which they were given, each as the kernel has it: `NAME=VALUE`. What was inherited stays
/// where the kernel put it, so that a copy costs next to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(Vec<Cow<'static, CStr>>);

impl Environment {
    /// The environment that this process was given. Of doubles, which nothing forbids, the first one stays: portero and
    /// the C library read that one, a shell the last.
    pub fn inherited() -> Self {
        let mut entries: Vec<_> = sys::environment().into_iter().map(Cow::Borrowed).collect();
        remove_doubles(&mut entries);
        Self(entries)
    }

    /// The value of `name`; an empty value is a value.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        let known = self.iter().find(|(known, _)| *known == name.as_ref());
        known.map(|(_, value)| value)
    }

    /// The value of `name`, when it is set and not empty: as everywhere in portero, empty counts as not given.
    pub fn given(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Sets `name`, in its place when it is there already. Neither may hold a NUL.
    pub fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        let name = name.as_ref();
        let entry = Cow::Owned(c_string(&[
            name.as_bytes(),
            b"=",
            value.as_ref().as_bytes(),
        ]));
        match self.0.iter_mut().find(|entry| split(entry).0 == name) {
            Some(known) => *known = entry,
            None => self.0.push(entry),
        }
    }

    /// Removes `name`; also every double of it.
    pub fn remove(&mut self, name: impl AsRef<OsStr>) {
        self.0.retain(|entry| split(entry).0 != name.as_ref());
    }

    /// What COMMAND and the migrations see: everything but portero's own variables.
    #[must_use]
    pub fn without_own(mut self) -> Self {
        self.0.retain(|entry| !is_own(entry));
        self
    }

    /// Name and value of portero's own variables. A start asks for each option's: so the many others are told apart by
    /// their first bytes, and not split.
    pub fn own(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0
            .iter()
            .filter(|entry| is_own(entry))
            .map(|entry| split(entry))
    }

    /// Every variable's name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|entry| split(entry))
    }

    /// Every `NAME=VALUE`, ready for `execve(2)`.
    pub fn into_entries(self) -> Vec<Cow<'static, CStr>> {
        self.0
    }
}

fn remove_doubles(entries: &mut Vec<Cow<'static, CStr>>) {
    // Every start comes here, and next to none finds any: so the names are looked up once, and then compared only.
    let mut names: Vec<(&OsStr, usize)> = entries
        .iter()
        .map(|entry| split(entry).0)
        .zip(0..)
        .collect();
    names.sort_unstable();
    let pairs = names
        .array_windows()
        .filter(|[(first, _), (second, _)]| first == second);
    let doubles: Vec<usize> = pairs.map(|[_, (_, second)]| *second).collect();
    if doubles.is_empty() {
        return;
    }
    let mut index = 0..;
    entries.retain(|_| index.next().is_some_and(|index| !doubles.contains(&index)));
}

fn is_own(entry: &CStr) -> bool {
    is_own_variable(OsStr::from_bytes(entry.to_bytes()))
}

/// Name and value. An entry without `=`, which nothing forbids, is a name.
fn split(entry: &CStr) -> (&OsStr, &OsStr) {
    let bytes = entry.to_bytes();
    let end = bytes
        .iter()
        .position(|byte| *byte == b'=')
        .unwrap_or(bytes.len());
    (
        OsStr::from_bytes(&bytes[..end]),
        OsStr::from_bytes(bytes.get(end + 1..).unwrap_or_default()),
    )
}

/// The parts as one C string, cut at a NUL if there should be one: secrets are checked before, and all else came as C
/// strings.
pub fn c_string(parts: &[&[u8]]) -> CString {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 1);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes.truncate(
        bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len()),
    );
    CString::new(bytes).unwrap_or_default()
}

impl<K: AsRef<OsStr>, V: AsRef<OsStr>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let entry = |(name, value): (K, V)| {
            c_string(&[name.as_ref().as_bytes(), b"=", value.as_ref().as_bytes()])
        };
        Self(
            pairs
                .into_iter()
                .map(|pair| Cow::Owned(entry(pair)))
                .collect(),
        )
    }
}

/// The environment after secrets and defaults, and how it came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The variables, portero's own still among them.
    pub environment: Environment,
    /// Values that must never be shown.
    pub secrets: Vec<OsString>,
    /// The variables that were set here.
    pub set: Vec<OsString>,
}

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
    if parse_port(&default).is_none() {
        return Err(settings.invalid(
            Opt::DefaultPort,
            &format!("{} is not a port (1-65535)", redaction::shown(&default)),
        ));
    }
    match resolved.environment.given("PORT") {
        Some(port) if parse_port(port).is_some() => {}
        Some(port) => {
            return Err(Failure::failed(format!(
                "PORT={} is not a port (1-65535)",
                redaction::shown(port)
            )));
        }
        None => {
            resolved.environment.set("PORT", default);
            resolved.set.push("PORT".into());
        }
    }
    Ok(())
}

/// A port by digits only, 1 to 65535.
pub fn parse_port(text: &OsStr) -> Option<u16> {
    let text = text
        .to_str()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|&port| port != 0)
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
        let unseen = redaction::unseen(&name.to_string_lossy());
        settings.invalid(opt, &format!("{rule}{unseen}"))
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cli::{self, Asked};

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
