//! Getting the lock: connect, check that it means something here, and try until it is ours.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::holder::Holder;
use super::ledger::{Ledger, Record};
use super::session::{Attempt, Fitness, Session};
use super::{Key, Wanted};
use crate::database::connect::Connector;
use crate::database::diagnosis::Trouble;
use crate::exit::Failure;
use crate::probe::{jittered, words};

/// One login, or several to as many hosts.
const LOGIN: Duration = Duration::from_secs(15);
/// The shortest pause between two tries.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// Who has waited this long gives its connection back between tries: with more replicas than `max_connections` the one
/// that migrates must still get its own.
const PATIENCE: Duration = Duration::from_millis(300);
/// A login costs the server more than a try. So the pause is a quarter of the time waited so far, within these bounds.
const PATIENT_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The shortest pause for those whom a full server has turned away.
const PAUSE_WHEN_FULL: Duration = Duration::from_secs(2);
/// The least time for a login, where the limit leaves less.
const SHORTEST_LOGIN: Duration = Duration::from_secs(1);
/// How long a server that was started, or was out of reach, is left to whoever held the lock before: that replica tries
/// to get it back at once, and its migration is paused meanwhile.
pub(super) const PRECEDENCE: Duration = Duration::from_secs(1);
/// How long a new lock is held before it counts. If it was free because its holder's connection was cut, that replica has
/// paused its migration by then; and if it gets the lock back sooner than this, nobody else has migrated.
pub(super) const SETTLING: Duration = Duration::from_millis(250);
/// Too many connections (PostgreSQL manual, appendix A).
const FULL: &str = "(53300)";
/// Between two signs of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A wait for one lock.
struct Waiter<'a> {
    connector: &'a Connector<'a>,
    wanted: &'a Wanted,
    key: &'a Key,
    ledger: Option<Ledger<'a>>,
    started: Instant,
    /// When what was said last.
    reported: Option<(Instant, String)>,
    /// Why not yet.
    reason: String,
    /// Whether a lock means something at this server.
    checked: bool,
    /// When the server was found in reach again.
    back: Option<Instant>,
    /// Whether the last try found it out of reach.
    out_of_reach: bool,
    /// Whether the last try found it full.
    full: bool,
}

/// How a wait ends well.
pub(super) enum Outcome {
    /// The session holds the lock.
    Got(Session),
    /// The version is recorded: the lock is not needed, and the session does not hold it when it is over.
    Recorded(Record, Session),
}

/// What came of one try.
enum Try {
    Got,
    Recorded(Record),
    NotYet,
}

/// Waits for the lock; its session notifies `wake` when its connection ends.
pub(super) async fn acquire(
    connector: &Connector<'_>,
    wanted: &Wanted,
    key: &Key,
    wake: &Arc<Notify>,
) -> Result<Outcome, Failure> {
    let mut waiter = Waiter {
        connector,
        wanted,
        key,
        ledger: wanted.once.as_ref().map(|once| Ledger::new(once, key)),
        started: Instant::now(),
        reported: None,
        reason: String::new(),
        checked: false,
        back: None,
        out_of_reach: false,
        full: false,
    };
    let mut session = None;
    let mut pause = SHORTEST_PAUSE;
    loop {
        match (waiter.try_once(&mut session, wake).await?, session.take()) {
            (Try::Got, Some(session)) => {
                waiter.conclude();
                return Ok(Outcome::Got(session));
            }
            (Try::Recorded(record), Some(session)) => {
                return Ok(Outcome::Recorded(record, session));
            }
            (_, kept) => session = kept.filter(|_| !waiter.is_patient()),
        }
        pause = waiter.next_pause(pause);
        waiter.rest(jittered(pause)).await?;
    }
}

