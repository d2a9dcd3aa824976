//! Getting the lock: connect, look whether it is free, try, find out whether it means something here, hold it a while.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::database::connect::Connector;
use crate::database::diagnosis::Trouble;
use crate::database::lock::holder::Holder;
use crate::database::lock::key::{Key, Wanted};
use crate::database::lock::ledger::{Ledger, Record};
use crate::database::lock::race::race;
use crate::database::lock::session::{Attempt, Session, Unwritable};
use crate::database::lock::sharing::Sharing;
use crate::database::lock::watch::Watch;
use crate::database::lock::{remedies, sharing};
use crate::exit::Failure;
use crate::net::deadline::jittered;
use crate::wording;

/// The pause between two tries grows, for a login costs the server more than a question, and nobody keeps a connection
/// while waiting; and it shrinks again, or who has waited long would be outrun by newcomers for as long as they come.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// When the pause is longest.
const TURN: Duration = Duration::from_secs(40);
/// The shortest pause for those who have waited long, or whom a full server has turned away.
const GENTLE_PAUSE: Duration = Duration::from_secs(2);
/// Both bounds where a server waits for its promotion.
const PAUSE_UNWRITABLE: Duration = Duration::from_secs(1);
/// The least time for a try, where the limit leaves less.
const SHORTEST_TRY: Duration = Duration::from_secs(1);
/// How long a new lock is held before it counts: who lost it, by the end of its session, has mostly heard of it by then
/// and has killed its migration.
const SETTLING: Duration = Duration::from_millis(250);
/// Too many connections (PostgreSQL manual, appendix A).
const FULL: &str = "(53300)";
/// A read-only transaction.
const READ_ONLY: &str = "(25006)";

/// A wait for one lock.
struct Waiter<'a> {
    connector: &'a Connector<'a>,
    wanted: &'a Wanted,
    key: &'a Key,
    ledger: Option<&'a Ledger<'a>>,
    watch: &'a Watch,
    /// Since when the server says that it can't be migrated, and why.
    unwritable: Option<(Instant, Unwritable)>,
}

/// How a wait ends well.
pub(super) enum Acquisition {
    /// The session holds the lock.
    Got(Session),
    /// The version is recorded: there is nothing to do under the lock, and nobody holds it for this.
    Recorded(Record),
}

/// Why a try did not end well.
enum Setback {
    /// Somebody has it, or the server is away, or full: a later try may.
    Retry(String),
    /// The server can't be migrated for now.
    Unwritable(Unwritable),
    /// No try will.
    Fatal(Failure),
}

/// Waits for the lock, and says so by the clock.
pub(super) async fn acquire(
    connector: &Connector<'_>,
    wanted: &Wanted,
    key: &Key,
    ledger: Option<&Ledger<'_>>,
) -> Result<Acquisition, Failure> {
    let watch = Watch::new(&key.name, wanted.timeout);
    let waiter = Waiter {
        connector,
        wanted,
        key,
        ledger,
        watch: &watch,
        unwritable: None,
    };
    race(waiter.wait(), watch.keep_saying()).await
}

