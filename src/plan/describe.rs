//! The plan as `--dry-run` prints it: what would be done, with `***` for every secret and password.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::time::Duration;

use crate::environment::resolved::Resolved;
use crate::plan::migrate::{Chain, MigratePlan};
use crate::plan::probe::ProbePlan;
use crate::plan::run::RunPlan;
use crate::plan::wait::WaitPlan;
use crate::redaction::passwords::redacted;
use crate::supervise::Supervision;
use crate::wording::escaped;

impl RunPlan {
    /// What `portero COMMAND` would do.
    pub fn describe(&self, resolved: &Resolved) -> String {
        let mut text = environment(resolved);
        if let Some(user) = &self.identity.user {
            line(&mut text, "user", user);
        }
        for path in &self.identity.mkdir {
            line(&mut text, "mkdir", &path.display().to_string());
        }
        for path in &self.identity.chown {
            line(&mut text, "chown", &path.display().to_string());
        }
        if !self.identity.privileges.keep.is_empty() {
            let kept = self.identity.privileges.keep.to_string();
            line(&mut text, "keep-cap", &kept);
        }
        if let Some(umask) = self.identity.umask {
            line(&mut text, "umask", &format!("{umask:03o}"));
        }
        if let Some(plan) = &self.wait {
            text.push_str(&plan.describe());
        }
        if let Some(plan) = &self.migrate {
            text.push_str(&plan.steps());
        }
        for chain in &self.prepare {
            line(&mut text, "prepare", &joined(chain));
        }
        if let Some(left_out) = &self.left_out {
            line(&mut text, "left out", left_out);
        }
        text.push_str(&rules(&self.supervision));
        for (from, to) in &self.map_exit {
            line(&mut text, "map-exit", &format!("{from}={to}"));
        }
        let name = if self.exec { "exec" } else { "command" };
        line(&mut text, name, &words(&self.command));
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
            self.steps()
        )
    }

    fn steps(&self) -> String {
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
        for chain in &self.commands {
            line(&mut text, "migrate", &joined(chain));
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

/// One line, whatever is in it: nothing moves the cursor, and nothing hides.
fn line(text: &mut String, name: &str, what: &str) {
    let _ = writeln!(text, "{name}: {}", escaped(what));
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
            redacted(value)
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
    let words = [
        "PASS",
        "PWD",
        "SECRET",
        "TOKEN",
        "KEY",
        "CREDENTIAL",
        "AUTH",
        "DSN",
    ];
    words.iter().any(|word| name.contains(word))
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

fn joined(chain: &Chain) -> String {
    let commands = chain.iter().map(|command| words(command));
    commands.collect::<Vec<_>>().join(" && ")
}

/// Words as a shell would take them back.
fn words(words: &[OsString]) -> String {
    let quote = |word: &OsString| {
        let word = redacted(word);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+*".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_a_shell_takes_them_back() {
        let line = ["sh", "-c", "it's", ""].map(OsString::from);
        assert_eq!(words(&line), "sh -c 'it'\\''s' ''");
    }
}
