//! `portero wait`: asks every target until all are ready, or the limit.

mod pace;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};
use pace::{Pauses, Tries};

use crate::cli::{Opt, Typed};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::net::deadline::Deadline;
use crate::net::readiness::Readiness;
use crate::plan::{self, WaitPlan};
use crate::probe::question::Question;
use crate::probe::target::Target;
use crate::settings::Settings;
use crate::supervise::helper::Stops;
use crate::{probe, process, variables, wording};

/// How often a wait shows that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A target that is ready sooner than this, and at once, is worth one line and not two.
const SILENCE: Duration = Duration::from_millis(250);

/// How many different reasons of one target are logged; one that makes up a new one each time must not flood the log.
const REASONS: usize = 20;

/// From the command line to the end of the wait.
///
/// # Errors
/// Usage errors, 125; else as [`run`].
pub fn begin(typed: &Typed) -> Result<Exit, Failure> {
    let inherited = Environment::inherited();
    let settings = Settings::new(typed, &inherited);
    process::start_logger(&settings)?;
    process::take_stops_by_handler(typed.mode, &plan::stops_of(&settings)?)?;
    let resolved = variables::resolve(&settings, Stops::Handled)?;
    let settings = Settings::new(typed, &resolved.environment);
    let dry_run = settings.switch(Opt::DryRun)?;
    let plan = WaitPlan::new(&settings)?;
    if dry_run {
        return Ok(process::print(&plan.describe()));
    }
    process::drop_privileges(&settings, Stops::Handled)?;
    run(&plan).map(|()| Exit::Success)
}

/// Waits until every target of the plan is ready.
///
/// # Errors
/// At once, what no waiting can change: a certificate's file that can't be read (125). At the limit: a target
/// that is not ready yet (124), or that answers and says no (125); the line lists each with its last reason.
pub fn run(plan: &WaitPlan) -> Result<(), Failure> {
    let question = Arc::new(Question::of_wait(plan.verification.clone()));
    for target in &plan.targets {
        question.check(target)?;
    }
    let (sender, receiver) = mpsc::channel();
    let mut tracker = Tracker::new(plan);
    for (index, target) in plan.targets.iter().enumerate() {
        let mut prober = Prober {
            index,
            target: target.clone(),
            question: Arc::clone(&question),
            tries: Tries::new(plan.timeout),
            pauses: Pauses::new(plan.max_interval),
        };
        let sender = sender.clone();
        thread::Builder::new()
            .name("wait".to_owned())
            .spawn(move || prober.ask_until_ready(&sender))
            .map_err(|error| {
                Failure::failed(format!(
                    "no thread to wait for {target}: {}",
                    wording::error(&error)
                ))
            })?;
    }
    drop(sender);
    tracker.follow(&receiver)
}

/// What one thread does: it asks one target.
struct Prober {
    index: usize,
    target: Target,
    question: Arc<Question>,
    tries: Tries,
    pauses: Pauses,
}

/// One target's answer, by its index in the plan.
type Answer = (usize, Readiness);

impl Prober {
    /// Tells every answer; ends when one is ready or nobody listens any more.
    fn ask_until_ready(&mut self, answers: &Sender<Answer>) {
        let started = Instant::now();
        loop {
            let limit = self.tries.limit(started.elapsed());
            let asked = Instant::now();
            let answer = probe::ask(&self.target, &self.question, Deadline::after(Some(limit)));
            self.tries.note(limit, asked.elapsed());
            let pause = self.pauses.after(&answer);
            let ready = matches!(answer, Readiness::Ready(_));
            if answers.send((self.index, answer)).is_err() || ready {
                return;
            }
            thread::sleep(pause);
        }
    }
}

/// What is known of one target.
struct Watched<'a> {
    target: &'a Target,
    /// The last answer, when there was one.
    last: Option<Readiness>,
    /// The reasons that were logged.
    said: Vec<String>,
}

/// The side that listens, logs and keeps the limit.
struct Tracker<'a> {
    watched: Vec<Watched<'a>>,
    started: Instant,
    limit: Option<Duration>,
    announced: bool,
    again: bool,
}

impl<'a> Tracker<'a> {
    fn new(plan: &'a WaitPlan) -> Self {
        let watched = plan
            .targets
            .iter()
            .map(|target| Watched {
                target,
                last: None,
                said: Vec::new(),
            })
            .collect();
        Self {
            watched,
            started: Instant::now(),
            limit: plan.timeout,
            announced: false,
            again: plan.again,
        }
    }

