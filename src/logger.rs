//! The logger: stderr only, one `write(2)` a line, nothing that could fail loudly.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sys;
use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `portero: message`.
    #[default]
    Text,
    /// `{"time":…,"level":…,"message":…}`, and the record's own keys behind these.
    Json,
}

struct Logger(Format);

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// The longest first, as one may be a part of another.
static SECRETS: OnceLock<Vec<String>> = OnceLock::new();

/// From now on no line shows any of these values, wherever it got it from. Only the first call counts.
pub fn hide(secrets: &[OsString]) {
    let mut secrets: Vec<String> = secrets
        .iter()
        .map(|secret| secret.to_string_lossy().into_owned())
        .filter(|secret| !secret.is_empty())
        .collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let _ = SECRETS.set(secrets);
}

/// `text` with `***` for each secret in it.
pub fn without_secrets(text: &str) -> String {
    let secrets = SECRETS.get().map_or(&[][..], Vec::as_slice);
    let hide = |text: String, secret: &String| text.replace(secret.as_str(), "***");
    secrets.iter().fold(text.to_owned(), hide)
}

/// Sets level and format. Only the first call counts; `log` knows one logger a process.
pub fn start(level: LevelFilter, format: Format) {
    let logger = LOGGER.get_or_init(|| Logger(format));
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The libraries underneath log what they see, which may be a password.
        metadata.target().starts_with(env!("CARGO_PKG_NAME"))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let message = without_secrets(&record.args().to_string());
            match self.0 {
                Format::Text => write_text(&text(record.level(), &message)),
                Format::Json => {
                    let mut data = Data::default();
                    let _ = record.key_values().visit(&mut data);
                    write_text(&json(record.level(), &message, &data.0));
                }
            }
        }
    }

    fn flush(&self) {}
}

/// Writes one line. A stderr that is closed or full is nobody's reason to fail.
pub fn write_line(format: Format, level: Level, message: &str) {
    let message = without_secrets(message);
    let line = match format {
        Format::Text => text(level, &message),
        Format::Json => json(level, &message, ""),
    };
    write_text(&line);
}

fn write_text(line: &str) {
    sys::without_sigpipe(|| std::io::stderr().write_all(line.as_bytes()));
}

/// The keys and values of a record as members of a JSON object, each with a comma before it.
#[derive(Default)]
struct Data(String);

impl<'kvs> VisitSource<'kvs> for Data {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let _ = write!(self.0, ",\"{key}\":");
        if let Some(number) = value.to_u64() {
            let _ = write!(self.0, "{number}");
        } else {
            self.0.push('"');
            escape(&without_secrets(&value.to_string()), &mut self.0);
            self.0.push('"');
        }
        Ok(())
    }
}

/// Says why the run ends, also to Kubernetes' termination log when there is one.
pub fn write_failure(message: &str) {
    let format = LOGGER.get().map_or(Format::Text, |logger| logger.0);
    write_line(format, Level::Error, message);
    // It exists only where Kubernetes mounted it, and keeps 4096 bytes (Kubernetes, "Determine the Reason for Pod
    // Failure").
    if let Ok(mut file) = std::fs::OpenOptions::new()
        .write(true)
        .open(TERMINATION_LOG)
    {
        let message = text(Level::Error, &without_secrets(message));
        let _ = file.write_all(&message.as_bytes()[..message.len().min(4096)]);
    }
}

const TERMINATION_LOG: &str = "/dev/termination-log";

fn text(level: Level, message: &str) -> String {
    let mark = if level == Level::Warn {
        "warning: "
    } else {
        ""
    };
    // One line stays one line, whatever a server or a file name has in it.
    let message = message.replace(|c: char| c.is_control(), " ");
    format!("portero: {mark}{message}\n")
}

fn json(level: Level, message: &str, data: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let level = level.as_str().to_ascii_lowercase();
    let mut line = format!(
        "{{\"time\":{}.{:03},\"level\":\"{level}\",\"message\":\"",
        now.as_secs(),
        now.subsec_millis()
    );
    escape(message, &mut line);
    line.push('"');
    line.push_str(data);
    line.push_str("}\n");
    line
}

/// As RFC 8259 section 7 asks.
fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_in_both_formats() {
        let nasty = "a \"quoted\"\nback\\slash\u{7}";
        assert_eq!(
            text(Level::Warn, nasty),
            "portero: warning: a \"quoted\" back\\slash \n"
        );
        let line = json(Level::Error, nasty, ",\"limit_ms\":5");
        assert!(line.ends_with(",\"level\":\"error\",\"message\":\"a \\\"quoted\\\"\\u000aback\\\\slash\\u0007\",\"limit_ms\":5}\n"), "{line}");
    }
}
