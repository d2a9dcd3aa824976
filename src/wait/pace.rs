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
