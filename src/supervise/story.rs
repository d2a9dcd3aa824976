//! What `-v` tells of signals and of a stop, step by step: what came, to whom it went, who left, and how long all of it
//! took since the first stop. Nothing is looked up unless it is told.

use std::time::{Duration, Instant};

use log::Level;

use crate::supervise::child::Child;
use crate::supervise::outcome::Outcome;
use crate::supervise::processes::{self, Process};
use crate::sys::signal_names::name;

/// When the first stop came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Story(Option<Instant>);

impl Story {
    /// A signal came.
    pub fn received(&mut self, number: i32, stops: bool) {
        if stops {
            self.0.get_or_insert_with(Instant::now);
        }
        self.tell(number, |signal| format!("received {signal}"));
    }

    /// A stop is held back.
    pub fn delayed(self, number: i32, delay: Duration) {
        let delay = delay.as_secs_f32();
        self.tell(number, |signal| {
            format!("{signal} waits for the stop delay of {delay}s")
        });
    }

    /// A signal went to the child, or to its `whole` group.
    pub fn forwarded(self, number: i32, child: &Child, whole: bool) {
        self.tell(number, |signal| {
            let group = if whole { " and its process group" } else { "" };
            let (name, pid) = (processes::name(child.pid), child.pid);
            format!("{signal} sent to {name} (pid {pid}){group}")
        });
    }

    /// These of what was left behind got a signal.
    pub fn told(self, leftovers: &[Process], number: i32) {
        if !leftovers.is_empty() {
            self.tell(number, |signal| {
                format!("{signal} sent to {}", processes::names(leftovers))
            });
        }
    }

    /// The child has ended.
    pub fn ended(self, pid: i32, outcome: Outcome) {
        let (code, elapsed_ms) = (outcome.exit().code(), self.elapsed_ms());
        log::debug!(pid, code, elapsed_ms; "pid {pid} has ended with {code}{}", self.since());
    }

    /// Nothing is left.
    pub fn concluded(self) {
        if self.0.is_some() {
            let elapsed_ms = self.elapsed_ms();
            log::debug!(elapsed_ms; "nothing is left{}", self.since());
        }
    }

    fn tell(self, number: i32, what: impl FnOnce(&str) -> String) {
        if log::log_enabled!(Level::Debug) {
            let (signal, elapsed_ms) = (name(number), self.elapsed_ms());
            let what = what(&signal);
            log::debug!(signal = signal.as_str(), elapsed_ms; "{what}{}", self.since());
        }
    }

    fn elapsed_ms(self) -> u64 {
        let elapsed = self.0.map_or(Duration::ZERO, |began| began.elapsed());
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    fn since(self) -> String {
        self.0.map_or_else(String::new, |_| {
            let elapsed = Duration::from_millis(self.elapsed_ms());
            format!(" ({:.3}s after the stop)", elapsed.as_secs_f64())
        })
    }
}
