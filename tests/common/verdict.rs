//! What the health check says of a server: the verdict, within its limit, in one line that says why.

use std::time::{Duration, Instant};

use super::{DEADLINE, Finished, Run};

/// The limit of the checks that are to reach it, and of none else.
const LIMIT: &str = "1s";

/// What the line has to say, and whether that is at once or at the limit.
#[derive(Clone, Copy)]
pub enum Verdict {
    Healthy(&'static str),
    Unhealthy(&'static str),
    UnhealthyAtTheLimit(&'static str),
}

pub use Verdict::{Healthy, Unhealthy, UnhealthyAtTheLimit};

#[track_caller]
pub fn assert_verdict(what: &str, verdict: Verdict, arguments: &[&str]) {
    let limit = match verdict {
        UnhealthyAtTheLimit(_) => LIMIT,
        _ => "60s",
    };
    let start = Instant::now();
    let finished = Run::portero()
        .args(["healthcheck", "--timeout", limit])
        .args(arguments)
        .finish();
    let took = start.elapsed();
    assert_said(what, verdict, &finished);
    let at_limit = matches!(verdict, UnhealthyAtTheLimit(_));
    let least = Duration::from_millis(if at_limit { 900 } else { 0 });
    assert!(
        took >= least && took < DEADLINE,
        "{what}: took {took:?}{finished}"
    );
}

#[track_caller]
pub fn assert_said(what: &str, verdict: Verdict, finished: &Finished) {
    let (code, prefix, text, line, other) = match verdict {
        Healthy(text) => (0, "healthy: ", text, &finished.stdout, &finished.stderr),
        Unhealthy(text) | UnhealthyAtTheLimit(text) => {
            (1, "unhealthy: ", text, &finished.stderr, &finished.stdout)
        }
    };
    finished.assert_exit(code);
    let one = line.ends_with('\n') && line.lines().count() == 1 && line.len() <= 200;
    assert!(one && other.is_empty(), "{what}: not one line{finished}");
    assert!(
        line.starts_with(prefix) && line.contains(text),
        "{what}: not {prefix:?} with {text:?}{finished}"
    );
}
