//! Keeping the lock: looking after its session while the migration runs, and getting it back when the session is lost.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::holder::Holder;
use super::session::{Attempt, Session};
use super::{Key, Signals};
use crate::database::connect::Connector;
use crate::database::diagnosis::Trouble;

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

/// Keeps the lock until it is released.
///
/// # Errors
/// Why it is lost.
pub(super) async fn keep(
    connector: &Connector<'_>,
    key: &Key,
    mut session: Session,
    signals: &Signals,
) -> Result<(), String> {
    loop {
        let woken = timeout(HEARTBEAT, signals.wake.notified()).await.is_ok();
        if signals.released() {
            let _ = timeout(GOODBYE, session.unlock(key)).await;
            drop(session);
            // Until the connection has said goodbye.
            let _ = timeout(GOODBYE, signals.wake.notified()).await;
            return Ok(());
        }
        // Earlier sessions' ends wake it up too: the look at the server decides.
        let reason = match session.owns(key).await {
            Ok(true) => continue,
            Ok(false) => "the server no longer shows it as ours".to_owned(),
            Err(trouble) => trouble.reason().to_owned(),
        };
        let how = if woken {
            "its connection ended"
        } else {
            "its connection is lost"
        };
        log::warn!(
            "the migration lock \"{}\" is in danger, {how} ({reason}): getting it back",
            key.name.escape_debug()
        );
        match regain(connector, key, &session.pid, signals).await? {
            Some(regained) => session = regained,
            None => return Ok(()),
        }
        log::warn!(
            "got the migration lock \"{}\" back: nobody else had it, going on",
            key.name.escape_debug()
        );
    }
}

/// Tries to get the lock with a new session. None when it was released meanwhile.
async fn regain(
    connector: &Connector<'_>,
    key: &Key,
    lost: &str,
    signals: &Signals,
) -> Result<Option<Session>, String> {
    let deadline = Instant::now() + GRACE;
    loop {
        if signals.released() {
            return Ok(None);
        }
        let limit = deadline.saturating_duration_since(Instant::now()).min(TRY);
        let trouble = match timeout(limit, attempt(connector, key, lost, limit, signals)).await {
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
