//! The plan as `--dry-run` prints it: what would be done, with `***` for every secret and password.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::time::Duration;

use super::{Chain, MigratePlan, ProbePlan, RunPlan, WaitPlan};
use crate::init::supervise::Supervision;
use crate::setup::environment::Resolved;

impl RunPlan {
    /// What `portero COMMAND` would do.
    pub fn describe(&self, resolved: &Resolved) -> String {
        let mut text = environment(resolved);
        if let Some(user) = &self.identity.user {
            line(&mut text, "user", user);
        }
        for path in &self.identity.chown {
            line(&mut text, "chown", &path.display().to_string());
        }
        if !self.identity.privileges.keep.is_empty() {
            let kept = self.identity.privileges.keep.to_string();
            line(&mut text, "keep-cap", &kept);
        }
        if let Some(plan) = &self.wait {
            text.push_str(&plan.describe());
        }
        if let Some(plan) = &self.migrate {
            text.push_str(&plan.steps(resolved));
        }
        text.push_str(&rules(&self.supervision));
        for (from, to) in &self.map_exit {
            line(&mut text, "map-exit", &format!("{from}={to}"));
        }
        let name = if self.exec { "exec" } else { "command" };
        line(&mut text, name, &words(&self.command, resolved));
        text
    }
}

impl WaitPlan {
    /// What would be waited for.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for target in &self.targets {
            line(
                &mut text,
                "wait",
                &format!("{target} (up to {})", limit(self.timeout)),
            );
        }
        text
    }
}

impl MigratePlan {
    /// What `portero migrate` would do.
    pub fn describe(&self, resolved: &Resolved) -> String {
        format!(
            "{}{}{}",
            environment(resolved),
            self.wait.describe(),
            self.steps(resolved)
        )
    }

    fn steps(&self, resolved: &Resolved) -> String {
        let mut text = String::new();
        if let Some(database) = &self.database {
            let timeout = limit(self.lock_timeout);
            line(
                &mut text,
                "lock",
                &format!("'{}' in {database} (up to {timeout})", self.lock_name),
            );
        }
        if let Some(once) = &self.once {
            let what = format!("{} (recorded in {})", once.version, once.table.quoted());
            line(&mut text, "migrate-once", &what);
        }
        let describe = |chain: &Chain| {
            chain
                .iter()
                .map(|words_of| words(words_of, resolved))
                .collect::<Vec<_>>()
                .join(" && ")
        };
        for chain in &self.commands {
            line(&mut text, "migrate", &describe(chain));
        }
        text
    }
}

impl ProbePlan {
    /// What would be probed.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for target in &self.targets {
            line(
                &mut text,
                "probe",
                &format!("{target} (up to {})", limit(self.timeout)),
            );
        }
        text
    }
}

fn line(text: &mut String, name: &str, what: &str) {
    let _ = writeln!(text, "{name}: {what}");
}

fn limit(limit: Option<Duration>) -> String {
    limit.map_or_else(
        || "any time".into(),
        |limit| format!("{}s", limit.as_secs_f64()),
    )
}

fn environment(resolved: &Resolved) -> String {
    let mut text = String::new();
    for name in &resolved.set {
        let value = resolved.environment.get(name).unwrap_or_default();
        let value = if sounds_secret(name) {
            "***".into()
        } else {
            redacted(value, resolved)
        };
        line(
            &mut text,
            "environment",
            &format!("{}={value}", name.display()),
        );
    }
    text
}

/// Whether a variable's name says that its value is nobody's business, also where no `--secret` says it.
fn sounds_secret(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    ["PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL"]
        .iter()
        .any(|word| name.contains(word))
}

fn rules(supervision: &Supervision) -> String {
    let mut text = String::new();
    line(
        &mut text,
        "signals",
        if supervision.group {
            "to COMMAND's process group"
        } else {
            "to COMMAND alone"
        },
    );
    for mapping in supervision.map.describe() {
        line(&mut text, "map-signal", &mapping);
    }
    if let Some(delay) = supervision.stop_delay {
        line(&mut text, "stop-delay", &limit(Some(delay)));
    }
    if let Some(timeout) = supervision.stop_timeout {
        line(&mut text, "stop-timeout", &limit(Some(timeout)));
    }
    text
}

/// Words as a shell would take them back.
fn words(words: &[OsString], resolved: &Resolved) -> String {
    let quote = |word: &OsString| {
        let word = redacted(word, resolved);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+*".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The text without any secret that is known and without what stands between `//user:` and `@`.
fn redacted(text: &OsStr, resolved: &Resolved) -> String {
    let mut text = text.to_string_lossy().into_owned();
    let mut secrets: Vec<_> = resolved
        .secrets
        .iter()
        .map(|secret| secret.to_string_lossy())
        .collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_ref(), "***");
    }
    without_password_parameters(&without_url_password(&text))
}

fn without_url_password(text: &str) -> String {
    let Some(authority) = text.find("://").map(|at| at + 3) else {
        return text.into();
    };
    // The last @ ends the user information, so that a password with one in it is covered whole.
    let Some(at) = text.rfind('@').filter(|at| *at > authority) else {
        return text.into();
    };
    match text[authority..at].find(':') {
        Some(colon) => format!("{}***{}", &text[..=authority + colon], &text[at..]),
        None => text.into(),
    }
}

/// The text with what follows each `password=` hidden: a URL's query, or libpq's keywords and values.
fn without_password_parameters(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.to_ascii_lowercase().find("password=") {
        let value = at + "password=".len();
        let length = parameter_length(&rest[value..]);
        shown.push_str(&rest[..value]);
        shown.push_str("***");
        rest = &rest[value + length..];
    }
    shown + rest
}

/// How long the value is that `text` begins with. One in quotes ends with them; libpq's have backslashes in them.
fn parameter_length(text: &str) -> usize {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        return text.find(['&', ' ', '"', '\'']).unwrap_or(text.len());
    };
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, quote)| at + quote.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_secrets_nor_passwords_are_shown() {
        let resolved = Resolved {
            secrets: vec!["hush".into(), "".into(), "hush-hush".into()],
            ..Resolved::default()
        };
        let table = [
            ("plain", "plain"),
            ("--key=hush-hush", "--key=***"),
            (
                "postgres://app:p@ss:w/ord@db:5432/x",
                "postgres://app:***@db:5432/x",
            ),
            ("postgres://app@db/x", "postgres://app@db/x"),
            (
                "postgres://db/x?user=u&password=p&a=b",
                "postgres://db/x?user=u&password=***&a=b",
            ),
            ("host=db PASSWORD=p", "host=db PASSWORD=***"),
            ("password='p q\\'r' host=db", "password=*** host=db"),
            ("password=\"p q\"", "password=***"),
            ("password='open", "password=***"),
            ("PGPASSWORD=p --password=q", "PGPASSWORD=*** --password=***"),
            ("http://db/x?a=b@c", "http://db/x?a=b@c"),
        ];
        for (text, expected) in table {
            assert_eq!(redacted(OsStr::new(text), &resolved), expected);
        }
        assert_eq!(
            words(
                &["sh".into(), "-c".into(), "it's".into(), "".into()],
                &resolved
            ),
            "sh -c 'it'\\''s' ''"
        );
    }
}
