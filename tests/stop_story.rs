//! What `-v` tells of a stop, in order and with times, as text and as members of JSON.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use common::{Finished, Process, Run};
use nix::sys::signal::Signal;

/// COMMAND leaves two behind when it is told to end: one that ends when it is told, one that does not.
const SCRIPT: &str = r#"(setsid sh -c 'trap "exit 0" TERM; while :; do sleep 0.02; done' &)
(setsid sh -c 'trap "" TERM; echo ready; while :; do sleep 0.02; done' &)
trap 'exit 3' TERM; while :; do sleep 0.02; done"#;

fn stopped(options: &[&str]) -> Finished {
    let run = Run::as_pid1().args(options);
    let run = run.args(["--stop-delay", "50ms", "--stop-timeout", "700ms"]);
    let mut process: Process = run.args(["--", "sh", "-c", SCRIPT]).start();
    process.until_stdout("ready\n");
    process.signal(Signal::SIGTERM);
    process.exits(3)
}

#[track_caller]
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        rest = rest
            .split_once(part)
            .unwrap_or_else(|| panic!("{part:?} is not there, or too early:\n{text}"))
            .1;
    }
}

#[test]
fn a_stop_tells_its_story_with_times() {
    let finished = stopped(&["-v"]);
    assert_in_order(
        &finished.stderr,
        &[
            "portero: received SIGTERM (0.0",
            "portero: SIGTERM waits for the stop delay of 0.05s (",
            "portero: SIGTERM sent to sh (pid 2) (",
            "s after the stop)\n",
            "portero: pid 2 has ended with 3 (",
            "portero: SIGTERM sent to sh (pid ",
            "portero: pid ",
            " has ended\n",
            "portero: warning: left when COMMAND had ended, and not ended within the stop timeout of 0.7s: killed sh (pid ",
            "portero: nothing is left (",
        ],
    );
}

#[test]
fn in_json_signal_pid_code_and_time_are_members() {
    let finished = stopped(&["-v", "--log-format", "json"]);
    assert_in_order(
        &finished.stderr,
        &[
            r#""message":"received SIGTERM (0.0"#,
            r#","signal":"SIGTERM","elapsed_ms":"#,
            r#""message":"SIGTERM sent to sh (pid 2) ("#,
            r#","signal":"SIGTERM","elapsed_ms":"#,
            r#""message":"pid 2 has ended with 3 ("#,
            r#","pid":2,"code":3,"elapsed_ms":"#,
            r#""message":"nothing is left ("#,
            r#","elapsed_ms":"#,
        ],
    );
}

#[test]
fn without_v_a_stop_says_no_more_than_what_it_killed() {
    let finished = stopped(&[]);
    finished
        .assert_one_error_line()
        .assert_stderr_contains("not ended within the stop timeout");
}
