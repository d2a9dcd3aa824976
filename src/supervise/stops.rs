//! What a *stop* is: the one place that says so. Everything else asks here: what comes before COMMAND, the delay, the
//! timeout, the time for leftovers, the log.
//!
//! A stop is a received SIGTERM, SIGINT, SIGQUIT or SIGRTMIN+3 (systemd's for a container), or the FROM of a
//! `--map-signal` whose TO is one of these (`WINCH=TERM`) or is FROM itself (`WINCH=WINCH`, to declare one): an image
//! with `STOPSIGNAL SIGWINCH` says by that what its runtime sends. What was *received* decides, never what is sent for
//! it: with `TERM=WINCH` a TERM is a stop, and a WINCH that comes by itself, a terminal's new size, is none. A signal
//! that portero was given as ignored (`nohup(1)`), or that is mapped to nothing, is none either.
//!
//! | when | a stop | another signal |
//! |---|---|---|
//! | before COMMAND, without a step | ends the run with 128+n, n as received | the same, if it terminates by default; else nothing |
//! | a wait | likewise | likewise |
//! | a migration | its group gets SIGTERM, and the run ends with 128+n | it is forwarded, and ends the run likewise |
//! | COMMAND | is delayed by `--stop-delay`, mapped, forwarded, and starts `--stop-timeout` | is mapped and forwarded |
//! | leftovers | goes to all of them, mapped | likewise |
//!
//! A step before COMMAND is a portero of its own (`portero wait`, `portero migrate`). It gets what was received, and
//! the map that `handed_down` makes of COMMAND's: so the two can't disagree, also about a key, which a terminal sends
//! to both.

use std::time::{Duration, Instant};

use crate::exit::{Exit, Failure};
use crate::supervise::signals::SignalMap;
use crate::sys::{self, signal_names};

/// What stops by its own name: 37 is SIGRTMIN+3.
const STOPS: [i32; 4] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGQUIT,
    signal_names::RTMIN + 3,
];

/// Whether a received signal is a stop.
pub fn is_stop(number: i32, map: &SignalMap) -> bool {
    is_stop_by(number, map) && !is_ignored(number)
}

/// One of which it is not known ends the run rather than to go unheard.
fn is_ignored(number: i32) -> bool {
    sys::is_ignored(number).unwrap_or(false)
}

fn is_stop_by(number: i32, map: &SignalMap) -> bool {
    let is_declared = |to| map.has(number) && (to == number || STOPS.contains(&to));
    map.apply(number)
        .is_some_and(|to| STOPS.contains(&number) || is_declared(to))
}

/// Whether a received signal ends a run that has not come to COMMAND yet: a stop, and one that terminates by default,
/// is not ignored and not mapped to nothing. An ignored one arrives too, since it is blocked.
pub fn ends_run(number: i32, map: &SignalMap) -> bool {
    ends_run_by(number, map) && !is_ignored(number)
}

fn ends_run_by(number: i32, map: &SignalMap) -> bool {
    is_stop_by(number, map) || signal_names::terminates(number) && map.apply(number).is_some()
}

/// What `portero wait` takes by a handler, as default dispositions do nothing to a PID 1: every stop, and a hang-up.
/// The C library keeps 32 to 34 to itself.
pub fn by_handler(map: &SignalMap) -> Vec<i32> {
    let takes =
        |number: &i32| is_stop(*number, map) || *number == libc::SIGHUP && ends_run(*number, map);
    let can_be = |number: &i32| {
        !signal_hook::consts::FORBIDDEN.contains(number) && !matches!(number, 32..=34)
    };
    (1..=64).filter(can_be).filter(takes).collect()
}

/// Whether a signal that ends the run has arrived. Others, such as the SIGWINCH of every `docker run -it`, and the
/// SIGCHLD of what was reaped meanwhile, are taken away here and do no harm.
///
/// # Errors
/// The signal, as the end of the run.
pub fn stop_requested(map: &SignalMap) -> Result<(), Failure> {
    while let Some(signal) = sys::next_signal(Some(Duration::ZERO)) {
        if ends_run(signal.number, map) {
            return Err(stopped(signal.number));
        }
    }
    Ok(())
}

/// The failure that a stop before COMMAND is.
pub fn stopped(signal: i32) -> Failure {
    let message = format!(
        "stopped by {} before COMMAND was started",
        signal_names::name(signal)
    );
    Failure::new(Exit::Signal(signal), message)
}

/// The map of a step: what is a stop here is one there, and is SIGTERM to its child; what is mapped to nothing is
/// nothing; all else is as it comes.
#[must_use]
pub fn handed_down(map: &SignalMap) -> SignalMap {
    reduced(map, |_| libc::SIGTERM)
}

/// The map by which PID 1 supervises a step: likewise, but the step gets what was received, and decides itself. One
/// exception: `portero wait` keeps SIGPIPE blocked, for the readers that its streams lose, and would not hear of it.
#[must_use]
pub fn as_received(map: &SignalMap) -> SignalMap {
    let mut step = reduced(map, |number| number);
    if !step.has(libc::SIGPIPE) {
        step.set(libc::SIGPIPE, libc::SIGTERM);
    }
    step
}

fn reduced(map: &SignalMap, to: impl Fn(i32) -> i32) -> SignalMap {
    let entries = (1..=64).filter_map(|number| match map.apply(number) {
        None => Some((number, None)),
        Some(_) => is_stop_by(number, map).then(|| (number, Some(to(number)))),
    });
    SignalMap::of(entries)
}

