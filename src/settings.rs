//! Where the command line, the environment and the defaults come together: for each option the value that counts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::cli::{OPTIONS, Opt, Split, Typed, ValueKind, is_reference};
use crate::environment::Environment;
use crate::environment::expand::expand;
use crate::exit::Failure;
use crate::wording::shown;

mod commands;

/// The variable of `healthcheck`'s targets.
pub const HEALTH_TARGETS: &str = "PORTERO_HEALTH_TARGET";

/// The options of one command, with an environment to read and to expand from.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The command line.
    pub typed: &'a Typed,
    /// The environment: as it was inherited, or resolved.
    pub environment: &'a Environment,
}

impl<'a> Settings<'a> {
    /// Those of what was typed, and of this environment.
    pub fn new(typed: &'a Typed, environment: &'a Environment) -> Self {
        Self { typed, environment }
    }
}

impl Settings<'_> {
    /// Whether the option was given, on the command line or by its variable.
    pub fn is_given(&self, opt: Opt) -> bool {
        !self.typed.values(opt).is_empty()
            || self
                .variable(opt)
                .is_some_and(|_| self.switch(opt) != Ok(false))
    }

    /// A switch: given on the command line, or its variable's word.
    ///
    /// # Errors
    /// A variable that holds neither a yes nor a no.
    pub fn switch(&self, opt: Opt) -> Result<bool, Failure> {
        if !self.typed.values(opt).is_empty() {
            return Ok(true);
        }
        if OPTIONS[opt as usize].kind != ValueKind::Switch {
            return Ok(self.variable(opt).is_some());
        }
        let Some(value) = self.variable(opt) else {
            return Ok(self.typed.implied(opt).is_some());
        };
        let word = value.to_string_lossy();
        switch_word(&word).ok_or_else(|| {
            let word = shown(word.to_ascii_lowercase());
            let why = format!("{word} is neither 1, true, yes, on nor 0, false, no, off");
            self.invalid(opt, &why)
        })
    }

    /// One value, expanded, or the option's default. One that vanished through `:-` or `:+` was not given.
    ///
    /// # Errors
    /// What expansion says; a value that is empty otherwise.
    pub fn value(&self, opt: Opt) -> Result<Option<OsString>, Failure> {
        if let Some(text) = self.raw(opt).pop() {
            let value = expand(&text, self.environment);
            let value = value.map_err(|error| self.invalid(opt, &error))?;
            if !value.vanished && value.text.is_empty() {
                return Err(self.invalid(opt, "it is empty: give it a value, or leave it out"));
            }
            if !value.vanished {
                return Ok(Some(value.text));
            }
        }
        let default = OPTIONS[opt as usize].default;
        Ok(Some(default.into()).filter(|_| !default.is_empty()))
    }

    /// One value that must be text.
    ///
    /// # Errors
    /// What expansion says; bytes that are not UTF-8.
    pub fn text(&self, opt: Opt) -> Result<Option<String>, Failure> {
        let text = self.value(opt)?.map(OsString::into_string).transpose();
        text.map_err(|_| self.invalid(opt, "it is not UTF-8"))
    }

    /// A duration that limits something: `None` is no limit. Zero is refused, as tools disagree on what it means.
    ///
    /// # Errors
    /// Anything but a duration.
    pub fn limit(&self, opt: Opt) -> Result<Option<Duration>, Failure> {
        match self.text(opt)? {
            None => Ok(None),
            // Every tool means the same by it here.
            Some(text)
                if opt == Opt::StopDelay && parse_duration(&text) == Some(Duration::ZERO) =>
            {
                Ok(None)
            }
            Some(text) => parse_limit(&text).map_err(|error| self.invalid(opt, &error)),
        }
    }

    /// A pause, of which `0` is none.
    ///
    /// # Errors
    /// Anything but a duration.
    pub fn pause(&self, opt: Opt) -> Result<Option<Duration>, Failure> {
        match self.text(opt)?.as_deref().map(parse_duration) {
            Some(Some(Duration::ZERO)) => Ok(None),
            _ => self.limit(opt),
        }
    }

    /// The items of a list, split first and expanded then; an item that vanished through `:-` or `:+` drops out.
    ///
    /// # Errors
    /// What expansion says.
    pub fn list(&self, opt: Opt) -> Result<Vec<OsString>, Failure> {
        let ValueKind::List(split) = OPTIONS[opt as usize].kind else {
            return Ok(self.value(opt)?.into_iter().collect());
        };
        self.expand_items(&self.origin(opt), &self.raw(opt), split)
    }

    /// The items of a list as they stand, for those whose expansion has a time of its own.
    pub fn items(&self, opt: Opt) -> Vec<OsString> {
        let ValueKind::List(split) = OPTIONS[opt as usize].kind else {
            return self.raw(opt);
        };
        self.raw(opt)
            .into_iter()
            .flat_map(|text| split_items(&text, split))
            .collect()
    }

    /// TARGETs: the operands, or else the variable's, split and expanded.
    ///
    /// # Errors
    /// What expansion says.
    pub fn targets(&self, variable: &str) -> Result<Vec<OsString>, Failure> {
        let operands = self.typed.operands.is_empty();
        let origin = if operands { variable } else { "TARGET" };
        self.expand_items(origin, &self.target_texts(variable), Split::Words)
    }

    /// The same as they stand.
    pub fn target_items(&self, variable: &str) -> Vec<OsString> {
        let texts = self.target_texts(variable);
        texts
            .iter()
            .flat_map(|text| split_items(text, Split::Words))
            .collect()
    }

    fn target_texts(&self, variable: &str) -> Vec<OsString> {
        if !self.typed.operands.is_empty() {
            return self.typed.operands.clone();
        }
        let given = self.environment.given(variable).map(OsStr::to_os_string);
        given.into_iter().collect()
    }

    /// An error about `opt`, under the name by which it was given.
    pub fn invalid(&self, opt: Opt, why: &str) -> Failure {
        Failure::failed(format!("{}: {why}", self.origin(opt)))
    }

    /// `--option`, or its variable when that is where the value comes from.
    pub fn origin(&self, opt: Opt) -> String {
        let option = &OPTIONS[opt as usize];
        if self.typed.values(opt).is_empty() && self.variable(opt).is_some() {
            return option.variable();
        }
        option.typed_name()
    }

    fn raw(&self, opt: Opt) -> Vec<OsString> {
        match self.typed.values(opt) {
            [] => self
                .variable(opt)
                .or_else(|| self.typed.implied(opt).map(OsStr::new))
                .map(OsStr::to_os_string)
                .into_iter()
                .collect(),
            typed => typed.to_vec(),
        }
    }

    fn variable(&self, opt: Opt) -> Option<&OsStr> {
        let option = &OPTIONS[opt as usize];
        let mut own = self.environment.own();
        let known = own.find(|(name, _)| option.is_set_by(name) && self.typed.heeds(option));
        let known = known.map(|(_, value)| value);
        let value = match option.kind {
            // White space around it is what an editor or a shell has left there.
            ValueKind::Value | ValueKind::Switch => {
                known.map(|value| value.as_bytes().trim_ascii())
            }
            ValueKind::List(_) => known.map(OsStr::as_bytes),
        };
        value
            .filter(|value| !value.is_empty())
            .map(OsStr::from_bytes)
    }

    fn expand_items(
        &self,
        origin: &str,
        texts: &[OsString],
        split: Split,
    ) -> Result<Vec<OsString>, Failure> {
        let mut expanded = Vec::new();
        for (item, quoted) in texts.iter().flat_map(|text| split.items(text)) {
            let value = expand(item, self.environment)
                .map_err(|error| Failure::failed(format!("{origin}: {error}")))?;
            let splits = matches!(split, Split::Words | Split::Commas) && !quoted;
            if splits
                && is_reference(item.as_bytes())
                && !value.text.as_bytes().trim_ascii().is_empty()
            {
                expanded.append(&mut split_items(&value.text, split));
            } else if !value.vanished {
                expanded.push(value.text);
            }
        }
        Ok(expanded)
    }
}

