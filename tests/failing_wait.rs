//! `wait(2)` that fails: COMMAND's end must be heard of all the same, or its loss be said.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use common::{Run, tool};

fn injected(fault: &str, options: &[&str], script: &str) -> Run {
    let strace = tool("strace");
    Run::portero()
        .via([
            strace.to_str().unwrap(),
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=wait4",
            "-e",
            &format!("inject=wait4:{fault}"),
        ])
        .args(options)
        .args(["--", "sh", "-c", script])
}

#[test]
fn a_wait_that_fails_once_is_no_hang_and_loses_no_status() {
    for error in ["EINTR", "ECHILD", "EPERM", "ENOMEM", "EAGAIN"] {
        for when in 1..=3 {
            injected(
                &format!("error={error}:when={when}"),
                &[],
                "true & true; exit 7",
            )
            .exits(7)
            .assert_stderr("");
        }
    }
}

#[test]
fn a_status_that_nobody_will_tell_is_125_and_a_line() {
    for error in ["ECHILD", "EPERM"] {
        injected(
            &format!("error={error}:when=1+"),
            &["--orphan-grace", "1s"],
            "exit 7",
        )
        .refused()
        .assert_stderr_contains("nobody knows how");
    }
}
