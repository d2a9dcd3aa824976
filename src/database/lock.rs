//! The migration lock: of any number of replicas that start at once, one migrates.
//!
//! It is a session-level advisory lock (PostgreSQL manual, 13.3.5), so it ends with its session, however that ends.
//! It is polled by `pg_try_advisory_lock`: a session that waits inside `pg_advisory_lock` holds a snapshot, for which
//! `CREATE INDEX CONCURRENTLY` in the other replica's migration waits in turn, and Postgres can't see that deadlock.
//!
//! # States of a replica, and who may do what
//!
//! 1. **Away** (`waiter`): no connection, a pause of a quarter of the time waited so far, 0.1 to 10 s, which shrinks to
//!    2 s again after 40 s; 2 s at least after 53300. At `--lock-timeout`: 124.
//! 2. **Looking** (`waiter`): a new connection. A record of `--migrate-once` ends it well; a holder sends it Away,
//!    and so does a server that can't be migrated for now, which `--wait-timeout` limits from its first such answer:
//!    125.
//! 3. **At the gate** (`sharing`): a second lock, of a transaction, lets one replica at a time open a second
//!    connection, for 10 s at most, and see whether a pooler shares sessions: 125. Where there is none, and the first
//!    one does not answer at once either, all is made anew. It comes before the lock, for what a pooler's client has
//!    locked in a session that goes to somebody else nobody can give back; and nothing rests on it but who asks.
//!    Whoever finds it closed goes Away.
//! 4. **Settling** (`waiter`): the lock was got, and the server shows it as this session's. It is held for a quarter
//!    of a second (`SETTLING`): who had it before, and lost it with a session that the server ended, has mostly heard
//!    of that by then and killed its migration. Shown still, it is
//! 5. **Held** (`keeper`): the one state in which migrations start, each after another look that says so. A look
//!    every 5 s.
//! 6. **Lost**: the connection has ended, or a look says that the lock is not this session's, or is unanswered for 20
//!    s (an error is no answer, and no end either). The supervising thread kills every process of the migration by
//!    SIGKILL, then the connection is given up, then it is said: 125. There is no way back to Held.
//! 7. **Given back**: after the last migration, when what it left behind has ended or its grace is over; or at once
//!    after a failure. What is left on purpose (`--orphan-grace none`) keeps the session by the socket that it has
//!    inherited.
//!
//! A session is the pair of the server's process id and that process' beginning: ids come again. Until Held every
//! question has 20 s and what is left of `--lock-timeout`; after either the connection is made anew. Signs of life
//! come by the clock, every 5 s (`watch`).
//!
//! # What is guaranteed
//!
//! - One session has the lock: the server's own affair.
//! - No migration starts but with the lock shown as its own by the server.
//! - When portero alone is killed, the lock stays as long as one process of the migration has the connection's
//!   socket, which all inherit; and portero kills none of them alone. So no migration has a parent-death signal: it
//!   would kill a wrapper that alone still has the socket, and free the lock beside a living grandchild. The stage that
//!   holds the lock has one: when its init is killed it stops the migration, as it does on any stop.
//! - After a silent cut the loser is killed within 25 s, and the server frees the lock after 30 s (`SETTINGS`).
//!
//! # What can't be
//!
//! - Where the server ends the session, the next replica's migration may begin `SETTLING` later, and the news may
//!   come after that. No clock on this side proves anything about it.
//! - A statement that the server is working on goes on to its end there.
//! - A process that is stopped (a paused container, a suspended machine) hears late.
//! - Behind a proxy the 30 s are the proxy's.
//! - A program may close what it has inherited, and gives up its share of the session by that.
//!
//! `tests/lock_model.rs` explores this protocol exhaustively, and shows that news that come late are the one way
//! to two migrations at once.
//!
//! The session has a thread and a runtime of its own, so that the thread that supervises the migration only
//! supervises.

mod holder;
mod keeper;
pub mod key;
mod ledger;
mod race;
mod remedies;
mod replica;
mod session;
pub mod shared;
mod sharing;
mod waiter;
mod watch;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;

use crate::database::connect::Connector;
use crate::database::lock::keeper::Keeper;
use crate::database::lock::key::{Key, Wanted};
use crate::database::lock::ledger::Ledger;
pub use crate::database::lock::ledger::Record;
use crate::database::lock::replica::application_name;
use crate::database::lock::shared::{Asked, Request, Shared, locked};
use crate::exit::Failure;
use crate::{sys, wording};

/// What came of wanting the lock.
pub enum Acquired {
    /// It is held now.
    Lock(Lock),
    /// There is nothing to do under it: the version is recorded.
    Recorded(Record),
}

