//! The logger: stderr only, one `write(2)` a line, nothing that could fail loudly and nothing that waits for a reader.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::exit::{Exit, Failure};
use crate::redaction::without_secrets;
use crate::sys;
use crate::sys::signal_names;
use crate::wording::characters::is_unseen;
use crate::wording::{day, printable};

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `portero: message`.
    #[default]
    Text,
    /// `{"time":…,"level":…,"message":…}`, and the record's own keys behind these.
    Json,
}

/// How long a line may wait for room.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long the last line before the end may: it says why.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

struct Logger {
    format: Format,
    /// The stage that this process is.
    step: Option<&'static str>,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// How many lines found no room since the last one that did.
static LOST: AtomicU32 = AtomicU32::new(0);

/// Whether the last line was cut off in its middle.
static TORN: AtomicBool = AtomicBool::new(false);

/// Sets level and format. Only the first call counts; `log` knows one logger a process.
pub fn start(level: LevelFilter, format: Format, step: Option<&'static str>) {
    let logger = LOGGER.get_or_init(|| Logger { format, step });
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
            let message = record.args().to_string();
            let mut data = Data::default();
            if self.format == Format::Json {
                let _ = record.key_values().visit(&mut data);
            }
            write(&self.line(record.level(), &message, &data), PATIENCE);
        }
    }

    fn flush(&self) {}
}

impl Logger {
    fn line(&self, level: Level, message: &str, data: &Data) -> String {
        let message = without_secrets(message);
        match self.format {
            Format::Text => text(level, &message),
            Format::Json => json(level, &message, self.step, data),
        }
    }
}

/// Writes a line, and before it how many there was no room for. After one that was lost the next ones are tried without
/// waiting: who has not read for so long will not in the next moment.
fn write(line: &str, patience: Duration) {
    let (lost, torn) = (LOST.load(Ordering::Relaxed), TORN.load(Ordering::Relaxed));
    let waits = lost == 0 || patience == LAST_PATIENCE;
    let patience = if waits { patience } else { Duration::ZERO };
    let mut text = String::with_capacity(line.len() + 80);
    text.push_str(if torn { "\n" } else { "" });
    if lost > 0 {
        let lines = if lost == 1 { "line was" } else { "lines were" };
        let message = format!("{lost} {lines} lost: nobody read them");
        text.push_str(&current().line(Level::Warn, &message, &Data::default()));
    }
    text.push_str(line);
    let stderr = sys::standard_stream(libc::STDERR_FILENO);
    let written = sys::write_within(stderr, text.as_bytes(), patience);
    let is_lost = written < text.len();
    LOST.store(
        if is_lost { lost.saturating_add(1) } else { 0 },
        Ordering::Relaxed,
    );
    TORN.store(is_lost && (written > 0 || torn), Ordering::Relaxed);
}

fn current() -> &'static Logger {
    static PLAIN: Logger = Logger {
        format: Format::Text,
        step: None,
    };
    LOGGER.get().unwrap_or(&PLAIN)
}

/// The keys and values of a record as members of a JSON object, each with a comma before it.
#[derive(Default)]
struct Data {
    members: String,
    has_step: bool,
}

impl<'kvs> VisitSource<'kvs> for Data {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.has_step |= key.as_str() == "step";
        let _ = write!(self.members, ",\"{key}\":");
        if let Some(number) = value.to_i64() {
            let _ = write!(self.members, "{number}");
        } else {
            self.members.push('"');
            escape(&without_secrets(&value.to_string()), &mut self.members);
            self.members.push('"');
        }
        Ok(())
    }
}

/// Says why the run ends: to Kubernetes where it looks for it, and on stderr.
pub fn write_failure(failure: &Failure) {
    let mut data = Data::default();
    let _ = write!(data.members, ",\"code\":{}", failure.exit.code());
    if let Exit::Signal(number) = failure.exit {
        let _ = write!(
            data.members,
            ",\"signal\":\"{}\"",
            signal_names::name(number)
        );
    }
    write_last(Level::Error, &failure.message, &data);
}

/// Says how COMMAND died: to Kubernetes where it looks for it, and on stderr.
pub fn write_death(pid: i32, signal: Option<i32>, message: &str) {
    let mut data = Data::default();
    let _ = write!(data.members, ",\"pid\":{pid}");
    if let Some(signal) = signal {
        let name = signal_names::name(signal);
        let _ = write!(data.members, ",\"signal\":\"{name}\"");
    }
    write_termination_log(message);
    write(&current().line(Level::Error, message, &data), PATIENCE);
}

/// The last line before the end.
fn write_last(level: Level, message: &str, data: &Data) {
    write_termination_log(message);
    write(&current().line(level, message, data), LAST_PATIENCE);
}

/// It exists only where Kubernetes mounted it, and keeps 4096 bytes (Kubernetes, "Determine the Reason for Pod
/// Failure"). What COMMAND has written there stays before it.
fn write_termination_log(message: &str) {
    let mut options = OpenOptions::new();
    options
        .append(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let Ok(mut file) = options.open(TERMINATION_LOG) else {
        return;
    };
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        let line = text(Level::Error, &without_secrets(message));
        let _ = file.write_all(line.as_bytes().get(..4096).unwrap_or(line.as_bytes()));
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
    let message = printable(message);
    format!("portero: {mark}{message}\n")
}

fn json(level: Level, message: &str, step: Option<&str>, data: &Data) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (time, level) = (rfc3339(now), level.as_str().to_ascii_lowercase());
    let mut line = format!("{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":\"");
    escape(message, &mut line);
    line.push('"');
    if let Some(step) = step.filter(|_| !data.has_step) {
        let _ = write!(line, ",\"step\":\"{step}\"");
    }
    line.push_str(&data.members);
    line.push_str("}\n");
    line
}

/// A time since 1970 as RFC 3339 has it, in UTC and with milliseconds.
fn rfc3339(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}T{:02}:{:02}:{:02}.{:03}Z",
        day(seconds),
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        time.subsec_millis()
    )
}

/// As RFC 8259 section 7 asks, and with the number of what nobody sees: a viewer would take it from the string.
fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if is_unseen(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
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
        let data = Data {
            members: ",\"limit_ms\":5".into(),
            has_step: false,
        };
        let nasty = format!("{nasty}\u{202e}\u{2028}\u{e0041}");
        let line = json(Level::Error, &nasty, Some("wait"), &data);
        let expected = r#","level":"error","message":"a \"quoted\"\u000aback\\slash\u0007\u202e\u2028\udb40\udc41","step":"wait","limit_ms":5}"#;
        assert!(line.ends_with(&format!("{expected}\n")), "{line}");
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_078_099_200_001, "2004-03-01T00:00:00.001Z"),
            (1_795_701_401_042, "2026-11-26T13:56:41.042Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, expected) in table {
            assert_eq!(rfc3339(Duration::from_millis(millis)), expected);
        }
    }
}
