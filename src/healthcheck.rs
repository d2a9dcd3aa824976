//! `portero healthcheck`: asks every target once, says how it went in one line, and exits 0 or 1.

mod progress;

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{STDERR_FILENO, STDOUT_FILENO};

use crate::cli::{Opt, Typed};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::net::deadline::Deadline;
use crate::net::readiness::Readiness;
use crate::plan::{self, ProbePlan};
use crate::probe::question::Question;
use crate::probe::target::Target;
use crate::redaction::without_secrets;
use crate::settings::Settings;
use crate::supervise::helper::Stops;
use crate::{probe, process, sys, variables, wording};

/// The longest line that is written, in bytes, its newline not counted. Docker keeps 4096 bytes of a probe's output,
/// and `docker ps` and dashboards show one line.
const LINE: usize = 198;

/// The longest name of a target in that line, in bytes: the reason must not fall off its end.
const NAME: usize = 90;

/// How much later than its deadline a check is suspected that is stuck where no deadline reaches: in reading a file.
const GRACE: Duration = Duration::from_millis(50);

/// How long a reader may take to make room for the line.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a thread that panicked comes to.
const CRASHED: &str = "a probe crashed";

/// The default of `--timeout`.
const LIMIT: Duration = Duration::from_millis(2500);

/// Ends the process 200 ms after `limit` since it `started`, or later where it had no processor then, whatever it is
/// doing; `None` is no limit.
///
/// # Errors
/// That no timer can be set: without one the check may hang.
fn end_at_the_latest(started: Instant, limit: Option<Duration>) -> Result<(), Failure> {
    let line = c"unhealthy: no answer in time: a file that is read may hang (--secret, --ca-cert, file://)\n";
    let limit = limit.map(|limit| limit.saturating_add(GRACE));
    // A timer of no time at all would be none.
    let least = Duration::from_millis(1);
    let left = limit.map(|limit| limit.saturating_sub(started.elapsed()).max(least));
    sys::alarm::exit_after(left, line, Exit::Unhealthy.code())
        .map_err(|error| Failure::failed(format!("no timer to end in time: {error}")))
}

/// From the command line to the answer. Within one limit from here on, whatever takes the time: a secret's file, the
/// user, the targets.
///
/// # Errors
/// Usage errors; the caller makes them 1.
pub fn begin(typed: &Typed) -> Result<Exit, Failure> {
    let inherited = Environment::inherited();
    let settings = Settings::new(typed, &inherited);
    process::start_logger(&settings)?;
    process::take_stops_by_handler(typed.mode, &plan::stops_of(&settings)?)?;
    let started = Instant::now();
    // What is wrong with the limit, or is known only when all is resolved, comes with the plan.
    let limit = settings.limit(Opt::Timeout);
    end_at_the_latest(started, limit.unwrap_or(Some(LIMIT)))?;
    let resolved = variables::needed::resolve(&settings, Stops::Handled)?;
    let settings = Settings::new(typed, &resolved.environment);
    let plan = ProbePlan::new(&settings)?;
    if settings.switch(Opt::DryRun)? {
        return Ok(process::print(&plan.describe()));
    }
    end_at_the_latest(started, plan.timeout)?;
    process::drop_privileges(&settings, Stops::Handled)?;
    Ok(run(&plan, started))
}

/// Probes once, within the plan's limit since it `started`. Healthy goes to stdout, unhealthy to stderr; that nobody
/// reads it changes nothing.
fn run(plan: &ProbePlan, started: Instant) -> Exit {
    let (asked, deadline) = (Instant::now(), Deadline::since(started, plan.timeout));
    let answers = match probe(plan, deadline) {
        Ok(answers) => answers,
        Err(why) => return unhealthy(&why),
    };
    match report(plan, &answers, asked.elapsed()) {
        Ok(text) => healthy(&text),
        // COMMAND can't answer before it is started: that explains more than what its port said.
        Err(text) => match progress::current() {
            Some(progress) if plan.live => healthy(&progress.to_string()),
            Some(progress) => unhealthy(&progress.to_string()),
            None => unhealthy(&text),
        },
    }
}

fn healthy(text: &str) -> Exit {
    write(sys::standard_stream(STDOUT_FILENO), &line("healthy", text));
    Exit::Success
}

/// Says `unhealthy: ` and why. Also what a plan that can't be made comes to: this command knows no other exit.
pub fn unhealthy(why: &str) -> Exit {
    write(sys::standard_stream(STDERR_FILENO), &line("unhealthy", why));
    Exit::Unhealthy
}

