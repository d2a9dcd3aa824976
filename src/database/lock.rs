//! The migration lock: of any number of replicas that start at once, one migrates.
//!
//! It is a session-level advisory lock (PostgreSQL manual, 13.3.5), so it ends with its connection, however that ends.
//! It is polled by `pg_try_advisory_lock`: a session that waits inside `pg_advisory_lock` holds a snapshot, for which
//! `CREATE INDEX CONCURRENTLY` in the other replica's migration waits in turn, and Postgres can't see that deadlock.
//!
//! No two migrate at once, by four rules. The migration inherits a duplicate of the connection's socket, so that the
//! server keeps the session as long as any process of the migration lives, also when portero is killed. When the session
//! ends on the server's side, the migration is paused until the lock is got back. A new lock counts only after it was held
//! for `SETTLING`, and a server that has just come up is left to the former holder for `PRECEDENCE`. And who gets the lock
//! back too late for these two to prove that nobody else had it meanwhile has lost it, and kills its migration.
//!
//! The session has a thread and a runtime of its own, so that the thread that supervises the migration only supervises.

mod holder;
mod keeper;
mod ledger;
mod session;
mod waiter;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::connect::Connector;
use super::once::Once;
use super::url::PostgresUrl;
use crate::exit::Failure;
use crate::probe::words;
use crate::sys;
use keeper::Keeper;
use ledger::Ledger;
pub use ledger::Record;

/// The first key of every lock of portero's: `port` in ASCII. Both keys have 31 bits, for they are shown as unsigned
/// in `pg_locks` and given as signed.
const NAMESPACE: u32 = 0x706f_7274;

/// Which lock is wanted, and for what.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whose server holds it.
    pub url: PostgresUrl,
    /// `--lock-name`.
    pub name: String,
    /// How long to wait for it; `None` is no limit.
    pub timeout: Option<Duration>,
    /// What need not be done again once it is recorded.
    pub once: Option<Once>,
}

/// What came of wanting the lock.
pub enum Acquired {
    /// It is held now.
    Lock(Lock),
    /// There is nothing to do under it: the version is recorded.
    Recorded(Record),
}

/// What becomes of the lock while it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its session is over: another replica may get it at any moment.
    InDanger,
    /// It was got back before any other replica had it.
    Safe,
    /// It is lost for good.
    Lost {
        /// Why.
        reason: String,
        /// Whether somebody else has it, rather than nobody knowing.
        taken: bool,
    },
}

/// The migration lock, held. Dropping it releases it and waits for the server to hear of it, at most ten seconds.
pub struct Lock {
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

/// What wakes the thread that keeps the lock.
#[derive(Default)]
struct Signals {
    released: AtomicBool,
    recorder: Mutex<Recorder>,
    /// A duplicate of the socket of the session that holds the lock.
    socket: Mutex<Option<OwnedFd>>,
    /// Notified when the lock is released, when success is to be recorded, and when the connection ended.
    wake: Arc<Notify>,
}

impl Signals {
    fn released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits until success is recorded.
#[derive(Default)]
enum Recorder {
    #[default]
    Nobody,
    Waits(mpsc::Sender<Result<(), Failure>>),
    /// The thread has ended: nobody would be answered.
    Closed,
}

/// Which lock.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    name: String,
    number: u32,
}

impl Key {
    fn new(name: &str) -> Self {
        // FNV-1a: it must be the same in every build of portero, as the standard library's hasher is not.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        Self {
            name: name.to_owned(),
            number: hash & 0x7fff_ffff,
        }
    }
}

impl Lock {
    /// Waits until the wanted lock is this process's, and keeps it; or finds out that there is nothing to do under it.
    ///
    /// `tell` is called from another thread: nothing may be migrated between `InDanger` and `Safe`, nor ever after
    /// `Lost`, which comes when the lock is somebody else's or its server has been out of reach for half a minute.
    ///
    /// Blocks; to give up, end the process: the server frees the lock, or its place in the queue, at once.
    ///
    /// # Errors
    /// 124 when the limit has passed, with who holds the lock; 125 for a server that says no, a standby, a pooler
    /// that shares sessions, or a table that can't be used. No message has a password in it.
    pub fn acquire(
        wanted: Wanted,
        tell: impl Fn(Change) + Send + 'static,
    ) -> Result<Acquired, Failure> {
        let signals = Arc::new(Signals::default());
        let (report, outcome) = mpsc::channel();
        let theirs = Arc::clone(&signals);
        let thread = thread::Builder::new()
            .name("lock".into())
            .spawn(move || run(&wanted, &theirs, &report, &tell))
            .map_err(|error| {
                Failure::failed(format!("the lock's thread can't be started: {error}"))
            })?;
        match outcome.recv() {
            Ok(Ok(None)) => Ok(Acquired::Lock(Self {
                signals,
                thread: Some(thread),
            })),
            Ok(Ok(Some(record))) => Ok(Acquired::Recorded(record)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::failed("the lock's thread has ended")),
        }
    }

