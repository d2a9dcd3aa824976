//! Keeping the lock: looking after its session while the migration runs, and getting it back when the session is lost.

use std::mem;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::holder::Holder;
use super::ledger::Ledger;
use super::session::{Attempt, Session};
use super::waiter::{PRECEDENCE, SETTLING};
use super::{Change, Key, Recorder, Signals};
use crate::database::connect::Connector;
use crate::database::diagnosis::Trouble;
use crate::exit::Failure;

/// Between two looks at `pg_locks`; also what keeps firewalls from forgetting the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long the server may be out of reach before the lock counts as lost.
const GRACE: Duration = Duration::from_secs(30);
/// One try to get it back, so that a release meanwhile does not wait longer.
const TRY: Duration = Duration::from_secs(5);
/// Between two tries to get it back: well below what waiting replicas leave to it (see `waiter`).
const PAUSE: Duration = Duration::from_millis(100);
/// Between two tries while the server ends the lost session, which takes it milliseconds: before others try.
const FREED: Duration = Duration::from_millis(5);
/// How long giving it back may take; the end of the connection does it too.
const GOODBYE: Duration = Duration::from_secs(2);

/// Who keeps the lock, and for which version.
pub(super) struct Keeper<'a> {
    pub connector: &'a Connector<'a>,
    pub key: &'a Key,
    pub ledger: Option<Ledger<'a>>,
    pub signals: &'a Signals,
    pub tell: &'a dyn Fn(Change),
}

impl Keeper<'_> {
    /// Keeps the lock until it is released or lost.
    pub(super) async fn keep(&self, mut session: Session) {
        let name = self.key.name.escape_debug();
        let mut owned = Instant::now();
        loop {
            let woken = timeout(HEARTBEAT, self.signals.wake.notified())
                .await
                .is_ok();
            if self.signals.released() {
                let _ = timeout(GOODBYE, session.unlock(self.key)).await;
                part(session, self.signals).await;
                return;
            }
            let noticed = Instant::now();
            // Earlier sessions' ends wake it up too: the look at the server decides.
            let reason = match self.attend(&session).await {
                Ok(true) => {
                    owned = Instant::now();
                    continue;
                }
                Ok(false) => "the server no longer shows it as ours".to_owned(),
                Err(trouble) => trouble.reason().to_owned(),
            };
            (self.tell)(Change::InDanger);
            let how = if woken { "ended" } else { "is lost" };
            log::warn!(
                "the migration lock \"{name}\" is in danger, its connection {how} ({reason}): pausing the migration and \
                 getting the lock back"
            );
            // The end of the connection comes with the end of the lock; silence may have begun long before.
            let lost = if woken { noticed } else { owned };
            match self.regain(&session.pid, lost).await {
                Ok(Some(regained)) => session = regained,
                Ok(None) => return,
                Err(lost) => {
                    self.answer(Err(Failure::failed("the migration lock is lost")));
                    (self.tell)(lost);
                    return;
                }
            }
            owned = Instant::now();
            *self.signals.socket() = session.socket().ok();
            log::warn!("got the migration lock \"{name}\" back: nobody else had it, going on");
            (self.tell)(Change::Safe);
            // Success that could not be recorded meanwhile.
            self.signals.wake.notify_one();
        }
    }

    /// Records success when that is asked for. Whether the lock is still the session's.
    async fn attend(&self, session: &Session) -> Result<bool, Trouble> {
        let wanted = matches!(*self.signals.recorder(), Recorder::Waits(_));
        let Some(ledger) = self.ledger.as_ref().filter(|_| wanted) else {
            return session.owns(self.key).await;
        };
        match ledger.record(session).await {
            Ok(true) => self.answer(Ok(())),
            Ok(false) => return Ok(false),
            Err(Trouble::Refused(reason)) => {
                let explained = ledger
                    .explain(session, &Trouble::Refused(reason.clone()))
                    .await;
                self.answer(Err(Failure::failed(explained.unwrap_or(reason))));
            }
            Err(trouble) => return Err(trouble),
        }
        Ok(true)
    }

    /// Tells who waits for the record, when anybody does.
    fn answer(&self, result: Result<(), Failure>) {
        if let Recorder::Waits(sender) = mem::take(&mut *self.signals.recorder()) {
            let _ = sender.send(result);
        }
    }

    /// Tries to get the lock with a new session. None when it was released meanwhile; else the loss. It counts as lost, too,
    /// when another replica may have had it and given it back since `since`.
    async fn regain(&self, lost: &str, since: Instant) -> Result<Option<Session>, Change> {
        let deadline = Instant::now() + GRACE;
        loop {
            if self.signals.released() {
                return Ok(None);
            }
            let limit = deadline.saturating_duration_since(Instant::now()).min(TRY);
            let attempt = attempt(self.connector, self.key, lost, limit, self.signals);
            let trouble = match timeout(limit, attempt).await {
                Ok(Ok(Ok((session, safe)))) => {
                    if safe || since.elapsed() < SETTLING {
                        return Ok(Some(session));
                    }
                    return Err(Change::Lost {
                        reason: format!(
                            "it could not be got back for {} ms, so that another replica may have had it",
                            since.elapsed().as_millis()
                        ),
                        taken: true,
                    });
                }
                Ok(Ok(Err(holder))) => {
                    return Err(Change::Lost {
                        reason: format!("now held by {holder}"),
                        taken: true,
                    });
                }
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::NotYet("no answer in time (ETIMEDOUT)".into()),
            };
            if Instant::now() + PAUSE >= deadline {
                let reason = format!(
                    "its server has been out of reach for {} s: {}",
                    GRACE.as_secs(),
                    trouble.reason()
                );
                return Err(Change::Lost {
                    reason,
                    taken: false,
                });
            }
            sleep(PAUSE).await;
        }
    }
}

/// Ends a session with a goodbye, or the server's log has an unexpected end of the connection.
pub(super) async fn part(session: Session, signals: &Signals) {
    drop(session);
    let _ = timeout(GOODBYE, signals.wake.notified()).await;
}

/// One try: the session that got it, and whether for sure nobody else had it since; or else who has it.
async fn attempt(
    connector: &Connector<'_>,
    key: &Key,
    lost: &str,
    limit: Duration,
    signals: &Signals,
) -> Result<Result<(Session, bool), Holder>, Trouble> {
    let session = Session::open(connector, limit, Some(&signals.wake)).await?;
    session.settle().await?;
    let mut was_ours = false;
    loop {
        if let Attempt::Got = session.try_lock(key).await? {
            // Others leave a server that has just come up to us.
            let safe = was_ours || session.has_just_started(PRECEDENCE).await?;
            return Ok(Ok((session, safe)));
        }
        match Holder::find(&session, key).await? {
            // The lost session itself: the server has not noticed, since the network swallows what it says, or since the
            // migration has a duplicate of its socket. Ended from here it is freed for this try first of all.
            Some(holder) if holder.pid == lost => {
                was_ours = true;
                session.terminate(lost).await?;
            }
            Some(holder) => return Ok(Err(holder)),
            None => {}
        }
        sleep(FREED).await;
    }
}
