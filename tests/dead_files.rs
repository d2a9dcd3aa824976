//! Files that never answer: on a mount that is dead, a FIFO, a device. Nothing before COMMAND outlasts a stop by them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use common::fuse::dead_mount;
use common::{Run, Server, TempDir, poll_until, process};
use nix::sys::signal::Signal;

/// Far below what a hang would be, and far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(20);

fn waits_in_fuse(pid: i32) -> bool {
    let waits = |pid: i32| {
        let stack = fs::read_to_string(format!("/proc/{pid}/stack")).unwrap_or_default();
        stack.contains("fuse_")
    };
    waits(pid) || process::children(pid).into_iter().any(waits)
}

#[test]
fn a_stop_ends_what_waits_for_a_dead_mount_at_once() {
    let directory = TempDir::new();
    let point = directory.join("mount").display().to_string();
    let secret = format!("{point}/token");
    let table: [&[&str]; 5] = [
        &["--secret", "TOKEN", "--", "true"],
        &["--secret", "TOKEN", "--dry-run", "--", "true"],
        &["wait", "--secret", "TOKEN", "file:///etc/passwd"],
        &["migrate", "--secret", "TOKEN", "--no-lock", "--", "true"],
        &[
            "--user",
            "1234:2345",
            "--chown",
            &format!("{point}/data"),
            "--",
            "true",
        ],
    ];
    for arguments in table {
        for run in [Run::as_pid1(), Run::portero()] {
            let has_secret = arguments.contains(&"--secret");
            let run = if has_secret {
                run.env("TOKEN_FILE", &secret)
            } else {
                run
            };
            let mut container = dead_mount(run, &point).args(arguments).start();
            container.until(
                |process| waits_in_fuse(process.pid()),
                "a look at the mount",
            );
            let started = Instant::now();
            container.signal(Signal::SIGTERM);
            let finished = container.wait();
            finished.assert_exit(143);
            assert!(
                started.elapsed() < SOON,
                "{:?}{finished}",
                started.elapsed()
            );
        }
    }
}

#[test]
fn a_health_check_ends_at_its_one_limit() {
    let directory = TempDir::new();
    let point = directory.join("mount").display().to_string();
    let check = |limit: &str| {
        dead_mount(Run::portero(), &point)
            .env("TOKEN_FILE", format!("{point}/token"))
            .args(["healthcheck", "--secret", "TOKEN", "--timeout", limit])
            .args(["--header", "Authorization: ${TOKEN}", "127.0.0.1:1"])
    };
    let started = Instant::now();
    check("500ms")
        .exits(1)
        .assert_stderr_contains("no answer in time");
    let elapsed = started.elapsed();
    assert!(
        elapsed > Duration::from_millis(500) && elapsed < SOON,
        "{elapsed:?}"
    );

    let mut process = check("none").start();
    process.until(
        |process| waits_in_fuse(process.pid()),
        "a look at the mount",
    );
    process.signal(Signal::SIGTERM);
    process.exits(1);
}

/// The time that a secret takes is a part of the limit, not one that comes before it.
#[test]
fn a_health_check_has_one_limit_for_all_that_it_does() {
    let directory = TempDir::new();
    let token = directory.file("token", "x");
    // Slow to answer, within its own time.
    let server = Server::silent();
    let started = Instant::now();
    let limit = Duration::from_secs(5);
    // A traced open takes four of the five seconds.
    Run::program("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-P"])
        .arg(&token)
        .args(["-e", "inject=all:delay_enter=4000000:when=1"])
        .arg(common::portero())
        .line("healthcheck --secret TOKEN --timeout 5s --header 'A: ${TOKEN}'")
        .arg(format!("http://{}/", server.address()))
        .env("TOKEN_FILE", &token)
        .exits(1);
    let elapsed = started.elapsed();
    assert!(elapsed >= limit, "{elapsed:?}");
    assert!(elapsed < limit + Duration::from_secs(4), "{elapsed:?}");
}

