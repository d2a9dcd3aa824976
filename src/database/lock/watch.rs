//! What a wait for the lock says: each new reason at once, and a sign of life by the clock, whatever it waits in.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::wording;

/// Between two signs of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A wait for one lock, as it is told.
pub(super) struct Watch {
    name: String,
    started: Instant,
    limit: Option<Duration>,
    state: RefCell<State>,
}

struct State {
    /// Why not yet.
    reason: String,
    /// When something was said last, and which reason.
    said: Option<(Instant, String)>,
}

impl Watch {
    pub(super) fn new(name: &str, limit: Option<Duration>) -> Self {
        Self {
            name: name.escape_debug().to_string(),
            started: Instant::now(),
            limit,
            state: RefCell::new(State {
                reason: "the server has not answered yet".into(),
                said: None,
            }),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// When `--lock-timeout` ends.
    pub(super) fn end(&self) -> Option<Instant> {
        self.limit.map(|limit| self.started + limit)
    }

    pub(super) fn reason(&self) -> String {
        self.state.borrow().reason.clone()
    }

    /// What is waited for now; it is said if that takes long.
    pub(super) fn expect(&self, reason: &str) {
        reason.clone_into(&mut self.state.borrow_mut().reason);
    }

    /// Why a try has failed, which is said at once where it is new.
    pub(super) fn tell(&self, reason: String) {
        let known = matches!(&self.state.borrow().said, Some((_, said)) if *said == reason);
        self.state.borrow_mut().reason = reason;
        if !known {
            self.say();
        }
    }

    /// Gives signs of life, for ever.
    pub(super) async fn keep_saying<T>(&self) -> T {
        loop {
            let said = self.state.borrow().said.as_ref().map(|(at, _)| *at);
            let next = said.unwrap_or(self.started) + SIGN_OF_LIFE;
            if next <= Instant::now() {
                self.say();
            } else {
                sleep_until(next).await;
            }
        }
    }

    fn say(&self) {
        let mut state = self.state.borrow_mut();
        let (name, reason) = (&self.name, &state.reason);
        if state.said.is_none() {
            log::info!("waiting for the migration lock \"{name}\": {reason}");
        } else {
            let elapsed = wording::duration(self.elapsed());
            let limit = self.limit.map_or_else(
                || "without a limit".into(),
                |limit| format!("of {}", wording::duration(limit)),
            );
            log::info!(
                "still waiting for the migration lock \"{name}\" ({elapsed} {limit}): {reason}"
            );
        }
        state.said = Some((Instant::now(), state.reason.clone()));
    }

    /// Says how long it took, when anybody was told of a wait.
    pub(super) fn conclude(&self) {
        if self.state.borrow().said.is_some() {
            let elapsed = wording::duration(self.elapsed());
            log::info!("got the migration lock \"{}\" after {elapsed}", self.name);
        }
    }
}
