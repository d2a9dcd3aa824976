//! How long one try may take, and how long the pause is until the next.

use std::time::Duration;

use crate::net::deadline::jittered;
use crate::net::readiness::Readiness;
use crate::net::resolver;

/// The shortest pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The shortest pause after an answer that says no (accounts get locked), and for a name that has no address (name
/// servers have limits).
const GENTLE_PAUSE: Duration = Duration::from_secs(1);

/// How long one try may take at first: a connection that hangs must not use up the whole wait.
const TRY_LIMIT: Duration = Duration::from_secs(5);

/// How long one try may take in the end, in a wait without a limit.
const LONGEST_TRY: Duration = Duration::from_mins(5);

/// How long one try after the other may take.
pub(super) struct Tries {
    next: Duration,
    /// The shortest: the first one ends before the wait's limit, so that it has its say.
    first: Duration,
    wait: Option<Duration>,
}

impl Tries {
    pub(super) fn new(wait: Option<Duration>) -> Self {
        let first = wait.map_or(TRY_LIMIT, |limit| (limit / 10 * 9).min(TRY_LIMIT));
        Self {
            next: first,
            first,
            wait,
        }
    }

    /// For a try that begins this long into the wait: up to what is left of it.
    pub(super) fn limit(&self, elapsed: Duration) -> Duration {
        let left = self
            .wait
            .map_or(LONGEST_TRY, |limit| limit.saturating_sub(elapsed));
        self.next.min(left).max(self.first)
    }

    /// After a try that was cut off the next may take twice as long: a slow service is not an absent one. A probe of
    /// several addresses gives each its share, so that one which took a quarter of the time may have been cut off.
    pub(super) fn note(&mut self, limit: Duration, took: Duration) {
        self.next = if took >= limit / 4 {
            limit.saturating_mul(2)
        } else {
            self.first
        };
    }
}

/// The pauses between tries: each half as long again as the one before.
pub(super) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            next: FIRST_PAUSE.min(longest),
            longest,
        }
    }

    /// The pause after this answer.
    pub(super) fn after(&mut self, answer: &Readiness) -> Duration {
        let pause = jittered(self.next);
        self.next = (self.next * 3 / 2).min(self.longest);
        match answer {
            Readiness::Refused(_) => pause.max(GENTLE_PAUSE),
            Readiness::NotYet(reason) if resolver::is_unresolved(reason) => pause.max(GENTLE_PAUSE),
            Readiness::NotYet(_) | Readiness::Ready(_) => pause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_half_up_to_the_longest_and_are_a_second_where_asking_does_harm() {
        let not_yet = Readiness::NotYet("connection refused".to_owned());
        let mut pauses = Pauses::new(Duration::from_secs(1));
        let mut expected = Duration::from_millis(50);
        for _ in 0..20 {
            let pause = pauses.after(&not_yet);
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?}");
            expected = (expected * 3 / 2).min(Duration::from_secs(1));
        }
        let gentle = [
            Readiness::Refused("wrong password".to_owned()),
            Readiness::NotYet("can't resolve db: no such host".to_owned()),
        ];
        for answer in gentle {
            for longest in [Duration::from_millis(10), Duration::from_secs(1)] {
                let pause = Pauses::new(longest).after(&answer);
                assert_eq!(pause, Duration::from_secs(1), "{answer:?}");
            }
            let mut pauses = Pauses::new(Duration::from_secs(20));
            let longest = (0..20).map(|_| pauses.after(&answer)).max();
            assert!(longest > Some(Duration::from_secs(9)), "{longest:?}");
        }
    }

    #[test]
    fn a_try_that_was_cut_off_is_followed_by_one_twice_as_long_up_to_what_is_left() {
        let seconds = Duration::from_secs;
        let mut tries = Tries::new(Some(seconds(60)));
        let table = [(0, 5), (5, 10), (15, 20), (35, 25), (59, 5)];
        for (elapsed, limit) in table {
            let granted = tries.limit(seconds(elapsed));
            assert_eq!(granted, seconds(limit), "after {elapsed} s");
            tries.note(granted, granted);
        }
        tries.note(seconds(20), Duration::from_millis(3));
        assert_eq!(tries.limit(seconds(1)), seconds(5), "after an answer");
        assert_eq!(
            Tries::new(Some(seconds(2))).limit(seconds(0)),
            Duration::from_millis(1800)
        );
        let mut tries = Tries::new(None);
        for _ in 0..20 {
            let limit = tries.limit(seconds(0));
            tries.note(limit, limit);
        }
        assert_eq!(tries.limit(seconds(0)), seconds(300));
    }
}
