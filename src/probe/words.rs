//! How durations and errors are said: in few words, the same everywhere.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

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

/// `text` without control characters, which a server could have put there to forge lines or to steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// `text`, cut to at most `limit` bytes (at least 3) with an ellipsis where something is missing.
pub fn shortened(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &text[..end])
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
    fn control_characters_do_not_get_through() {
        assert_eq!(printable("a\r\nunhealthy: \x1b[31m"), "a  unhealthy:  [31m");
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
}
