//! How durations, days, errors and text from outside are said: the same everywhere.

pub mod characters;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

use crate::redaction::{without_known_passwords, without_secrets};
use crate::wording::characters::is_unseen;
pub use crate::wording::characters::{escaped, printable};

/// A duration as a person says it: `12ms`, `2.5s`, `60s`, `1m40s`, `1h`. Below 100 seconds it stays in seconds,
/// so that the default limit reads `15s of 60s`.
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let seconds = duration.as_secs();
    if seconds < 10 {
        let tenths = duration.subsec_millis() / 100;
        return if tenths == 0 {
            format!("{seconds}s")
        } else {
            format!("{seconds}.{tenths}s")
        };
    }
    if seconds < 100 {
        return format!("{seconds}s");
    }
    let mut text = String::new();
    for (amount, unit) in [
        (seconds / 3600, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ] {
        if amount > 0 {
            let _ = write!(text, "{amount}{unit}");
        }
    }
    text
}

/// An error of a system call in the words that people know it by, with its name of errno(3):
/// `connection refused (ECONNREFUSED)`. Errors that are not the system's have their own words alone.
pub fn error(error: &io::Error) -> String {
    let words = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::TimedOut => "connection timed out",
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => "it closed the connection",
        io::ErrorKind::UnexpectedEof => "it closed the connection without an answer",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        io::ErrorKind::NotADirectory => "not a directory on the way",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => return other_error(error),
    };
    match error.raw_os_error() {
        Some(number) => format!("{words} ({:?})", Errno::from_raw(number)),
        None => words.to_owned(),
    }
}

fn other_error(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        // As every other message, without a capital.
        Some(errno) => format!("{} ({errno:?})", errno.desc().to_lowercase()),
        None => printable(&error.to_string()),
    }
}

/// What a server or a library says, as a message quotes it: without secrets and without the passwords that were sent,
/// on one line, and cut behind all that.
pub fn quoted(text: &str, limit: usize) -> String {
    shortened(&printable(&without_known_passwords(text)), limit)
}

/// `text` without secrets, then cut to at most `limit` bytes (at least 3) with an ellipsis where something is missing:
/// half a secret is one still.
pub fn shortened(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    let text = without_secrets(text);
    if text.len() <= limit {
        return text;
    }
    let mut end = limit.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &text[..end])
}

/// The longest name or value from outside that a message shows, in bytes: no path of a program that exists is longer
/// than 4,096, and what is behind these tells nobody more.
const LONGEST: usize = 300;

/// A name from outside as a message shows it without quotes: a program, a path, a variable, a target.
pub fn named(name: impl AsRef<OsStr>) -> String {
    shortened(&name.as_ref().to_string_lossy(), LONGEST)
}

/// What stands behind `word` in a list of words and what each comes to.
pub fn looked_up(list: &'static str, word: &str) -> Option<&'static str> {
    let mut words = list.split(' ');
    while let (Some(known), Some(meant)) = (words.next(), words.next()) {
        if known == word {
            return Some(meant);
        }
    }
    None
}

/// A byte order mark.
const MARK: char = '\u{feff}';

/// What nobody sees in a value, in brackets; nothing where there is nothing of the kind.
pub fn unseen(text: &str) -> &'static str {
    if text.starts_with(MARK) {
        " (it begins with a byte order mark)"
    } else if text.ends_with('\r') {
        " (it ends in a carriage return, as lines of Windows do)"
    } else {
        ""
    }
}

/// A value from outside as a message shows it, in quotes: without secrets, with what nobody sees escaped, and with
/// a word about what nobody sees in an editor.
pub fn shown(value: impl AsRef<OsStr>) -> String {
    let whole = without_secrets(&value.as_ref().to_string_lossy());
    let text = shortened(&whole, LONGEST);
    if !text.contains(is_unseen) {
        return format!("'{text}'{}", unseen(&whole));
    }
    format!("{text:?}{}", unseen(&whole))
}

/// The day of a time in seconds since 1970, UTC, as ISO 8601 writes it.
pub fn day(seconds: u64) -> String {
    // From March of the year 0 on, in eras of 400 years (Howard Hinnant, "chrono-Compatible Low-Level Date
    // Algorithms").
    let days = seconds / 86400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year, month + 3)
    } else {
        (year + 1, month - 9)
    };
    format!("{:04}-{month:02}-{day:02}", year + era * 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let table = [
            (0, "0ms"),
            (12, "12ms"),
            (999, "999ms"),
            (1000, "1s"),
            (2500, "2.5s"),
            (15_900, "15s"),
            (60_000, "60s"),
            (100_000, "1m40s"),
            (120_000, "2m"),
            (3_600_000, "1h"),
            (3_661_000, "1h1m1s"),
        ];
        for (millis, text) in table {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_cut_keeps_characters_whole_and_the_limit() {
        assert_eq!(shortened("short", 5), "short");
        for limit in 3..12 {
            let cut = shortened("äöüäöüäöü", limit);
            assert!(cut.len() <= limit, "{cut} is longer than {limit}");
            assert!(cut.ends_with('…'));
        }
    }

    #[test]
    fn an_error_has_its_words_and_the_name_of_its_errno() {
        let table = [
            (111, "connection refused (ECONNREFUSED)"),
            (2, "no such file or directory (ENOENT)"),
            (91, "protocol wrong type for socket (EPROTOTYPE)"),
        ];
        for (errno, words) in table {
            assert_eq!(error(&io::Error::from_raw_os_error(errno)), words);
        }
        assert_eq!(error(&io::Error::other("own words")), "own words");
    }

    #[test]
    fn what_nobody_sees_in_a_value_is_shown() {
        let table = [
            ("8000", "'8000'"),
            ("80 00 ", "'80 00 '"),
            (
                "8000\r",
                r#""8000\r" (it ends in a carriage return, as lines of Windows do)"#,
            ),
            (
                "\u{feff}8000",
                r#""\u{feff}8000" (it begins with a byte order mark)"#,
            ),
            ("a\n\u{1b}[1m\"", r#""a\n\u{1b}[1m\"""#),
        ];
        for (value, expected) in table {
            assert_eq!(shown(value), expected);
        }
    }
}
