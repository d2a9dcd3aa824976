//! What `-v` tells of signals and of a stop, step by step: what came, to whom it went, who left, and how long all of it
//! took since the first stop. Nothing is looked up unless it is told, and it is told when the step is done.

use std::time::{Duration, Instant};

use log::Level;

use crate::supervise::child::Child;
use crate::supervise::outcome::Outcome;
use crate::supervise::processes::{self, Process};
use crate::sys::signal_names::name;

/// When the first stop came, and what is still to be told.
#[derive(Clone, Debug, Default)]
pub struct Story {
    began: Option<Instant>,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    text: String,
    signal: String,
    elapsed: Option<Duration>,
}

impl Story {
    /// A signal came.
    pub fn received(&mut self, number: i32, stops: bool) {
        if stops {
            self.began.get_or_insert_with(Instant::now);
        }
        self.add(number, |signal| format!("received {signal}"));
    }

    /// A stop is held back.
    pub fn delayed(&mut self, number: i32, delay: Duration) {
        let delay = delay.as_secs_f32();
        self.add(number, |signal| {
            format!("{signal} waits for the stop delay of {delay}s")
        });
    }

    /// A signal went to the child, or to its `whole` group.
    pub fn forwarded(&mut self, number: i32, child: &Child, whole: bool) {
        self.add(number, |signal| {
            let group = if whole { " and its process group" } else { "" };
            let (name, pid) = (processes::name(child.pid), child.pid);
            format!("{signal} sent to {name} (pid {pid}){group}")
        });
    }

    /// These of what was left behind got a signal.
    pub fn told(&mut self, leftovers: &[Process], number: i32) {
        if !leftovers.is_empty() {
            self.add(number, |signal| {
                format!("{signal} sent to {}", processes::names(leftovers))
            });
        }
    }

    /// Tells what has happened meanwhile.
    pub fn speak(&mut self) {
        for line in self.lines.drain(..) {
            let (text, signal) = (line.text, line.signal.as_str());
            match line.elapsed.map(millis) {
                Some(elapsed_ms) => log::debug!(signal, elapsed_ms; "{text}"),
                None => log::debug!(signal; "{text}"),
            }
        }
    }

    /// The child has ended.
    pub fn ended(&self, pid: i32, outcome: Outcome) {
        let (code, since) = (outcome.exit().code(), self.since());
        match self.elapsed().map(millis) {
            Some(elapsed_ms) => {
                log::debug!(pid, code, elapsed_ms; "pid {pid} has ended with {code}{since}");
            }
            None => log::debug!(pid, code; "pid {pid} has ended with {code}"),
        }
    }

    /// Nothing is left.
    pub fn concluded(&self) {
        if let Some(elapsed_ms) = self.elapsed().map(millis) {
            log::debug!(elapsed_ms; "nothing is left{}", self.since());
        }
    }

    fn add(&mut self, number: i32, what: impl FnOnce(&str) -> String) {
        if log::log_enabled!(Level::Debug) {
            let signal = name(number);
            let text = format!("{}{}", what(&signal), self.since());
            let elapsed = self.elapsed();
            self.lines.push(Line {
                text,
                signal,
                elapsed,
            });
        }
    }

    fn elapsed(&self) -> Option<Duration> {
        self.began.map(|began| began.elapsed())
    }

    fn since(&self) -> String {
        self.elapsed().map_or_else(String::new, |elapsed| {
            format!(" ({:.3}s after the stop)", elapsed.as_secs_f64())
        })
    }
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