impl Waiter<'_> {
    async fn wait(mut self) -> Result<Acquisition, Failure> {
        loop {
            let pause = match self.try_once().await {
                Ok(outcome) => {
                    self.watch.conclude();
                    return Ok(outcome);
                }
                Err(Setback::Fatal(failure)) => return Err(failure),
                Err(Setback::Unwritable(why)) => self.pause_unwritable(why)?,
                Err(Setback::Retry(reason)) => {
                    let full = reason.contains(FULL);
                    self.watch.tell(reason);
                    let least = if full { GENTLE_PAUSE } else { SHORTEST_PAUSE };
                    pause(self.watch.elapsed()).max(least)
                }
            };
            let end = self.watch.end();
            if end.is_some_and(|end| Instant::now() >= end) {
                return Err(self.timed_out());
            }
            let next = Instant::now() + jittered(pause);
            sleep_until(end.map_or(next, |end| next.min(end))).await;
        }
    }

    /// One try with a connection of its own, which is given back whatever comes of it, unless it has the lock.
    async fn try_once(&mut self) -> Result<Acquisition, Setback> {
        // The last try, at the very limit, gets some time, too.
        let least = Instant::now() + SHORTEST_TRY;
        let end = self.watch.end().map(|end| end.max(least));
        let opened = Session::open(self.connector, end).await;
        let session = opened.map_err(|trouble| self.setback(trouble))?;
        match self.look_and_lock(&session).await {
            Ok(None) => Ok(Acquisition::Got(session)),
            Ok(Some(record)) => {
                session.close().await;
                Ok(Acquisition::Recorded(record))
            }
            Err(setback) => {
                session.close().await;
                Err(setback)
            }
        }
    }

    /// Looks whether there is anything to do and whether the lock is free, before it is asked for: most need not ask.
    async fn look_and_lock(&mut self, session: &Session) -> Result<Option<Record>, Setback> {
        if let Some(record) = self.recorded(session).await? {
            return Ok(Some(record));
        }
        let ask = |trouble| self.setback(trouble);
        if let Some(holder) = Holder::find(session, self.key).await.map_err(ask)? {
            return Err(Setback::Retry(format!("held by {holder}")));
        }
        if let Some(why) = session.unwritable().await.map_err(ask)? {
            return Err(Setback::Unwritable(why));
        }
        self.unwritable = None;
        self.find_out_sharing(session).await?;
        let outcome = self.lock(session).await;
        if !matches!(outcome, Ok(None)) {
            session.unlock(self.key).await;
        }
        outcome
    }

    /// Looks whether a lock means something here, beside a second connection.
    async fn find_out_sharing(&self, session: &Session) -> Result<(), Setback> {
        self.watch.expect(
            "it is free; waiting for a second connection, to see whether a pooler shares sessions",
        );
        let found = sharing::find_out(session, self.connector, self.key).await;
        match found.map_err(|trouble| self.setback(trouble))? {
            Sharing::Own => Ok(()),
            Sharing::Busy => Err(Setback::Retry("another replica is about to take it".into())),
            Sharing::Pooled => Err(self.fatal(remedies::POOLED)),
            Sharing::OnlyOne => Err(self.fatal(remedies::ONLY_ONE)),
            Sharing::NoSecond(reason) if reason.contains(FULL) => Err(Setback::Retry(reason)),
            Sharing::NoSecond(reason) => {
                Err(self.fatal(&format!("{}: {reason}", remedies::NO_SECOND)))
            }
        }
    }

    /// Takes the lock and holds it until it counts.
    async fn lock(&self, session: &Session) -> Result<Option<Record>, Setback> {
        let ask = |trouble| self.setback(trouble);
        session.set_up().await.map_err(ask)?;
        match session.try_lock(self.key).await.map_err(ask)? {
            Attempt::Got => {}
            Attempt::Held => return Err(Setback::Retry("another replica was quicker".into())),
            Attempt::Elsewhere => return Err(self.fatal(remedies::POOLED)),
            Attempt::NotShown => return Err(self.fatal(remedies::NOT_SHOWN)),
        }
        sleep(SETTLING).await;
        if let Some(ledger) = self.ledger
            && let Err(trouble) = ledger.prepare(session).await
        {
            return Err(self.ledger_setback(ledger, session, trouble).await);
        }
        // Another replica may have done it in between.
        if let Some(record) = self.recorded(session).await? {
            return Ok(Some(record));
        }
        if session.owns(self.key).await.map_err(ask)? {
            Ok(None)
        } else {
            Err(Setback::Retry("it was lost again at once".into()))
        }
    }

    /// The version's record, when there is one.
    async fn recorded(&self, session: &Session) -> Result<Option<Record>, Setback> {
        let Some(ledger) = self.ledger else {
            return Ok(None);
        };
        match ledger.find(session).await {
            Ok(record) => Ok(record),
            Err(trouble) => Err(self.ledger_setback(ledger, session, trouble).await),
        }
    }

    async fn ledger_setback(
        &self,
        ledger: &Ledger<'_>,
        session: &Session,
        trouble: Trouble,
    ) -> Setback {
        if trouble.reason().ends_with(READ_ONLY) {
            return Setback::Unwritable(Unwritable::ReadOnly);
        }
        match ledger.explain(session, &trouble).await {
            Some(explained) => Setback::Fatal(Failure::failed(explained)),
            None => self.setback(trouble),
        }
    }

    fn setback(&self, trouble: Trouble) -> Setback {
        match trouble {
            Trouble::NotYet(reason) => Setback::Retry(reason),
            Trouble::Refused(reason) if remedies::is_missing(&reason) => {
                self.fatal(&format!("{}: {reason}", remedies::MISSING))
            }
            Trouble::Refused(reason) => {
                self.fatal(&format!("refuses the lock's connection: {reason}"))
            }
        }
    }

    fn fatal(&self, what: &str) -> Setback {
        Setback::Fatal(Failure::failed(format!("{} {what}", self.wanted.url)))
    }

    /// How long to pause where the server can't be migrated for now, which `--wait-timeout` limits.
    fn pause_unwritable(&mut self, why: Unwritable) -> Result<Duration, Failure> {
        let (since, _) = *self.unwritable.get_or_insert((Instant::now(), why));
        let left = self
            .wanted
            .writable_within
            .map(|limit| limit.saturating_sub(since.elapsed()));
        let (reason, remedy) = remedies::unwritable(why);
        if left.is_some_and(|left| left.is_zero()) {
            let limit = self.wanted.writable_within.unwrap_or_default();
            return Err(Failure::failed(format!(
                "{} {reason}, still after {}: {remedy}",
                self.wanted.url,
                wording::duration(limit)
            )));
        }
        self.watch.tell(format!("the server {reason}"));
        Ok(left.map_or(PAUSE_UNWRITABLE, |left| left.min(PAUSE_UNWRITABLE)))
    }

    fn timed_out(&self) -> Failure {
        let limit = self
            .wanted
            .timeout
            .map(wording::duration)
            .unwrap_or_default();
        let (name, reason) = (self.key.name.escape_debug(), self.watch.reason());
        let remedy = if reason.starts_with("held") {
            "; raise --lock-timeout, or end a stuck holder with pg_terminate_backend(pid)"
        } else {
            ""
        };
        Failure::timed_out(format!(
            "no migration lock \"{name}\" of {} within {limit}: {reason}{remedy}",
            self.wanted.url
        ))
    }
}

