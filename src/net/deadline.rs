//! Time: the one deadline of a question, and the pause between two tries.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use crate::net::readiness::Readiness;
use crate::wording;

/// When a probe must have its answer. One deadline spans everything that the probe does.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// What stands for no limit: longer than any container lives, and short enough for every clock's arithmetic.
    const UNLIMITED: Duration = Duration::from_hours(365 * 24);

    /// A deadline that starts now; `None` is no limit.
    pub fn after(limit: Option<Duration>) -> Self {
        Self::since(Instant::now(), limit)
    }

    /// The same that started before: what it says names the whole limit, as the user gave it, not what was left.
    pub fn since(started: Instant, limit: Option<Duration>) -> Self {
        let limit = limit.map_or(Self::UNLIMITED, |limit| limit.min(Self::UNLIMITED));
        Self {
            at: started + limit,
            limit,
        }
    }

    /// The time that is left, never zero; `None` when it has passed.
    pub fn remaining(self) -> Option<Duration> {
        self.at
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// The first of so many equal parts of what is left.
    pub fn share(self, parts: usize) -> Self {
        let now = Instant::now();
        let left = self.at.saturating_duration_since(now);
        let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
        Self {
            at: now + left / parts,
            ..self
        }
    }

    /// What to say when it has passed.
    pub fn missed(self) -> Readiness {
        Readiness::NotYet(format!(
            "no answer within {}",
            wording::duration(self.limit)
        ))
    }
}

/// Between half of a pause and all of it, so that replicas that started together do not stay in step.
pub fn jittered(pause: Duration) -> Duration {
    // The standard library seeds every RandomState anew: that is randomness enough here.
    let random = RandomState::new().build_hasher().finish() % 1024;
    pause / 2 + (pause / 2) * u32::try_from(random).unwrap_or_default() / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_vary_but_never_exceed_their_length() {
        let pause = Duration::from_secs(1);
        let drawn: Vec<_> = (0..100).map(|_| jittered(pause)).collect();
        assert!(
            drawn
                .iter()
                .all(|&drawn| drawn >= pause / 2 && drawn <= pause),
            "{drawn:?}"
        );
        assert!(drawn.iter().any(|&other| other != drawn[0]));
    }
}
