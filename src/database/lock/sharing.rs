//! Whether a session is really its client's own: a pooler may give each transaction another one, and then a lock means
//! nothing. It takes a second connection to find out. Of all replicas one at a time opens it: the one that holds the
//! lock's gate, a lock of a transaction, which no pooler can leave behind in a session that goes to somebody else.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::database::connect::Connector;
use crate::database::diagnosis::Trouble;
use crate::database::lock::key::Key;
use crate::database::lock::remedies::NO_SECOND_YET;
use crate::database::lock::session::Session;

/// How long a second connection is tried for. A pooler that has one to give never gives it.
const SECOND: Duration = Duration::from_secs(10);
/// Between two tries for it.
const PAUSE: Duration = Duration::from_millis(100);
/// Within this time the first connection answers, where a pooler has one to give. One that does not is no pooler of
/// one: the server or the network stalls.
const PROMPT: Duration = Duration::from_secs(1);
/// How often it is looked; a pooler may by chance give the same session twice.
const ROUNDS: usize = 3;

/// What was found.
pub(super) enum Sharing {
    /// The session is its client's own.
    Own,
    /// Another replica is finding out.
    Busy,
    /// Behind a pooler that gives each transaction another session.
    Pooled,
    /// All clients have the same session.
    OnlyOne,
    /// There was no second connection, and why.
    NoSecond(String),
}

/// Looks at a session beside a second one.
///
/// # Errors
/// What the session itself failed by, or the second one once it was there.
pub(super) async fn find_out(
    session: &Session,
    connector: &Connector<'_>,
    key: &Key,
) -> Result<Sharing, Trouble> {
    if let Err(trouble) = session.command("BEGIN").await {
        // PgBouncer, pool_mode=statement.
        return if trouble.reason().contains("statement pooling") {
            Ok(Sharing::Pooled)
        } else {
            Err(trouble)
        };
    }
    if !session.pass_gate(key).await? {
        return Ok(Sharing::Busy);
    }
    let other = match open_second(session, connector).await? {
        Ok(other) => other,
        Err(reason) => {
            let asked = Instant::now();
            session.backend().await?;
            if asked.elapsed() > PROMPT {
                return Err(Trouble::NotYet(format!("{NO_SECOND_YET}: {reason}")));
            }
            return Ok(Sharing::NoSecond(reason));
        }
    };
    // In its transaction a session is nobody else's, whatever is in between.
    let sharing = if other.pid == session.pid {
        Sharing::OnlyOne
    } else {
        session.command("COMMIT").await?;
        compare(session, &other).await?
    };
    other.close().await;
    Ok(sharing)
}

/// A second connection, or why there is none.
async fn open_second(
    session: &Session,
    connector: &Connector<'_>,
) -> Result<Result<Session, String>, Trouble> {
    let limit = Instant::now() + SECOND;
    let mut reason = String::from("no answer");
    loop {
        match timeout_at(limit, Session::open(connector, session.end)).await {
            Ok(Ok(other)) => return Ok(Ok(other)),
            Ok(Err(Trouble::NotYet(why))) => reason = why,
            Ok(Err(Trouble::Refused(why))) => return Ok(Err(why)),
            Err(_) => return Ok(Err(reason)),
        }
        if session.has_ended() {
            return Err(Trouble::NotYet(reason));
        }
        if session.is_late() {
            return Err(Trouble::NotYet(format!("{NO_SECOND_YET}: {reason}")));
        }
        if Instant::now() + PAUSE >= limit {
            return Ok(Err(reason));
        }
        sleep(PAUSE).await;
    }
}

async fn compare(session: &Session, other: &Session) -> Result<Sharing, Trouble> {
    for _ in 0..ROUNDS {
        let mine = session.backend().await?;
        other.command("BEGIN").await?;
        // The other now sits on its server's process: was it mine, or must mine change?
        let pooled = other.backend().await? == mine || session.backend().await? != mine;
        other.command("ROLLBACK").await?;
        if pooled || mine != session.pid {
            return Ok(Sharing::Pooled);
        }
    }
    Ok(Sharing::Own)
}
