//! The migration lock: of any number of replicas that start at once, one migrates.
//!
//! It is a session-level advisory lock (PostgreSQL manual, 13.3.5), so it ends with its connection, however that ends.
//! It is polled by `pg_try_advisory_lock`: a session that waits inside `pg_advisory_lock` holds a snapshot, for which
//! `CREATE INDEX CONCURRENTLY` in the other replica's migration waits in turn, and Postgres can't see that deadlock.
//!
//! The session has a thread and a runtime of its own, so that the thread that supervises the migration only supervises.

mod holder;
mod keeper;
mod session;
mod waiter;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::connect::Connector;
use super::url::PostgresUrl;
use crate::exit::Failure;

/// The first key of every lock of portero's: `port` in ASCII. Both keys have 31 bits, for they are shown as unsigned
/// in `pg_locks` and given as signed.
const NAMESPACE: u32 = 0x706f_7274;

/// The migration lock, held. Dropping it releases it and waits for the server to hear of it, at most ten seconds.
pub struct Lock {
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

/// What wakes the thread that keeps the lock.
#[derive(Default)]
struct Signals {
    released: AtomicBool,
    /// Notified when the lock is released, and when the connection ended.
    wake: Arc<Notify>,
}

impl Signals {
    fn released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }
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
    /// Waits until the lock called `name` is this process's, and keeps it. `None` waits without a limit.
    ///
    /// `on_lost` is called at most once, from another thread, when the lock is somebody else's or its server has been
    /// out of reach past the grace of half a minute: the migration must stop then.
    ///
    /// Blocks; to give up, end the process: the server frees the lock, or its place in the queue, at once.
    ///
    /// # Errors
    /// 124 when `timeout` has passed, with who holds the lock; 125 for a server that says no, a standby, or a pooler
    /// that shares sessions. No message has a password in it.
    pub fn acquire(
        url: &PostgresUrl,
        name: &str,
        timeout: Option<Duration>,
        on_lost: impl FnOnce(String) + Send + 'static,
    ) -> Result<Self, Failure> {
        let (url, key, signals) = (url.clone(), Key::new(name), Arc::new(Signals::default()));
        let (report, outcome) = mpsc::channel();
        let theirs = Arc::clone(&signals);
        let thread = thread::Builder::new()
            .name("lock".into())
            .spawn(move || run(&url, &key, timeout, &theirs, &report, on_lost))
            .map_err(|error| {
                Failure::failed(format!("the lock's thread can't be started: {error}"))
            })?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(Self {
                signals,
                thread: Some(thread),
            }),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::failed("the lock's thread has ended")),
        }
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

/// The thread: gets the lock, reports, keeps it until it is released or lost.
fn run(
    url: &PostgresUrl,
    key: &Key,
    timeout: Option<Duration>,
    signals: &Arc<Signals>,
    report: &mpsc::Sender<Result<(), Failure>>,
    on_lost: impl FnOnce(String),
) {
    let runtime = match Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let reason = crate::probe::words::error(&error);
            let _ = report.send(Err(Failure::failed(format!(
                "the network can't be set up: {reason}"
            ))));
            return;
        }
    };
    let application = application_name();
    let lost = runtime.block_on(async {
        let acquired = match Connector::new(url, &application) {
            Ok(connector) => {
                let connector = connector.renamed();
                let acquired = waiter::acquire(&connector, url, key, timeout, &signals.wake).await;
                acquired.map(|session| (connector, session))
            }
            Err(reason) => Err(Failure::failed(reason)),
        };
        match acquired {
            Ok((connector, session)) => {
                let _ = report.send(Ok(()));
                keeper::keep(&connector, key, session, signals).await.err()
            }
            Err(failure) => {
                let _ = report.send(Err(failure));
                None
            }
        }
    });
    // A name lookup may still sit in its thread; nobody waits for it.
    runtime.shutdown_background();
    if let Some(reason) = lost {
        on_lost(reason);
    }
}

/// What other replicas see in `pg_stat_activity`; Postgres cuts it at 63 bytes.
fn application_name() -> String {
    let host =
        nix::sys::utsname::uname().map(|names| names.nodename().to_string_lossy().into_owned());
    format!("portero migrate {}", host.unwrap_or_default())
        .trim_end()
        .to_owned()
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
