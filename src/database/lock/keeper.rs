//! Keeping the lock: looking after its session while the migration runs, until the lock is given back or lost.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::database::diagnosis::Trouble;
use crate::database::lock::key::Key;
use crate::database::lock::ledger::Ledger;
use crate::database::lock::race::race;
use crate::database::lock::session::Session;
use crate::database::lock::shared::{Answer, Request, Shared};
use crate::exit::Failure;

/// Between two looks at `pg_locks`; also what keeps firewalls from forgetting the connection.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a look may be unanswered before the lock counts as lost.
const SILENCE: Duration = Duration::from_secs(20);
/// Between two tries of a look that an error answered: its session is still there.
const AGAIN: Duration = Duration::from_secs(1);

/// Who keeps the lock, and for which version.
pub(super) struct Keeper<'a> {
    pub key: &'a Key,
    pub ledger: Option<&'a Ledger<'a>>,
    pub shared: &'a Shared,
}

/// Why the lock is lost.
struct Lost(String);

impl Keeper<'_> {
    /// Keeps the lock until it is given back; `lost` is told when it is lost before that.
    pub(super) async fn keep(&self, session: Session, lost: impl FnOnce(String)) {
        let shared = self.shared;
        let released = async {
            shared.released.notified().await;
            Ok(())
        };
        let mut asker = None;
        let end = race(released, self.look_after(&session, &mut asker)).await;
        if let Err(Lost(reason)) = end {
            lost(reason);
            shared.close();
            // Who waits for an answer finds out by this that there is none, and why is known by now.
            drop(asker);
            // The session may still be there, unreachable: it must not be given up before its migration is dead.
            shared.released.notified().await;
        } else {
            session.unlock(self.key).await;
        }
        session.close().await;
    }

    /// Looks again and again, and answers questions in between, until the lock is lost; `asker` is who waits then.
    async fn look_after(&self, session: &Session, asker: &mut Option<Answer>) -> Result<(), Lost> {
        loop {
            let woken = race(self.shared.asked.notified(), session.ended.notified());
            race(woken, sleep(HEARTBEAT)).await;
            match self.shared.question() {
                Some((Request::Record, answer)) => {
                    *asker = Some(answer.clone());
                    let _ = answer.send(self.record(session).await?);
                }
                Some((Request::IsHeld, answer)) => {
                    *asker = Some(answer.clone());
                    self.look(session).await?;
                    let _ = answer.send(Ok(()));
                }
                None => self.look(session).await?,
            }
        }
    }

    /// One look, or several where errors answer it: only the end of the session and silence say that the lock is lost.
    async fn look(&self, session: &Session) -> Result<(), Lost> {
        let limit = Instant::now() + SILENCE;
        loop {
            match within(limit, session.owns(self.key)).await? {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Lost("the server no longer shows it as ours".into())),
                Err(trouble) => alive(session, &trouble)?,
            }
            sleep(AGAIN).await;
        }
    }

    /// Records the version's success.
    async fn record(&self, session: &Session) -> Result<Result<(), Failure>, Lost> {
        let Some(ledger) = self.ledger else {
            return Ok(Ok(()));
        };
        let limit = Instant::now() + SILENCE;
        let trouble = match within(limit, ledger.record(session)).await? {
            Ok(true) => return Ok(Ok(())),
            Ok(false) => return Err(Lost("the server no longer shows it as ours".into())),
            Err(trouble) => trouble,
        };
        alive(session, &trouble)?;
        let explained = within(limit, ledger.explain(session, &trouble)).await?;
        let reason = explained.unwrap_or_else(|| trouble.reason().to_owned());
        Ok(Err(Failure::failed(format!(
            "the migration succeeded, and that could not be recorded, so that it will run again: {reason}"
        ))))
    }
}

/// Waits for an answer; silence is a loss.
async fn within<T>(limit: Instant, answer: impl Future<Output = T>) -> Result<T, Lost> {
    let silent = |_| {
        let seconds = SILENCE.as_secs();
        Lost(format!("its server has not answered for {seconds} s"))
    };
    timeout_at(limit, answer).await.map_err(silent)
}

/// Whether a session that answered by an error is still there.
fn alive(session: &Session, trouble: &Trouble) -> Result<(), Lost> {
    if session.has_ended() {
        let reason = trouble.reason();
        return Err(Lost(format!("its connection has ended: {reason}")));
    }
    log::debug!(
        "the look after the migration lock failed: {}",
        trouble.reason()
    );
    Ok(())
}