impl Waiter<'_> {
    /// One try, with the session that is there or a new one. Lost sessions are dropped.
    async fn try_once(
        &mut self,
        session: &mut Option<Session>,
        wake: &Arc<Notify>,
    ) -> Result<Try, Failure> {
        let result = match session.take() {
            Some(kept) => self.look_and_lock(&kept).await.map(|tried| (kept, tried)),
            None => self.open_and_lock(wake).await,
        };
        match result {
            Ok((kept, tried)) => {
                *session = Some(kept);
                tried
            }
            Err(Trouble::NotYet(reason)) => {
                // A server that is full has not lost anybody.
                self.full = reason.contains(FULL);
                self.out_of_reach |= !self.full;
                self.reason = reason;
                Ok(Try::NotYet)
            }
            Err(Trouble::Refused(reason)) => Err(Failure::failed(format!(
                "{} refuses the lock's connection: {reason}",
                self.wanted.url
            ))),
        }
    }

    async fn open_and_lock(
        &mut self,
        wake: &Arc<Notify>,
    ) -> Result<(Session, Result<Try, Failure>), Trouble> {
        let session = Session::open(self.connector, self.login_limit(), Some(wake)).await?;
        let tried = self.look_and_lock(&session).await?;
        Ok((session, tried))
    }

    /// Looks whether there is anything to do, before the lock is asked for and again under it: another replica may have
    /// done it in between.
    async fn look_and_lock(&mut self, session: &Session) -> Result<Result<Try, Failure>, Trouble> {
        match self.recorded(session, false).await? {
            Ok(None) => {}
            Ok(Some(record)) => return Ok(Ok(Try::Recorded(record))),
            Err(failure) => return Ok(Err(failure)),
        }
        if self.leaves_precedence(session).await? {
            return Ok(Ok(Try::NotYet));
        }
        match self.lock(session).await? {
            Ok(Try::Got) => {}
            other => return Ok(other),
        }
        if !self.settle(session).await? {
            self.reason = "it was lost again at once".into();
            return Ok(Ok(Try::NotYet));
        }
        let tried = |record: Option<Record>| record.map_or(Try::Got, Try::Recorded);
        Ok(self.recorded(session, true).await?.map(tried))
    }

    /// Whether somebody may be about to get the lock back.
    async fn leaves_precedence(&mut self, session: &Session) -> Result<bool, Trouble> {
        if self.out_of_reach {
            self.out_of_reach = false;
            self.back = Some(Instant::now());
        }
        let back = self.back.is_some_and(|back| back.elapsed() < PRECEDENCE);
        if !back && !session.has_just_started(PRECEDENCE).await? {
            return Ok(false);
        }
        self.reason = "the server has just come up: whoever held the lock before goes first".into();
        Ok(true)
    }

    /// Holds the new lock until it counts. Whether it is still held then.
    async fn settle(&self, session: &Session) -> Result<bool, Trouble> {
        sleep(self.back.map_or(SETTLING, |_| PRECEDENCE)).await;
        session.owns(self.key).await
    }

    /// The version's record. With the lock the table is made ready for one, too.
    async fn recorded(
        &self,
        session: &Session,
        locked: bool,
    ) -> Result<Result<Option<Record>, Failure>, Trouble> {
        let Some(ledger) = &self.ledger else {
            return Ok(Ok(None));
        };
        let prepared = if locked {
            ledger.prepare(session).await
        } else {
            Ok(())
        };
        let found = match prepared {
            Ok(()) => ledger.find(session).await,
            Err(trouble) => Err(trouble),
        };
        match found {
            Ok(record) => Ok(Ok(record)),
            Err(trouble) => match ledger.explain(session, &trouble).await {
                Some(explained) => Ok(Err(Failure::failed(explained))),
                None => Err(trouble),
            },
        }
    }

    async fn lock(&mut self, session: &Session) -> Result<Result<Try, Failure>, Trouble> {
        // Who can see that it is held need not be fit to hold it: that is found out by a second connection.
        if let Some(holder) = Holder::find(session, self.key).await? {
            self.reason = format!("held by {holder}");
            return Ok(Ok(Try::NotYet));
        }
        if let Err(failure) = self.make_fit(session).await? {
            return Ok(Err(failure));
        }
        Ok(match session.try_lock(self.key).await? {
            Attempt::Got => Ok(Try::Got),
            Attempt::Held => {
                self.reason = match Holder::find(session, self.key).await? {
                    Some(holder) => format!("held by {holder}"),
                    None => "it was just given back".into(),
                };
                Ok(Try::NotYet)
            }
            Attempt::NotShown => Err(Failure::failed(format!(
                "{} says that it gave the migration lock and does not show it: not a real advisory lock (CockroachDB \
                 has none, a pooler may share sessions); use the server's direct URL, or --no-lock",
                self.wanted.url
            ))),
        })
    }

    /// Checks once that a lock means something here, and makes each new session fit to hold it.
    async fn make_fit(&mut self, session: &Session) -> Result<Result<(), Failure>, Trouble> {
        if !self.checked {
            match session.fitness(self.connector, self.login_limit()).await? {
                Fitness::Fit => self.checked = true,
                Fitness::Standby => return Ok(Err(self.standby())),
                Fitness::Pooled => return Ok(Err(self.pooled())),
            }
        }
        session.settle().await.map(Ok)
    }

    /// How long a login may take. The last try, at the very limit, gets its time too.
    fn login_limit(&self) -> Duration {
        self.left()
            .map_or(LOGIN, |left| left.clamp(SHORTEST_LOGIN, LOGIN))
    }

    fn next_pause(&self, pause: Duration) -> Duration {
        let quarter = self.started.elapsed() / 4;
        if self.full {
            quarter.clamp(PAUSE_WHEN_FULL, LONGEST_PAUSE)
        } else if self.is_patient() {
            quarter.clamp(PATIENT_PAUSE, LONGEST_PAUSE)
        } else {
            pause * 2
        }
    }

    /// Says why not yet: at first, each new reason, and a sign of life every few seconds.
    fn report(&mut self) {
        let name = self.key.name.escape_debug();
        match &self.reported {
            None => log::info!("waiting for the migration lock \"{name}\": {}", self.reason),
            Some((at, reason)) if at.elapsed() < SIGN_OF_LIFE && *reason == self.reason => return,
            Some(_) => {
                let elapsed = words::duration(self.started.elapsed());
                let limit = self.wanted.timeout.map_or_else(
                    || "without a limit".into(),
                    |limit| format!("of {}", words::duration(limit)),
                );
                log::info!(
                    "still waiting for the migration lock \"{name}\" ({elapsed} {limit}): {}",
                    self.reason
                );
            }
        }
        self.reported = Some((Instant::now(), self.reason.clone()));
    }

    /// Says how long it took, when anybody was told of a wait.
    fn conclude(&self) {
        if self.reported.is_some() {
            let elapsed = words::duration(self.started.elapsed());
            log::info!(
                "got the migration lock \"{}\" after {elapsed}",
                self.key.name.escape_debug()
            );
        }
    }

    /// Sleeps, but not past the limit, and talks in its sleep.
    async fn rest(&mut self, pause: Duration) -> Result<(), Failure> {
        let left = self.left().unwrap_or(pause);
        if left.is_zero() {
            return Err(self.timed_out());
        }
        let end = Instant::now() + pause.min(left);
        loop {
            self.report();
            let pause = end.saturating_duration_since(Instant::now());
            if pause.is_zero() {
                return Ok(());
            }
            let said = self.reported.as_ref().map(|(at, _)| at.elapsed());
            let silence = SIGN_OF_LIFE.saturating_sub(said.unwrap_or_default());
            sleep(pause.min(silence)).await;
        }
    }

    fn left(&self) -> Option<Duration> {
        self.wanted
            .timeout
            .map(|limit| limit.saturating_sub(self.started.elapsed()))
    }

    fn is_patient(&self) -> bool {
        self.started.elapsed() >= PATIENCE
    }

    fn timed_out(&self) -> Failure {
        let limit = self.wanted.timeout.map(words::duration).unwrap_or_default();
        let name = self.key.name.escape_debug();
        let remedy = if self.reason.starts_with("held") {
            "; raise --lock-timeout, or end a stuck holder with pg_terminate_backend(pid)"
        } else {
            ""
        };
        Failure::timed_out(format!(
            "no migration lock \"{name}\" of {} within {limit}: {}{remedy}",
            self.wanted.url, self.reason
        ))
    }

    fn standby(&self) -> Failure {
        Failure::failed(format!(
            "{} is a hot standby, which can't be migrated: use the primary's URL (with several hosts, add \
             target_session_attrs=read-write)",
            self.wanted.url
        ))
    }

    fn pooled(&self) -> Failure {
        Failure::failed(format!(
            "{} goes through a transaction pooler (PgBouncer), where a lock means nothing: give --database the server's \
             direct URL, often found in DIRECT_URL, DATABASE_URL_UNPOOLED or POSTGRES_URL_NON_POOLING",
            self.wanted.url
        ))
    }
}