/// What a switch's word says.
pub fn switch_word(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn split_items(text: &OsStr, split: Split) -> Vec<OsString> {
    split
        .items(text)
        .map(|(item, _)| item.to_os_string())
        .collect()
}

fn parse_limit(text: &str) -> Result<Option<Duration>, String> {
    if text == "none" {
        return Ok(None);
    }
    match parse_duration(text) {
        Some(Duration::ZERO) => Err(format!(
            "{} would be no time at all: say 'none' for no limit, or a real time such as 5s",
            shown(text)
        )),
        Some(limit) => Ok(Some(limit)),
        None => Err(format!(
            "{} is not a duration: 250ms, 5s, 2m, 1h, 1m30s, a bare number of seconds, or 'none'",
            shown(text)
        )),
    }
}

/// `250ms`, `5s`, `1m30s`, or a bare number of seconds. `None` for anything else.
fn parse_duration(text: &str) -> Option<Duration> {
    if let Some(seconds) = digits(text) {
        return Some(Duration::from_secs(seconds));
    }
    let (mut rest, mut total, mut units) = (text, Duration::ZERO, &UNITS[..]);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number = digits(&rest[..end])?;
        let unit_end = rest[end..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |length| end + length);
        let unit = units
            .iter()
            .position(|(name, _)| *name == &rest[end..unit_end])?;
        total = total.checked_add(Duration::from_millis(number.checked_mul(units[unit].1)?))?;
        // From large to small, each once.
        units = &units[unit + 1..];
        rest = &rest[unit_end..];
    }
    Some(total).filter(|_| !text.is_empty())
}

/// Units and their milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A number of digits only: `str::parse` would take a sign.
fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A century is enough, and keeps every sum with an `Instant` within its range.
    text.parse()
        .ok()
        .filter(|&number| plain && number <= 100 * 365 * 24 * 3600)
}

#[cfg(test)]
#[path = "settings/dash.rs"]
mod dash;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_the_contracts_forms_and_nothing_else() {
        let millis =
            |text: &str| parse_limit(text).map(|limit| limit.map(|limit| limit.as_millis()));
        let table = [
            ("250ms", 250),
            ("5s", 5000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("7", 7000),
        ];
        for (text, expected) in table {
            assert_eq!(millis(text), Ok(Some(expected)), "{text}");
        }
        assert_eq!(millis("none"), Ok(None));
        for text in [
            "",
            "0",
            "0s",
            "-1",
            "+1",
            "1.5s",
            "5 s",
            "s",
            "5x",
            "1m30",
            "ms",
            "99999999999999999999",
            "None",
            "1s1h",
            "1s1s",
            "0ms",
        ] {
            assert!(millis(text).is_err(), "{text}");
        }
    }
}
