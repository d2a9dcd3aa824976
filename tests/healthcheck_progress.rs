//! While portero itself is still waiting or migrating, the health check says so, whoever runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::path::Path;

use common::cgroup::ControlGroup;
use common::server::unused_port;
use common::{DEADLINE, Finished, Run, TempDir, Terminal, portero, process, tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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
    container.exits(143);
}

#[test]
fn a_command_that_calls_itself_an_init_of_porteros_makes_nobody_live() {
    let line = format!(
        "printf portero-migrate > /proc/$$/comm; set -m; \
         PORTERO_NO_LOCK=1 PORTERO_MIGRATE='sleep 1000' bash -c 'exec -a portero {} migrate' & \
         echo started; wait",
        portero().display()
    );
    let mut container = Run::as_pid1().args(["--", "bash", "-c", &line]).start();
    container.until_stderr("migration 1 of 1: sleep");
    healthcheck_beside(container.pid(), 0, &["--live"])
        .assert_exit(1)
        .assert_stderr_contains("connection refused");
}

#[test]
fn an_orphan_that_calls_itself_a_stage_of_porteros_makes_nobody_live() {
    let directory = TempDir::new();
    for name in ["portero", "exe"] {
        let link = directory.join(name);
        std::os::unix::fs::symlink(portero(), &link).unwrap();
        let orphan = format!(
            "PORTERO_NO_LOCK=1 PORTERO_MIGRATE='sleep 1000' exec -a portero {} migrate",
            link.display()
        );
        let line = format!("(setsid bash -c \"{orphan}\" &); echo started; exec sleep 1000");
        let mut container = Run::as_pid1().args(["--", "bash", "-c", &line]).start();
        container.until_stdout("started");
        container.until_stderr("migration 1 of 1: sleep");
        healthcheck_beside(container.pid(), 0, &["--live"])
            .assert_exit(1)
            .assert_stderr_contains("connection refused");
    }
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

/// A container that waits, in the PID namespace of `pause` or the host's, with a mount namespace and a control group of
/// its own. Returns the pid of its portero, too.
fn neighbour(pause: Option<i32>, group: &ControlGroup, missing: &Path) -> (common::Process, i32) {
    let pause = pause.map(|pid| pid.to_string());
    let unshare = tool("unshare").display().to_string();
    let enter = match &pause {
        Some(pid) => vec![
            tool("nsenter").display().to_string(),
            "--target".into(),
            pid.clone(),
            "--pid".into(),
            "--mount".into(),
        ],
        None => vec!["env".into()],
    };
    let mut process = Run::portero()
        .via(group.enter())
        .via(enter)
        .via([&unshare, "--mount"])
        .arg("--wait")
        .arg(format!("file://{}", missing.display()))
        // Or its stage would end with it, of which something is to be left.
        .args(["--map-signal", "TERM=", "--", "true"])
        .start();
    process.until_stderr("waiting for");
    let pid = match pause {
        // nsenter stays outside, above it.
        Some(_) => process::children(process.pid())[0],
        None => process.pid(),
    };
    (process, pid)
}

/// A health check as a runtime starts it in the container of `pid`.
fn checked(group: &ControlGroup, pid: i32, uid: u32) -> Finished {
    let (user, gid) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    let pid = pid.to_string();
    Run::portero()
        .via(group.enter())
        .via([
            tool("nsenter").to_str().unwrap(),
            "--target",
            &pid,
            "--pid",
            "--mount",
        ])
        .via([
            tool("setpriv").to_str().unwrap(),
            &user,
            &gid,
            "--clear-groups",
        ])
        .args(["healthcheck", "--live"])
        .env("PORT", unused_port().to_string())
        .finish()
}

#[test]
fn in_a_shared_pid_namespace_only_the_containers_own_portero_counts() {
    let directory = TempDir::new();
    let missing = directory.join("missing");
    let (one, other) = (ControlGroup::new("freezer"), ControlGroup::new("freezer"));
    let pause = Run::program("sleep").arg("1000").pid1().start();
    for shared in [Some(pause.pid()), None] {
        let (waiting, init) = neighbour(shared, &one, &missing);
        let started = directory.join("started");
        // Its neighbour has started its COMMAND.
        let (ready, command) = neighbour(shared, &other, &started);
        std::fs::write(&started, "").unwrap();
        ready.exits(0);
        assert!(command != init);
        let beside = Run::program("sleep").arg("1000");
        let beside = beside
            .via(other.enter())
            .via([tool("unshare").to_str().unwrap(), "--mount"])
            .start();
        let beside_pid = beside.pid();
        for uid in [0, 1000] {
            let own = checked(&one, init, uid);
            own.assert_exit(0)
                .assert_stdout_contains("portero is still waiting");
            let target = shared.unwrap_or(beside_pid);
            let foreign = checked(&other, target, uid);
            foreign
                .assert_exit(1)
                .assert_stderr_contains("connection refused");
        }
        // What is left of a wait whose init was killed is nobody's.
        let stage = process::children(init)[0];
        kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
        let status = || std::fs::read_to_string(format!("/proc/{stage}/status")).unwrap();
        let is_init = |parent: String| parent.trim() == init.to_string();
        let orphaned = || !is_init(process::field(&status(), "PPid").unwrap());
        common::poll_until(DEADLINE, || orphaned().then_some(())).unwrap();
        for uid in [0, 1000] {
            let left = checked(&one, stage, uid);
            left.assert_exit(1)
                .assert_stderr_contains("connection refused");
        }
        kill(Pid::from_raw(stage), Signal::SIGKILL).unwrap();
        waiting.wait();
        std::fs::remove_file(&started).unwrap();
    }
}