    /// Records the wanted version's success, by the very session that holds the lock. Blocks until it is there.
    ///
    /// # Errors
    /// 125: the lock was lost, or the server says no.
    pub fn record(&self) -> Result<(), Failure> {
        let (sender, receiver) = mpsc::channel();
        let mut recorder = self.signals.recorder();
        if !matches!(*recorder, Recorder::Closed) {
            *recorder = Recorder::Waits(sender);
        }
        drop(recorder);
        self.signals.wake.notify_one();
        receiver
            .recv()
            .unwrap_or_else(|_| Err(Failure::failed("the migration lock is lost")))
    }

    /// A duplicate of the socket of the session that holds the lock, close-on-exec. The server keeps the session, and
    /// so the lock, as long as any process has one: who inherits it can't be overtaken, even when portero is killed.
    ///
    /// # Errors
    /// 125: there are too many descriptors.
    pub fn socket(&self) -> Result<OwnedFd, Failure> {
        let missing = || Err(io::Error::from(io::ErrorKind::NotConnected));
        let guard = self.signals.socket();
        let copy = guard
            .as_ref()
            .map_or_else(missing, |own| sys::duplicate(own.as_fd()));
        copy.map_err(|error| {
            let reason = words::error(&error);
            Failure::failed(format!("the lock's connection can't be shared: {reason}"))
        })
    }

    /// Leaves the lock to those who have its socket: it is free when the last of them has gone, and this process too.
    pub fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.signals.released.store(true, Ordering::Release);
        self.signals.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It can't have panicked: a panic ends the process.
            let _ = thread.join();
        }
    }
}

/// The thread's news: that the lock is held, or what makes it unnecessary, or why it can't be had.
type Report = mpsc::Sender<Result<Option<Record>, Failure>>;

/// The thread: gets the lock, reports, keeps it until it is released or lost.
fn run(wanted: &Wanted, signals: &Arc<Signals>, report: &Report, tell: &dyn Fn(Change)) {
    let runtime = match Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let reason = words::error(&error);
            let _ = report.send(Err(Failure::failed(format!(
                "the network can't be set up: {reason}"
            ))));
            return;
        }
    };
    runtime.block_on(serve(wanted, signals, report, tell));
    // A name lookup may still sit in its thread; nobody waits for it.
    runtime.shutdown_background();
    *signals.recorder() = Recorder::Closed;
}

/// The thread's work.
async fn serve(wanted: &Wanted, signals: &Arc<Signals>, report: &Report, tell: &dyn Fn(Change)) {
    let (application, key) = (application_name(), Key::new(&wanted.name));
    let connector = match Connector::new(&wanted.url, &application) {
        Ok(connector) => connector.renamed(),
        Err(reason) => {
            let _ = report.send(Err(Failure::failed(reason)));
            return;
        }
    };
    let ledger = wanted.once.as_ref().map(|once| Ledger::new(once, &key));
    let keeper = Keeper {
        connector: &connector,
        key: &key,
        ledger,
        signals,
        tell,
    };
    match waiter::acquire(&connector, wanted, &key, &signals.wake).await {
        Ok(waiter::Outcome::Got(session)) => {
            *signals.socket() = session.socket().ok();
            let _ = report.send(Ok(None));
            keeper.keep(session).await;
        }
        Ok(waiter::Outcome::Recorded(record, session)) => {
            keeper::part(session, signals).await;
            let _ = report.send(Ok(Some(record)));
        }
        Err(failure) => {
            let _ = report.send(Err(failure));
        }
    }
}

/// What other replicas see in `pg_stat_activity`; Postgres cuts it at 63 bytes.
fn application_name() -> String {
    format!("portero migrate {}", host_name())
        .trim_end()
        .to_owned()
}

/// In a container its id, or the pod's name (`uname(2)`).
fn host_name() -> String {
    nix::sys::utsname::uname()
        .map(|names| names.nodename().to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_name_has_the_same_number_in_every_release() {
        assert_eq!(Key::new("portero").number, 0x7211_211a);
        assert_ne!(Key::new("portero").number, Key::new("portero2").number);
        assert!(
            [NAMESPACE, Key::new("").number]
                .iter()
                .all(|key| i32::try_from(*key).is_ok())
        );
    }
}