/// The state of `--stop-delay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// No stop has come yet.
    Before,
    /// This one waits to be forwarded.
    Until(Instant, i32),
    /// One was forwarded: no other is delayed.
    Over,
}

impl Delay {
    /// Whether this stop is to wait: the first one. A second one of any kind ends the delay, and goes in its place.
    /// Keys are not delayed: where there is a terminal, SIGINT and SIGQUIT come from somebody who waits there.
    pub fn holds_back(&mut self, number: i32, delay: Option<Duration>, terminal: bool) -> bool {
        let is_key = terminal && matches!(number, libc::SIGINT | libc::SIGQUIT);
        let held = delay.filter(|_| *self == Self::Before && !is_key);
        *self = held.map_or(Self::Over, |delay| {
            Self::Until(Instant::now() + delay, number)
        });
        held.is_some()
    }

    /// When it is over.
    pub fn deadline(self) -> Option<Instant> {
        match self {
            Self::Until(until, _) => Some(until),
            Self::Before | Self::Over => None,
        }
    }
}

/// The state of `--stop-timeout`: when everything is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// No stop was forwarded, or there is no limit.
    Never,
    /// Then.
    At(Instant),
    /// It is done.
    Done,
}

impl Kill {
    /// When it is over.
    pub fn deadline(self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(at),
            Self::Never | Self::Done => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(items: &[&str]) -> SignalMap {
        let mut map = SignalMap::default();
        for item in items {
            map.add(item).unwrap();
        }
        map
    }

    /// The stops and what ends a run, of 1 to 64.
    fn sets(map: &SignalMap) -> [Vec<i32>; 2] {
        [is_stop_by, ends_run_by].map(|asks| (1..=64).filter(|number| asks(*number, map)).collect())
    }

    #[test]
    fn each_signal_is_a_stop_or_none_by_what_is_received() {
        // A map; which stops there are beside (+) or without (−) the four that always are.
        let table: [(&[&str], &[i32], &[i32]); 12] = [
            (&[], &[], &[]),
            (&["TERM=WINCH"], &[], &[]),
            (&["TERM=QUIT", "HUP=USR1"], &[], &[]),
            (&["WINCH=TERM"], &[28], &[]),
            (&["WINCH=WINCH"], &[28], &[]),
            (
                &["WINCH=RTMIN+3", "USR1=INT", "40=QUIT"],
                &[28, 10, 40],
                &[],
            ),
            (&["TERM="], &[], &[15]),
            (
                &["TERM=", "INT=", "QUIT=", "RTMIN+3=", "PWR=TERM"],
                &[30],
                &[15, 2, 3, 37],
            ),
            (&["INT=INT", "HUP="], &[], &[]),
            (&["INT=HUP", "HUP=INT"], &[1], &[]),
            (&["CONT=TERM", "TSTP=TSTP"], &[18, 20], &[]),
            (&["WINCH=USR1", "USR1=WINCH"], &[], &[]),
        ];
        for (items, more, less) in table {
            let map = map(items);
            let mut expected: Vec<i32> = STOPS
                .iter()
                .chain(more)
                .filter(|n| !less.contains(n))
                .copied()
                .collect();
            expected.sort_unstable();
            let [stops, ends] = sets(&map);
            assert_eq!(stops, expected, "{items:?}");
            for number in 1..=64 {
                let terminates = !matches!(number, 17..=23 | 28) && map.apply(number).is_some();
                assert_eq!(
                    ends.contains(&number),
                    stops.contains(&number) || terminates,
                    "{number}, {items:?}"
                );
            }
            // The step says of each signal what PID 1 says, and so would a step of the step.
            for step in [handed_down(&map), handed_down(&handed_down(&map))] {
                assert_eq!(sets(&step), [stops.clone(), ends.clone()], "{items:?}");
            }
            assert_eq!(sets(&as_received(&map))[1], ends, "{items:?}");
            for number in 1..=64 {
                let step = handed_down(&map).apply(number);
                let expected = match (map.apply(number), stops.contains(&number)) {
                    (None, _) => None,
                    (_, true) => Some(15),
                    _ => Some(number),
                };
                assert_eq!(step, expected, "{number}, {items:?}");
                let received = map
                    .apply(number)
                    .map(|_| if number == 13 { 15 } else { number });
                assert_eq!(as_received(&map).apply(number), received);
            }
        }
    }

    #[test]
    fn a_stop_is_delayed_once_and_a_key_never() {
        let hour = Some(Duration::from_hours(1));
        // Which stops come, on a terminal or not, and which of them are held back.
        let table: [(&[i32], bool, &[bool]); 6] = [
            (&[15, 15, 15], false, &[true, false, false]),
            (&[2, 15], false, &[true, false]),
            (&[28, 3], false, &[true, false]),
            (&[15, 2], true, &[true, false]),
            (&[2, 15], true, &[false, false]),
            (&[37, 37], true, &[true, false]),
        ];
        for (signals, terminal, held) in table {
            let mut delay = Delay::Before;
            let got: Vec<bool> = signals
                .iter()
                .map(|n| delay.holds_back(*n, hour, terminal))
                .collect();
            assert_eq!(got, held, "{signals:?}");
        }
        assert!(!Delay::Before.holds_back(15, None, false));
    }
}