    /// Listens until all are ready or the limit has come.
    fn follow(&mut self, answers: &Receiver<Answer>) -> Result<(), Failure> {
        let mut next_sign = SIGN_OF_LIFE;
        while self.outstanding().next().is_some() {
            let elapsed = self.started.elapsed();
            if self.limit.is_some_and(|limit| elapsed >= limit) {
                return Err(self.verdict());
            }
            if elapsed >= next_sign {
                self.show_life(elapsed);
                next_sign = elapsed + SIGN_OF_LIFE;
            }
            let wake = [
                Some(next_sign),
                self.limit,
                (!self.announced).then_some(SILENCE),
            ];
            let wake = wake
                .into_iter()
                .flatten()
                .filter(|&at| at > elapsed)
                .min()
                .unwrap_or(next_sign);
            match answers.recv_timeout(wake.saturating_sub(elapsed)) {
                Ok((index, answer)) => self.hear(index, answer),
                Err(RecvTimeoutError::Timeout) => self.announce(),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::failed(
                        "the wait ended before its targets were ready",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Says what is waited for, once.
    fn announce(&mut self) {
        if !self.announced {
            self.announced = true;
            let names: Vec<_> = self
                .outstanding()
                .map(|watched| watched.target.to_string())
                .collect();
            let limit = self.limit.map_or("without a limit".to_owned(), |limit| {
                format!("up to {}", wording::duration(limit))
            });
            let names = names.join(", ");
            info!(event = "waiting", targets:% = names, limit_ms = self.limit.map_or(0, millis); "waiting for {names} ({limit})");
        }
    }

    /// Takes note of an answer, and logs it when it is news.
    fn hear(&mut self, index: usize, answer: Readiness) {
        if !matches!(answer, Readiness::Ready(_)) {
            self.announce();
        }
        let elapsed = self.started.elapsed();
        let Some(watched) = self.watched.get_mut(index) else {
            return;
        };
        let target = watched.target;
        let elapsed_ms = millis(elapsed);
        match &answer {
            Readiness::Ready(_) if self.again && !self.announced => {
                log::debug!("{target} is ready still");
            }
            Readiness::Ready(_) => info!(
                event = "ready", target:% = target, elapsed_ms;
                "{target} is ready after {}", wording::duration(elapsed)
            ),
            Readiness::NotYet(reason) if watched.is_news(reason) => info!(
                event = "not_yet", target:% = target, reason, elapsed_ms;
                "{target}: {reason}"
            ),
            Readiness::Refused(reason) if watched.is_news(reason) => warn!(
                event = "refused", target:% = target, reason, elapsed_ms, check = what_to_check(target, reason);
                "{target}: {reason}; it answers, and says no: waiting will hardly change that; check {}",
                what_to_check(target, reason)
            ),
            Readiness::NotYet(_) | Readiness::Refused(_) => {}
        }
        watched.last = Some(answer);
    }

    fn show_life(&mut self, elapsed: Duration) {
        self.announce();
        let (elapsed_ms, limit_ms) = (millis(elapsed), self.limit.map_or(0, millis));
        let elapsed = wording::duration(elapsed);
        let limit = self.limit.map_or("no limit".to_owned(), wording::duration);
        let of = if self.limit.is_some() { " of " } else { ", " };
        for watched in self.outstanding() {
            info!(
                event = "still_waiting", target:% = watched.target, reason = watched.reason(), elapsed_ms, limit_ms;
                "still waiting for {} ({elapsed}{of}{limit}): {}",
                watched.target,
                watched.reason()
            );
        }
    }

    /// What the limit finds. One target that says no outweighs others that only take their time.
    fn verdict(&self) -> Failure {
        let refused = self
            .outstanding()
            .any(|watched| matches!(watched.last, Some(Readiness::Refused(_))));
        let exit = if refused {
            Exit::Failed
        } else {
            Exit::TimedOut
        };
        let reasons: Vec<_> = self
            .outstanding()
            .map(|watched| format!("{}: {}", watched.target, watched.reason()))
            .collect();
        let limit = self.limit.map(wording::duration).unwrap_or_default();
        Failure::new(
            exit,
            format!("not ready after {limit}: {}", reasons.join("; ")),
        )
    }

    fn outstanding(&self) -> impl Iterator<Item = &Watched<'a>> {
        self.watched
            .iter()
            .filter(|watched| !matches!(watched.last, Some(Readiness::Ready(_))))
    }
}

impl Watched<'_> {
    /// Why it is not ready, by its last answer.
    fn reason(&self) -> &str {
        match &self.last {
            Some(Readiness::NotYet(reason) | Readiness::Refused(reason)) => reason,
            Some(Readiness::Ready(_)) | None => "no answer",
        }
    }

    /// Whether `reason` is to be logged: the first time that it is heard.
    fn is_news(&mut self, reason: &str) -> bool {
        if self.said.len() >= REASONS || self.said.iter().any(|said| said == reason) {
            return false;
        }
        self.said.push(reason.to_owned());
        true
    }
}

/// For JSON, where 0 is no limit.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where to look when a target says no: by the SQLSTATE in the reason, else by the kind of target.
fn what_to_check(target: &Target, reason: &str) -> &'static str {
    if target.is_redis() {
        return "the URL's scheme, user and password, the server's certificate and --ca-cert";
    }
    if target.postgres().is_none() {
        return "the URL's scheme, the server's certificate and --ca-cert";
    }
    let by_code = [
        ("(28P01)", "user and password of its URL"),
        ("valid client certificate", "sslcert and sslkey of its URL"),
        (
            "Tenant or user",
            "user and host of its URL: this pooler wants the project's name with the user's",
        ),
        (
            "Endpoint ID",
            "host and options of its URL: this proxy wants the endpoint's name",
        ),
        (
            "No pool configured",
            "user and database of its URL: the pooler has none of these",
        ),
        (
            "require_auth",
            "require_auth of its URL, and the server's pg_hba.conf",
        ),
        (
            "the server asks for ",
            "the server's pg_hba.conf: portero knows passwords and client certificates",
        ),
        (
            "(28000)",
            "user and sslmode of its URL, and the server's pg_hba.conf",
        ),
        (
            "(3D000)",
            "the database's name in its URL, and that it was created",
        ),
        ("(42501)", "what the user may do: GRANT CONNECT ON DATABASE"),
        // PgBouncer's words (08P01 is its code for everything).
        ("authentication failed", "user and password of its URL"),
        (
            "startup parameter",
            "the URL's options parameter, which this pooler does not take",
        ),
        (
            "certificate",
            "sslmode and sslrootcert of its URL, and the server's certificate",
        ),
        ("not PostgreSQL", "host and port of its URL"),
    ];
    by_code
        .iter()
        .find(|(mark, _)| reason.contains(mark))
        .map_or(
            "user, password, database and sslmode of its URL",
            |(_, check)| check,
        )
}

#[cfg(test)]
#[cfg(all(feature = "postgres", feature = "redis"))]
mod tests;
