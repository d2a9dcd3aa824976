//! What the thread that keeps the lock shares with the one that supervises.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use tokio::sync::Notify;

use crate::exit::Failure;

/// What may be asked of the lock while it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Does the server show it as this session's, now?
    IsHeld,
    /// Will the wanted version's success be recorded, by the very session that holds the lock?
    Record,
}

/// What the thread that keeps the lock shares with the one that supervises.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) question: Mutex<Asked>,
    /// A duplicate of the socket of the session that holds the lock.
    pub(super) socket: Mutex<Option<OwnedFd>>,
    /// Notified when a question was asked.
    pub(super) asked: Notify,
    /// Notified when the lock is to be given back.
    pub(super) released: Notify,
}

/// Who waits for an answer.
#[derive(Default)]
pub(super) enum Asked {
    #[default]
    Nothing,
    Request(Request, Answer),
    /// The lock is lost: nobody would be answered.
    Closed,
}

pub(super) type Answer = mpsc::Sender<Result<(), Failure>>;

impl Shared {
    /// Takes the question that was asked.
    pub(super) fn question(&self) -> Option<(Request, Answer)> {
        let mut asked = locked(&self.question);
        match std::mem::take(&mut *asked) {
            Asked::Request(question, answer) => Some((question, answer)),
            other => {
                *asked = other;
                None
            }
        }
    }

    /// Answers nobody any more.
    pub(super) fn close(&self) {
        *locked(&self.question) = Asked::Closed;
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
