//! While portero itself is still waiting or migrating, the health check says so, whoever runs it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::type_complexity,
    missing_docs
)]

mod common;

use common::server::unused_port;
use common::{DEADLINE, Finished, Run, TempDir, Terminal, portero, process, tool};
use nix::sys::signal::Signal;

/// A health check of a port that refuses, run in the namespace as `docker exec` would, by this user.
fn healthcheck_beside(container: i32, uid: u32, options: &[&str]) -> Finished {
    let pid = container.to_string();
    let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    Run::program(tool("nsenter"))
        .args(["--target", &pid, "--pid", "--mount", "--"])
        .arg(tool("setpriv"))
        .args([&user, &group, "--clear-groups", "--"])
        .arg(portero())
        .arg("healthcheck")
        .args(options)
        .env("PORT", unused_port().to_string())
        .finish()
}

/// Its line without what is different every time.
#[track_caller]
fn without_age(line: &str) -> &str {
    let (said, age) = line
        .split_once(" (")
        .unwrap_or_else(|| panic!("no age: {line:?}"));
    let shown = age.ends_with("s)\n") && age.starts_with(|c: char| c.is_ascii_digit());
    assert!(shown, "no age: {line:?}");
    said
}

#[track_caller]
fn assert_busy(container: i32, doing: &str) {
    for uid in [0, 1000] {
        let ready = healthcheck_beside(container, uid, &[]);
        ready.assert_exit(1).assert_stdout("");
        let said = without_age(&ready.stderr);
        assert_eq!(said, format!("unhealthy: portero is still {doing}"));
        let live = healthcheck_beside(container, uid, &["--live"]);
        live.assert_exit(0).assert_stderr("");
        let said = without_age(&live.stdout);
        assert_eq!(said, format!("healthy: portero is still {doing}"));
    }
}

#[test]
fn a_wait_and_a_migration_are_told_and_live_makes_them_healthy() {
    let directory = TempDir::new();
    let (ready, go) = (directory.join("ready"), directory.join("go"));
    // Reading from it waits for somebody who writes.
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let migration = format!("sh -c 'echo migrating; cat {}'", go.display());

    // PID 1 that dropped to another user, PID 1 as root, and the child of another init.
    let container = || {
        Run::portero()
            .env("PORTERO_WAIT", format!("file://{}", ready.display()))
            .env("PORTERO_MIGRATE", &migration)
            .env("PORTERO_NO_LOCK", "1")
            .args(["--", "sh", "-c", "echo started; exec sleep 1000"])
            .pid1()
    };
    let containers = [
        container().env("PORTERO_USER", "1234:1234"),
        container(),
        container().via([tool("tini-static").to_str().unwrap(), "--"]),
    ];
    for run in containers {
        let mut container = run.start();
        container.until_stderr("waiting for");
        assert_busy(container.pid(), "waiting");
        std::fs::write(&ready, "").unwrap();
        container.until_stdout("migrating");
        assert_busy(container.pid(), "migrating");
        std::fs::write(&go, "").unwrap();
        container.until_stdout("started");
        for options in [&[][..], &["--live"]] {
            healthcheck_beside(container.pid(), 1000, options)
                .assert_exit(1)
                .assert_stderr_contains("connection refused");
        }
        std::fs::remove_file(&ready).unwrap();
    }
}

#[test]
fn a_wait_on_a_terminal_is_told_too() {
    let directory = TempDir::new();
    let missing = format!("file://{}", directory.join("missing").display());
    let run = Run::as_pid1().args(["--wait", &missing, "--", "true"]);
    let mut terminal = Terminal::start(run);
    terminal.expect("waiting for", DEADLINE);
    assert_busy(terminal.pid(), "waiting");
}

#[test]
fn a_target_that_answers_is_healthy_whatever_portero_does() {
    let directory = TempDir::new();
    let missing = format!("file://{}", directory.join("missing").display());
    let mut container = Run::as_pid1()
        .args(["--wait", &missing, "--", "true"])
        .start();
    container.until_stderr("waiting for");
    let answers = format!("file://{}", directory.file("there", "").display());
    healthcheck_beside(container.pid(), 0, &[&answers])
        .assert_exit(0)
        .assert_stdout_contains(&format!("healthy: {answers}"));
    container.signal(Signal::SIGTERM);
    container.wait().assert_exit(143);
}

#[test]
fn what_docker_exec_runs_beside_command_is_not_porteros_own_wait() {
    let directory = TempDir::new();
    let missing = format!("file://{}", directory.join("missing").display());
    let mut container = Run::as_pid1()
        .args(["--", "sh", "-c", "echo started; exec sleep 1000"])
        .start();
    container.until_stdout("started");
    let pid = container.pid().to_string();
    let mut nested = Run::program(tool("nsenter"))
        .args(["--target", &pid, "--pid", "--mount", "--"])
        .arg(portero())
        .args(["--wait", &missing, "--", "true"])
        .start();
    nested.until_stderr("waiting for");
    healthcheck_beside(container.pid(), 0, &["--live"])
        .assert_exit(1)
        .assert_stderr_contains("connection refused");
    let inside = process::children(nested.pid());
    assert!(!inside.is_empty(), "nothing was nested{nested}");
}
