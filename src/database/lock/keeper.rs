//! Keeping the lock: looking after its session while the migration runs, and getting it back when the session is lost.

use std::mem;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::holder::Holder;
use super::ledger::Ledger;
use super::session::{Attempt, Session};
use super::{Key, Recorder, Signals};
use crate::database::connect::Connector;
use crate::database::diagnosis::Trouble;
use crate::exit::Failure;

/// Between two looks at `pg_locks`; also what keeps firewalls from forgetting the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long the server may be out of reach before the lock counts as lost.
const GRACE: Duration = Duration::from_secs(30);
/// One try to get it back, so that a release meanwhile does not wait longer.
const TRY: Duration = Duration::from_secs(5);
/// Between two tries to get it back.
const PAUSE: Duration = Duration::from_millis(500);
/// How long giving it back may take; the end of the connection does it too.
const GOODBYE: Duration = Duration::from_secs(2);

/// Who keeps the lock, and for which version.
pub(super) struct Keeper<'a> {
    pub connector: &'a Connector<'a>,
    pub key: &'a Key,
    pub ledger: Option<Ledger<'a>>,
    pub signals: &'a Signals,
}

impl Keeper<'_> {
    /// Keeps the lock until it is released.
    ///
    /// # Errors
    /// Why it is lost.
    pub(super) async fn keep(&self, mut session: Session) -> Result<(), String> {
        loop {
            let woken = timeout(HEARTBEAT, self.signals.wake.notified())
                .await
                .is_ok();
            if self.signals.released() {
                let _ = timeout(GOODBYE, session.unlock(self.key)).await;
                part(session, self.signals).await;
                return Ok(());
            }
            // Earlier sessions' ends wake it up too: the look at the server decides.
            let reason = match self.attend(&session).await {
                Ok(true) => continue,
                Ok(false) => "the server no longer shows it as ours".to_owned(),
                Err(trouble) => trouble.reason().to_owned(),
            };
            let how = if woken {
                "its connection ended"
            } else {
                "its connection is lost"
            };
            let name = self.key.name.escape_debug();
            log::warn!(
                "the migration lock \"{name}\" is in danger, {how} ({reason}): getting it back"
            );
            match self.regain(&session.pid).await {
                Ok(Some(regained)) => session = regained,
                Ok(None) => return Ok(()),
                Err(lost) => {
                    self.answer(Err(Failure::failed(&*lost)));
                    return Err(lost);
                }
            }
            log::warn!("got the migration lock \"{name}\" back: nobody else had it, going on");
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

    /// Tries to get the lock with a new session. None when it was released meanwhile.
    async fn regain(&self, lost: &str) -> Result<Option<Session>, String> {
        let deadline = Instant::now() + GRACE;
        loop {
            if self.signals.released() {
                return Ok(None);
            }
            let limit = deadline.saturating_duration_since(Instant::now()).min(TRY);
            let attempt = attempt(self.connector, self.key, lost, limit, self.signals);
            let trouble = match timeout(limit, attempt).await {
                Ok(Ok(Ok(session))) => return Ok(Some(session)),
                Ok(Ok(Err(holder))) => {
                    return Err(format!("the migration lock is lost: now held by {holder}"));
                }
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::NotYet("no answer in time (ETIMEDOUT)".into()),
            };
            if Instant::now() + PAUSE >= deadline {
                return Err(format!(
                    "the migration lock is lost: its server has been out of reach for {} s: {}",
                    GRACE.as_secs(),
                    trouble.reason()
                ));
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

/// One try: the session that got it, or else who has it.
async fn attempt(
    connector: &Connector<'_>,
    key: &Key,
    lost: &str,
    limit: Duration,
    signals: &Signals,
) -> Result<Result<Session, Holder>, Trouble> {
    let session = Session::open(connector, limit, Some(&signals.wake)).await?;
    session.settle().await?;
    if let Attempt::Got = session.try_lock(key).await? {
        return Ok(Ok(session));
    }
    match Holder::find(&session, key).await? {
        // The lost session itself: the server has not noticed that its client has gone.
        Some(holder) if holder.pid == lost => {
            session.terminate(lost).await?;
            Err(Trouble::NotYet("the lost session still holds it".into()))
        }
        Some(holder) => Ok(Err(holder)),
        None => Err(Trouble::NotYet("it was just given back".into())),
    }
}