/// Asks all targets; in a thread of its own where a file is looked at: nothing but the end of its process frees one
/// that is stuck in a mount that is dead, and the handlers that end it then run in this thread.
fn probe(plan: &ProbePlan, deadline: Deadline) -> Result<Vec<Readiness>, String> {
    let looks_at_files =
        plan.verification.ca_cert.is_some() || plan.targets.iter().any(Target::looks_at_files);
    if !looks_at_files {
        return ask_all(plan, deadline);
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || ask_all(plan, deadline));
        let thread =
            thread.map_err(|error| format!("no thread to probe in: {}", wording::error(&error)))?;
        thread.join().unwrap_or_else(|_| Err(CRASHED.to_owned()))
    })
}

/// Asks all targets, side by side; a single one without a thread.
fn ask_all(plan: &ProbePlan, deadline: Deadline) -> Result<Vec<Readiness>, String> {
    plan.expectation
        .validate()
        .map_err(|failure| failure.message)?;
    let question = Question::of_healthcheck(plan.expectation.clone(), plan.verification.clone());
    for target in &plan.targets {
        question.check(target).map_err(|failure| failure.message)?;
    }
    match plan.targets.as_slice() {
        [] => Err("there is no target to probe".to_owned()),
        [target] => Ok(vec![probe::ask(target, &question, deadline)]),
        targets => thread::scope(|scope| {
            let ask = |target| {
                let question = &question;
                thread::Builder::new()
                    .spawn_scoped(scope, move || probe::ask(target, question, deadline))
                    .map_err(|error| {
                        format!("no thread to probe {target}: {}", wording::error(&error))
                    })
            };
            let threads: Vec<_> = targets.iter().map(ask).collect::<Result<_, _>>()?;
            let answer =
                |thread: thread::ScopedJoinHandle<_>| thread.join().map_err(|_| CRASHED.to_owned());
            threads.into_iter().map(answer).collect()
        }),
    }
}

/// The text behind `healthy: `, or as an error the text behind `unhealthy: `, which names only those that fail.
fn report(plan: &ProbePlan, answers: &[Readiness], elapsed: Duration) -> Result<String, String> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (target, answer) in plan.targets.iter().zip(answers) {
        let subject = subject(plan, target);
        match answer {
            Readiness::Ready(said) if said.is_empty() => good.push(subject),
            Readiness::Ready(said) => good.push(format!("{subject} {said}")),
            Readiness::NotYet(reason) | Readiness::Refused(reason) => {
                bad.push(format!("{subject}: {reason}"));
            }
        }
    }
    if bad.is_empty() {
        Ok(format!(
            "{} in {}",
            good.join(", "),
            wording::duration(elapsed)
        ))
    } else {
        Err(bad.join("; "))
    }
}

/// `GET 127.0.0.1:8000/health` of an HTTP target, where http is what nobody needs to be told; others by their name.
fn subject(plan: &ProbePlan, target: &Target) -> String {
    let name = target.to_string();
    // Before it is cut: half a secret is one still.
    let name = without_secrets(&name);
    if target.is_http() {
        let name = name.strip_prefix("http://").unwrap_or(&name);
        return wording::shortened(&format!("{} {name}", plan.expectation.method), NAME);
    }
    wording::shortened(&name, NAME)
}

fn line(verdict: &str, text: &str) -> String {
    let text = wording::printable(&format!("{verdict}: {}", without_secrets(text)));
    if text.len() <= LINE {
        return text + "\n";
    }
    // It is the middle that can be missed: whose it is stands before it, a code and what to do behind it.
    let head = wording::shortened(&text, NAME);
    let mut tail = text.len() - (LINE - head.len());
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{head}{}\n", &text[tail..])
}

/// That its reader has gone, that the disk or the pipe is full, is no reason for another exit code, and none to wait
/// for long.
fn write(stream: BorrowedFd<'_>, line: &str) {
    sys::write_within(stream, line.as_bytes(), PATIENCE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_less_than_200_bytes() {
        for text in ["short", &"ä\n".repeat(400)] {
            let line = line("unhealthy", text);
            assert!(line.len() < 200, "{}", line.len());
            assert!(
                line.starts_with("unhealthy: ")
                    && line.ends_with('\n')
                    && line.lines().count() == 1,
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_line_that_is_too_long_lacks_its_middle() {
        for filling in ["x", "é", "€"] {
            let text = format!("db: {} (28000); what to do", filling.repeat(300));
            let line = line("unhealthy", &text);
            let whole =
                line.starts_with("unhealthy: db: ") && line.ends_with(" (28000); what to do\n");
            assert!(whole && (190..200).contains(&line.len()), "{line}");
        }
    }
}