#[test]
fn what_is_no_regular_file_is_no_secret() {
    let directory = TempDir::new();
    let fifo = directory.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let large = directory.file("large", &"x".repeat((1 << 20) + 1));
    let files = [
        fifo,
        "/dev/zero".into(),
        "/dev/tty".into(),
        directory.path().into(),
        large,
        directory.join("missing"),
    ];
    let table: [(&[&str], i32); 4] = [
        (&["--secret", "TOKEN", "--", "true"], 125),
        (&["wait", "--secret", "TOKEN", "file:///etc/passwd"], 125),
        (
            &["migrate", "--secret", "TOKEN", "--no-lock", "--", "true"],
            125,
        ),
        (&["healthcheck", "--secret", "TOKEN", "TOKEN"], 1),
    ];
    thread::scope(|scope| {
        for file in &files {
            scope.spawn(move || {
                for (arguments, code) in table {
                    Run::portero()
                        .env("TOKEN_FILE", file)
                        .args(arguments)
                        .exits(code)
                        .assert_stdout("")
                        .assert_stderr_contains("TOKEN");
                }
            });
        }
    });
}

#[test]
fn passwd_and_group_are_regular_files_or_an_error() {
    for file in ["/etc/passwd", "/etc/group"] {
        for make in ["mkfifo", "ln -s /dev/zero", "mkdir"] {
            let directory = TempDir::new();
            let place = directory.path().display();
            let script = format!(
                "cp /etc/passwd /etc/group {place}; rm -f {place}/{name}; {make} {place}/{name}; \
                 mount --bind {place} /etc",
                name = file.trim_start_matches("/etc/")
            );
            Run::as_pid1()
                .args(["--user", "nobody", "--", "true"])
                .mounts(&script)
                .refused()
                .assert_stderr_contains(file);
        }
    }
}

#[test]
fn a_helper_that_is_killed_is_an_error_and_not_a_hang() {
    let directory = TempDir::new();
    let point = directory.join("mount").display().to_string();
    let mut container = dead_mount(Run::as_pid1(), &point)
        .env("TOKEN_FILE", format!("{point}/token"))
        .args(["--secret", "TOKEN", "--", "true"])
        .start();
    container.until(
        |process| waits_in_fuse(process.pid()),
        "a look at the mount",
    );
    let helper = poll_until(SOON, || process::children(container.pid()).first().copied());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(helper.unwrap()), Signal::SIGKILL).unwrap();
    container.exits(125).assert_stderr_contains("helper");
}

/// `nohup` and some launchers start their children so.
#[test]
fn an_inherited_ignored_sigchld_loses_no_helper() {
    let directory = TempDir::new();
    let token = directory.file("token", "hush-hush");
    let finished = Run::as_pid1()
        .via(["env", "--ignore-signal=CHLD"])
        .env("TOKEN_FILE", &token)
        .line("--secret TOKEN -- cat /proc/self/environ /proc/self/status")
        .finish();
    finished.assert_exit(0).assert_stdout_contains("hush-hush");
    let ignored = process::field(&finished.stdout, "SigIgn").unwrap();
    let ignored = u64::from_str_radix(&ignored, 16).unwrap();
    assert_ne!(ignored & 1 << (libc::SIGCHLD - 1), 0, "{finished}");
}

#[test]
fn what_no_target_uses_fails_no_health_check() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let url = format!("http://{}/", server.address());
    let check = || {
        Run::portero()
            .env("PORTERO_SECRET", "TOKEN OTHER")
            .env("TOKEN_FILE", "/no/such/file")
            .env("OTHER", "1")
            .env("OTHER_FILE", "/etc/passwd")
            .env(
                "PORTERO_DEFAULT",
                "A=${UNSET}\nWORD=x${A_WORD}\nHEADER=${WORD}\nnonsense",
            )
            .env("PORTERO_DEFAULT_PORT", "8000")
            .env("PORT", "nonsense")
            .env("PORTERO_CHOWN", "/no/such")
            .arg("healthcheck")
            .arg(&url)
    };
    check().exits(0);
    // What is used is resolved, by way of defaults too.
    for header in ["X: ${TOKEN}", "X: ${OTHER}", "X: ${A}", "X: ${HEADER}"] {
        check().args(["--header", header]).exits(1);
    }
    let header = ["--header", "X: ${HEADER}"];
    check().env("A_WORD", "y").args(header).exits(0);
    // What a Postgres URL leaves out comes from PG… variables.
    check()
        .env("PORTERO_SECRET", "PGPASSWORD")
        .env("PGPASSWORD_FILE", "/no/such/file")
        .args(["postgres://u@127.0.0.1:1/d"])
        .exits(1)
        .assert_stderr_contains("PGPASSWORD");
}
