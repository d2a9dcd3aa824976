//! What the work of an application waits for, as it would wait for a database. So the test knows how much is under way,
//! and how long it lasts is not a question of how busy the machine is.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};

use crate::common::Server;
use crate::common::server::{head, http_answer};

/// What an application passes on.
pub const ANSWER: &str = "answered\n";

/// A server that answers `/ask` when it may and all else at once.
pub struct Backend {
    server: Server,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    counts: Mutex<Counts>,
    opened: Condvar,
}

#[derive(Default)]
struct Counts {
    under_way: usize,
    /// The processes that asked, as far as they say so.
    processes: BTreeSet<String>,
    done: usize,
    open: bool,
}

impl Backend {
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let server = Server::start(move |mut stream| {
            seen.take(&head(&mut stream));
            let _ = stream.write_all(http_answer(200, ANSWER).as_bytes());
        });
        Self { server, state }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// How many requests, tasks or sessions are under way, or were.
    pub fn under_way(&self) -> usize {
        self.state.counts.lock().unwrap().under_way
    }

    /// How many processes have them: one at least, when they do not say which they are.
    pub fn processes(&self) -> usize {
        self.state.counts.lock().unwrap().processes.len()
    }

    /// How many tasks have come to their end.
    pub fn done(&self) -> usize {
        self.state.counts.lock().unwrap().done
    }

    /// Answers all that wait, and from now on at once.
    pub fn answer(&self) {
        self.state.counts.lock().unwrap().open = true;
        self.state.opened.notify_all();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.answer();
    }
}

impl State {
    /// Comes back when the request may have its answer.
    fn take(&self, request: &str) {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let mut counts = self.counts.lock().unwrap();
        match path {
            "/ask" | "/session" => {
                let process = request.lines().find(|line| line.starts_with("X-Process:"));
                counts
                    .processes
                    .insert(process.unwrap_or_default().to_owned());
                counts.under_way += 1;
                while path == "/ask" && !counts.open {
                    counts = self.opened.wait(counts).unwrap();
                }
            }
            "/done" => counts.done += 1,
            _ => {}
        }
    }
}
