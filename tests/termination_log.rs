//! Kubernetes' termination log: why a run ended, where `kubectl describe pod` shows it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Finished, Run, TempDir};

/// Runs it with a /dev as a container has it, and returns what is in the termination log afterwards. The kubelet makes
/// that file, writable by all, and mounts it.
fn logged(run: Run) -> (Finished, String) {
    let directory = TempDir::new();
    let log = directory.file("log", "");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
    let dev = directory.join("dev");
    fs::create_dir(&dev).unwrap();
    let script = format!(
        "mount -t tmpfs none {dev}; touch {dev}/null {dev}/termination-log; mount --bind /dev/null {dev}/null; \
         mount --bind {log} {dev}/termination-log; mount --rbind {dev} /dev",
        dev = dev.display(),
        log = log.display()
    );
    let finished = run.mounts(&script).finish();
    (finished, fs::read_to_string(&log).unwrap())
}

#[test]
fn the_line_that_says_why_a_run_ended_is_in_the_termination_log_too() {
    let table: [(&[&str], i32, &str); 7] = [
        (&["--nope", "true"], 125, "--nope"),
        (&["--user", "nosuchuser", "--", "true"], 125, "nosuchuser"),
        (&["--", "/no/such/program"], 127, "not found"),
        (&["--", "/etc/passwd"], 126, "x bit"),
        // By a stage, and after the drop.
        (
            &[
                "--user",
                "1234:2345",
                "--wait",
                "file:///no/such/file",
                "--wait-timeout",
                "100ms",
                "--",
                "true",
            ],
            124,
            "file:///no/such/file",
        ),
        (
            &["--no-lock", "--migrate", "/no/such/migration", "--", "true"],
            127,
            "/no/such/migration",
        ),
        (
            &["wait", "--wait-timeout", "100ms", "file:///no/such/file"],
            124,
            "/no/such/file",
        ),
    ];
    for (arguments, code, said) in table {
        let (finished, log) = logged(Run::as_pid1().args(arguments));
        finished.assert_exit(code);
        let last = finished.stderr.lines().last().unwrap_or_default();
        assert_eq!(log, format!("{last}\n"), "{finished}");
        assert!(
            log.starts_with("portero: ") && log.contains(said),
            "{log}{finished}"
        );
    }
}

#[test]
fn it_is_the_applications_own_when_command_ran() {
    let (finished, log) = logged(Run::as_pid1().args(["--", "sh", "-c", "exit 7"]));
    finished.assert_exit(7).assert_stderr("");
    assert_eq!(log, "");
    let script = "echo mine > /dev/termination-log; exit 7";
    let run = Run::as_pid1().args(["--user", "1234:2345", "--", "sh", "-c", script]);
    let (finished, log) = logged(run);
    finished.assert_exit(7).assert_stderr("");
    assert_eq!(log, "mine\n");

    // What it wrote stays before what portero says.
    let migration = "sh -c 'echo mine > /dev/termination-log; exit 7'";
    let run = Run::as_pid1().args(["--no-lock", "--migrate", migration, "--", "true"]);
    let (finished, log) = logged(run);
    finished.assert_exit(7);
    let (mine, last) = log.split_once('\n').unwrap_or_default();
    assert!(
        mine == "mine" && last == "portero: migration 1 of 1, sh, failed: exit code 7\n",
        "{log}"
    );
}

#[test]
fn it_holds_at_most_4096_bytes_no_secret_and_plain_text_whatever_the_log_format() {
    // Names are cut; what the user has to say is not.
    let long = format!("${{UNSET:?{}}}", "x".repeat(6000));
    let (finished, log) = logged(Run::as_pid1().args(["--expand-args", "--", "echo", &long]));
    finished.assert_exit(125);
    assert_eq!(log.len(), 4096, "{finished}");
    assert!(finished.stderr.len() > 6000, "{finished}");

    let run = Run::as_pid1()
        .env("TOKEN", "hunter2")
        .line("--secret TOKEN --log-format json -- /no/such/${TOKEN} --expand-args");
    let (finished, log) = logged(run.env("PORTERO_EXPAND_ARGS", "1"));
    finished.assert_exit(127).assert_never_says("hunter2");
    assert_eq!(log, "portero: /no/such/***: not found\n", "{finished}");
}

#[test]
fn what_is_no_file_there_is_left_alone_and_holds_up_nobody() {
    for make in ["mkfifo", "mkdir", "ln -s /dev/full"] {
        let directory = TempDir::new();
        let dev = directory.path().display();
        let script = format!(
            "touch {dev}/null; mount --bind /dev/null {dev}/null; mknod {dev}/full c 1 7; \
             {make} {dev}/termination-log; mount --rbind {dev} /dev"
        );
        Run::as_pid1()
            .args(["--", "/no/such/program"])
            .mounts(&script)
            .exits(127)
            .assert_one_error_line();
    }
}

#[test]
fn where_there_is_no_termination_log_none_is_made() {
    let directory = TempDir::new();
    fs::write(directory.join("null"), "").unwrap();
    let script = format!(
        "mount --bind /dev/null {0}/null; mount --rbind {0} /dev",
        directory.path().display()
    );
    Run::portero().arg("--nope").mounts(&script).refused();
    assert!(!directory.join("termination-log").exists());
}