/// The migration lock, held. Dropping it releases it and waits for the server to hear of it, a few seconds at most.
pub struct Lock {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Lock {
    /// Waits until the wanted lock is this process's, and keeps it; or finds out that there is nothing to do under it.
    ///
    /// `lost` is called from another thread when the lock is lost: then nothing may run under it any more.
    ///
    /// Blocks; to give up, end the process: the server frees the lock, or its place in the queue, at once.
    ///
    /// # Errors
    /// 124 when the limit has passed, with who holds the lock; 125 for a server that says no, a standby, a pooler
    /// that shares sessions, or a table that can't be used. No message has a password in it.
    pub fn acquire(
        wanted: Wanted,
        lost: impl FnOnce(String) + Send + 'static,
    ) -> Result<Acquired, Failure> {
        let shared = Arc::new(Shared::default());
        let (report, outcome) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("lock".into())
            .spawn(move || run(&wanted, &theirs, &report, lost))
            .map_err(|error| {
                Failure::failed(format!(
                    "no thread to keep the lock in: {}",
                    wording::error(&error)
                ))
            })?;
        match outcome.recv() {
            Ok(Ok(None)) => Ok(Acquired::Lock(Self {
                shared,
                thread: Some(thread),
            })),
            Ok(Ok(Some(record))) => Ok(Acquired::Recorded(record)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::failed("the lock's thread has ended")),
        }
    }

    /// What asks this question, and blocks until it is answered: for a thread of its own.
    ///
    /// Its error is 125: the lock was lost, or the server says no.
    pub fn ask(
        &self,
        question: Request,
    ) -> impl FnOnce() -> Result<(), Failure> + Send + use<> + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let lost = || Failure::failed("the migration lock is lost");
            let (sender, receiver) = mpsc::channel();
            let mut asked = locked(&shared.question);
            if matches!(*asked, Asked::Closed) {
                return Err(lost());
            }
            *asked = Asked::Request(question, sender);
            drop(asked);
            shared.asked.notify_one();
            receiver.recv().unwrap_or_else(|_| Err(lost()))
        }
    }

    /// A duplicate of the socket of the session that holds the lock, close-on-exec. The server keeps the session, and
    /// so the lock, as long as any process has one: who inherits it can't be overtaken, even when portero is killed.
    ///
    /// # Errors
    /// 125: there are too many descriptors.
    pub fn socket(&self) -> Result<OwnedFd, Failure> {
        let missing = || Err(io::Error::from(io::ErrorKind::NotConnected));
        let guard = locked(&self.shared.socket);
        let copy = guard
            .as_ref()
            .map_or_else(missing, |own| sys::duplicate(own.as_fd()));
        copy.map_err(|error| {
            let reason = wording::error(&error);
            Failure::failed(format!("the lock's connection can't be shared: {reason}"))
        })
    }

    /// Leaves the lock to those who have its socket: it is free when the last of them has gone, and this process too.
    pub fn detach(self) {
        std::mem::forget(self);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.shared.released.notify_one();
        if let Some(thread) = self.thread.take() {
            // It can't have panicked: a panic ends the process.
            let _ = thread.join();
        }
    }
}

/// The thread's news: that the lock is held, or what makes it unnecessary, or why it can't be had.
type Report = mpsc::Sender<Result<Option<Record>, Failure>>;

/// The thread: gets the lock, reports, keeps it until it is released or lost.
fn run(wanted: &Wanted, shared: &Shared, report: &Report, lost: impl FnOnce(String)) {
    let runtime = match Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let reason = wording::error(&error);
            let _ = report.send(Err(Failure::failed(format!(
                "the network can't be set up: {reason}"
            ))));
            return;
        }
    };
    runtime.block_on(serve(wanted, shared, report, lost));
    // A name lookup may still sit in its thread; nobody waits for it.
    runtime.shutdown_background();
}

/// The thread's work.
async fn serve(wanted: &Wanted, shared: &Shared, report: &Report, lost: impl FnOnce(String)) {
    let (application, key) = (application_name(), Key::new(&wanted.name));
    let connector = match Connector::new(&wanted.url, &application) {
        Ok(connector) => connector.renamed(),
        Err(reason) => {
            let _ = report.send(Err(Failure::failed(reason)));
            return;
        }
    };
    let ledger = wanted.once.as_ref().map(|once| Ledger::new(once, &key));
    match waiter::acquire(&connector, wanted, &key, ledger.as_ref()).await {
        Ok(waiter::Acquisition::Got(mut session)) => {
            session.end = None;
            *locked(&shared.socket) = session.socket().ok();
            let _ = report.send(Ok(None));
            let keeper = Keeper {
                key: &key,
                ledger: ledger.as_ref(),
                shared,
            };
            keeper.keep(session, lost).await;
        }
        Ok(waiter::Acquisition::Recorded(record)) => {
            let _ = report.send(Ok(Some(record)));
        }
        Err(failure) => {
            let _ = report.send(Err(failure));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_asks_after_a_lock_that_is_lost_is_answered() {
        let shared = Arc::new(Shared::default());
        let lock = Lock {
            shared: Arc::clone(&shared),
            thread: None,
        };
        let answers = |before: &dyn Fn(), after: &dyn Fn()| {
            before();
            let (sender, receiver) = mpsc::channel();
            let ask = lock.ask(Request::IsHeld);
            thread::spawn(move || sender.send(ask()));
            after();
            receiver.recv_timeout(Duration::from_secs(30))
        };
        let is_asked = || matches!(*locked(&shared.question), Asked::Request(..));
        let close_when_asked = || {
            while !is_asked() {
                thread::yield_now();
            }
            shared.close();
        };
        assert!(matches!(answers(&|| (), &close_when_asked), Ok(Err(_))));
        assert!(matches!(answers(&|| shared.close(), &|| ()), Ok(Err(_))));
    }
}