/// How long to pause after a wait of this length: a quarter of it, up to `TURN`; then less and less again.
fn pause(waited: Duration) -> Duration {
    if waited < TURN {
        return waited / 4;
    }
    let shrunk = LONGEST_PAUSE.mul_f64(TURN.div_duration_f64(waited));
    shrunk.max(GENTLE_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;

    /// Numbers that look random, the same ones each time (Knuth's MMIX).
    struct Random(u64);

    impl Random {
        /// Below `bound`.
        fn below(&mut self, bound: u64) -> u64 {
            let factor = 6_364_136_223_846_793_005;
            self.0 = self
                .0
                .wrapping_mul(factor)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    /// An hour in which newcomers keep coming, whose migrations take four fifths of the time: how long each
    /// replica waited, in milliseconds.
    fn waits(seed: u64) -> Vec<u64> {
        const MIGRATION: u64 = 3300;
        let mut random = Random(seed);
        let (mut arrival, mut free_at, mut waits) = (0, 0, Vec::new());
        let mut tries = BinaryHeap::new();
        while arrival < 3_600_000 {
            arrival += random.below(2 * MIGRATION * 5 / 4);
            tries.push(Reverse((arrival, arrival)));
        }
        while let Some(Reverse((now, since))) = tries.pop() {
            if now >= free_at {
                free_at = now + MIGRATION;
                waits.push(now - since);
                continue;
            }
            let pause = pause(Duration::from_millis(now - since)).max(SHORTEST_PAUSE);
            let pause = u64::try_from(pause.as_millis()).unwrap();
            let login = 20;
            tries.push(Reverse((
                now + login + pause / 2 + random.below(pause / 2),
                since,
            )));
        }
        waits
    }

    #[test]
    fn who_has_waited_long_is_not_outrun_by_newcomers_that_keep_coming() {
        for seed in 0..20 {
            let waits = waits(seed);
            let longest = waits.iter().max().unwrap() / 1000;
            assert!(
                waits.len() > 700 && longest < 300,
                "{longest} s of {}",
                waits.len()
            );
        }
    }

    #[test]
    fn a_pause_grows_to_ten_seconds_and_shrinks_to_two() {
        let table = [
            (0, 0),
            (1, 250),
            (20, 5000),
            (40, 10_000),
            (80, 5000),
            (200, 2000),
            (9999, 2000),
        ];
        for (waited, expected) in table {
            let pause = pause(Duration::from_secs(waited)).as_millis();
            assert_eq!(pause, expected, "after {waited} s");
        }
    }
}
