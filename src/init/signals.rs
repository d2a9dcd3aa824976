//! Signals by name and number, and what `--map-signal` makes of them (`signal(7)`).

/// The numbers on x86-64 and arm64, 1 to 31.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names for some of them.
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// What a C library calls SIGRTMIN: glibc and musl keep 32–34 and 32–33 to themselves; 34 is glibc's first.
pub const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal that was given by name, with or without SIG, or by number.
pub fn number(name: &str) -> Option<i32> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name
            .parse()
            .ok()
            .filter(|number| (1..=RTMAX).contains(number));
    }
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(index + 1).ok();
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(*number);
    }
    real_time(name)
}

fn real_time(name: &str) -> Option<i32> {
    let offset = |text: &str| match text {
        "" => Some(0),
        text => text[1..]
            .parse::<u8>()
            .ok()
            .filter(|_| text[1..].bytes().all(|byte| byte.is_ascii_digit()))
            .map(i32::from),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN + offset(Some(rest).filter(|rest| rest.is_empty() || rest.starts_with('+'))?)?
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        RTMAX - offset(Some(rest).filter(|rest| rest.is_empty() || rest.starts_with('-'))?)?
    };
    Some(number).filter(|number| (RTMIN..=RTMAX).contains(number))
}

/// `SIGTERM` for 15, `SIGRTMIN+1` for 35.
pub fn name(number: i32) -> String {
    match usize::try_from(number - 1)
        .ok()
        .and_then(|index| NAMES.get(index))
    {
        Some(name) => format!("SIG{name}"),
        None if number >= RTMIN => format!("SIGRTMIN+{}", number - RTMIN),
        None => format!("signal {number}"),
    }
}

/// Whether the signal's default action is to end the process.
pub fn terminates(number: i32) -> bool {
    !matches!(
        number,
        libc::SIGCHLD | libc::SIGCONT | libc::SIGSTOP | libc::SIGURG | libc::SIGWINCH
    ) && !is_terminal_stop(number)
}

/// The stops that a terminal sends, and that a process may catch.
pub fn is_terminal_stop(number: i32) -> bool {
    matches!(number, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// Whether the signal is what a program that goes wrong comes to (`signal(7)`, those that dump core by a fault).
pub fn is_crash(number: i32) -> bool {
    use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    matches!(
        number,
        SIGABRT | SIGBUS | SIGFPE | SIGILL | SIGSEGV | SIGSYS | SIGTRAP
    )
}

/// Whether the signal is job control's: a terminal's stops, and what continues after them.
pub fn is_job_control(number: i32) -> bool {
    is_terminal_stop(number) || number == libc::SIGCONT
}

/// `--map-signal`: which signal is forwarded for which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignalMap(Vec<(i32, Option<i32>)>);

impl SignalMap {
    /// Adds `FROM=TO`; TO may be empty, which drops FROM. A later one replaces an earlier one of the same FROM.
    ///
    /// # Errors
    /// A line about what is no signal, or one that no program can catch.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let (from, to) = text.split_once('=').ok_or_else(|| {
            format!(
                "{} is not FROM=TO, e.g. TERM=QUIT",
                crate::redaction::shown(text)
            )
        })?;
        let known = |name: &str| {
            number(name).ok_or_else(|| format!("{} is no signal", crate::redaction::shown(name)))
        };
        let from = known(from)?;
        if matches!(from, libc::SIGKILL | libc::SIGSTOP | libc::SIGCHLD) {
            return Err(format!(
                "{} can't be mapped: it is never forwarded",
                name(from)
            ));
        }
        let to = if to.is_empty() {
            None
        } else {
            Some(known(to)?)
        };
        self.0.retain(|(known, _)| *known != from);
        self.0.push((from, to));
        Ok(())
    }

    /// A map of these, each FROM once.
    pub fn of(entries: impl IntoIterator<Item = (i32, Option<i32>)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// Adds one, of a FROM that is not there.
    pub fn set(&mut self, from: i32, to: i32) {
        self.0.push((from, Some(to)));
    }

    /// Whether anything was given for this FROM.
    pub fn has(&self, from: i32) -> bool {
        self.0.iter().any(|(known, _)| *known == from)
    }

    /// What is forwarded when `number` arrives; `None` when nothing is.
    pub fn apply(&self, number: i32) -> Option<i32> {
        let known = self.0.iter().find(|(from, _)| *from == number);
        known.map_or(Some(number), |(_, to)| *to)
    }

    /// `SIGTERM=SIGQUIT`, each.
    pub fn describe(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(from, to)| format!("{}={}", name(*from), to.map(name).unwrap_or_default()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree_for_every_signal() {
        for signal in (1..=31).chain(34..=64) {
            let name = name(signal);
            assert_eq!(number(&name), Some(signal), "{name}");
            assert_eq!(number(&name.to_ascii_lowercase()), Some(signal), "{name}");
            assert_eq!(
                number(name.trim_start_matches("SIG")),
                Some(signal),
                "{name}"
            );
            assert_eq!(number(&signal.to_string()), Some(signal));
        }
        assert_eq!(number("RTMAX-1"), Some(63));
        for bad in [
            "", "0", "65", "-1", "+15", "SIG", "SIGNOPE", "RTMIN-1", "RTMAX+1", "RTMIN+31",
            "RTMIN+", "RTMIN++1", "TERM ",
        ] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_map_replaces_and_drops() {
        let mut map = SignalMap::default();
        for text in ["TERM=QUIT", "SIGHUP=", "1=", "10=12", "TERM=INT"] {
            map.add(text).unwrap();
        }
        assert_eq!(
            [15, 1, 10, 2].map(|signal| map.apply(signal)),
            [Some(2), None, Some(12), Some(2)]
        );
        for bad in ["TERM", "=", "TERM=NOPE", "KILL=TERM", "CHLD=TERM", "STOP="] {
            assert!(map.add(bad).is_err(), "{bad}");
        }
    }
}
