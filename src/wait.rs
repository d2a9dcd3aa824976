//! `portero wait`: asks every target until all are ready, or the limit.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::exit::{Exit, Failure};
use crate::plan::WaitPlan;
use crate::probe::target::Target;
use crate::probe::{self, Deadline, Question, Readiness, names, words};

/// The shortest pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The shortest pause after an answer that says no (accounts get locked), and for a name that has no address (name
/// servers have limits).
const GENTLE_PAUSE: Duration = Duration::from_secs(1);

/// How long one try may take at first: a connection that hangs must not use up the whole wait.
const TRY_LIMIT: Duration = Duration::from_secs(5);

/// How long one try may take in the end, in a wait without a limit.
const LONGEST_TRY: Duration = Duration::from_mins(5);

/// How often a wait shows that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A target that is ready sooner than this, and at once, is worth one line and not two.
const SILENCE: Duration = Duration::from_millis(250);

/// How many different reasons of one target are logged; one that makes up a new one each time must not flood the log.
const REASONS: usize = 20;

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
    let mut vigil = Vigil::new(plan);
    for (index, target) in plan.targets.iter().enumerate() {
        let mut asker = Asker {
            index,
            target: target.clone(),
            question: Arc::clone(&question),
            tries: Tries::new(plan.timeout),
            pauses: Pauses::new(plan.max_interval),
        };
        let sender = sender.clone();
        thread::Builder::new()
            .name("wait".to_owned())
            .spawn(move || asker.ask_until_ready(&sender))
            .map_err(|error| {
                Failure::failed(format!(
                    "no thread to wait for {target}: {}",
                    words::error(&error)
                ))
            })?;
    }
    drop(sender);
    vigil.keep(&receiver)
}

/// What one thread does: it asks one target.
struct Asker {
    index: usize,
    target: Target,
    question: Arc<Question>,
    tries: Tries,
    pauses: Pauses,
}

/// One target's answer, by its index in the plan.
type Answer = (usize, Readiness);

impl Asker {
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

/// How long one try after the other may take.
struct Tries {
    next: Duration,
    /// The shortest: the first one ends before the wait's limit, so that it has its say.
    first: Duration,
    wait: Option<Duration>,
}

impl Tries {
    fn new(wait: Option<Duration>) -> Self {
        let first = wait.map_or(TRY_LIMIT, |limit| (limit / 10 * 9).min(TRY_LIMIT));
        Self {
            next: first,
            first,
            wait,
        }
    }

    /// For a try that begins this long into the wait: up to what is left of it.
    fn limit(&self, elapsed: Duration) -> Duration {
        let left = self
            .wait
            .map_or(LONGEST_TRY, |limit| limit.saturating_sub(elapsed));
        self.next.min(left).max(self.first)
    }

    /// After a try that was cut off the next may take twice as long: a slow service is not an absent one. A probe of
    /// several addresses gives each its share, so that one which took a quarter of the time may have been cut off.
    fn note(&mut self, limit: Duration, took: Duration) {
        self.next = if took >= limit / 4 {
            limit.saturating_mul(2)
        } else {
            self.first
        };
    }
}

/// The pauses between tries: each half as long again as the one before.
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    fn new(longest: Duration) -> Self {
        Self {
            next: FIRST_PAUSE.min(longest),
            longest,
        }
    }

    /// The pause after this answer.
    fn after(&mut self, answer: &Readiness) -> Duration {
        let pause = probe::jittered(self.next);
        self.next = (self.next * 3 / 2).min(self.longest);
        match answer {
            Readiness::Refused(_) => pause.max(GENTLE_PAUSE),
            Readiness::NotYet(reason) if names::is_unresolved(reason) => pause.max(GENTLE_PAUSE),
            Readiness::NotYet(_) | Readiness::Ready(_) => pause,
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
struct Vigil<'a> {
    watched: Vec<Watched<'a>>,
    started: Instant,
    limit: Option<Duration>,
    announced: bool,
    again: bool,
}

impl<'a> Vigil<'a> {
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
    fn keep(&mut self, answers: &Receiver<Answer>) -> Result<(), Failure> {
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
                format!("up to {}", words::duration(limit))
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
                "{target} is ready after {}", words::duration(elapsed)
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
        let elapsed = words::duration(elapsed);
        let limit = self.limit.map_or("no limit".to_owned(), words::duration);
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
        let limit = self.limit.map(words::duration).unwrap_or_default();
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
mod tests;
