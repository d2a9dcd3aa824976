//! What `--map-signal` makes of signals.

use crate::sys::signal_names::{name, number};

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
                crate::wording::shown(text)
            )
        })?;
        let known = |name: &str| {
            number(name).ok_or_else(|| format!("{} is no signal", crate::wording::shown(name)))
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
