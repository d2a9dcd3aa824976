//! What portero does when the machine has nothing left for it: descriptors, processes, memory, disk, /proc, /dev. It
//! ends in time, by a code of the table and with a line, and COMMAND never runs as anybody else than asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use common::{Ended, Finished, Postgres, Run, TempDir, portero_release};

/// Who COMMAND says that it is.
const UID: &str = "1234";

/// Each way to start: what it is called, its arguments, and whether it drops root.
const WAYS: [(&str, &[&str]); 6] = [
    ("run", &["--", "id", "-u"]),
    ("run as a user", &["--user", "1234:2345", "--", "id", "-u"]),
    (
        "run with both stages",
        &[
            "--user",
            "1234:2345",
            "--wait",
            "file:///etc/passwd",
            "--no-lock",
            "--migrate",
            "true",
            "--",
            "id",
            "-u",
        ],
    ),
    (
        "wait",
        &["wait", "--wait-timeout", "2s", "file:///etc/passwd"],
    ),
    ("migrate", &["migrate", "--no-lock", "--", "true"]),
    (
        "healthcheck",
        &["healthcheck", "--timeout", "2s", "file:///etc/passwd"],
    ),
];

/// Runs `way` behind a shell script that takes something away. The release binary: the other one alone is some 20 MB.
fn starved(way: &[&str], script: &str) -> Finished {
    let script = format!("{script}; exec \"$@\"");
    Run::program(portero_release())
        .args(way)
        .via(["/bin/bash", "-c", &script, "bash"])
        .finish()
}

/// Whether it ended as it may. `silent`: nobody can be told where there is no room for a line.
fn check(name: &str, way: &[&str], limit: &str, finished: &Finished, silent: bool) {
    let Ended::Code(code) = finished.ended else {
        panic!("{name}, {limit}: no code{finished}");
    };
    let is_check = way[0] == "healthcheck";
    let allowed: &[i32] = if is_check {
        &[0, 1]
    } else {
        &[0, 124, 125, 126, 127]
    };
    assert!(allowed.contains(&code), "{name}, {limit}{finished}");
    let uid = finished.stdout.trim();
    let wanted = if way.contains(&"--user") { UID } else { "0" };
    assert!(
        is_check || uid.is_empty() || uid == wanted,
        "{name}, {limit}: as uid {uid}{finished}"
    );
    if code != 0 && !silent {
        assert!(
            !finished.stderr.trim().is_empty(),
            "{name}, {limit}: without a line{finished}"
        );
    }
}

fn check_all(limits: impl IntoIterator<Item = String>) {
    for limit in limits {
        for (name, way) in WAYS {
            check(name, way, &limit, &starved(way, &limit), false);
        }
    }
}

#[test]
fn without_descriptors_it_ends_with_a_line() {
    check_all([3, 4, 5, 6, 8, 12].map(|limit| format!("ulimit -n {limit}")));
}

#[test]
fn with_few_descriptors_a_database_is_asked_or_the_limit_is_named() {
    let (_server, url) = Postgres::with_database();
    for limit in [6, 8, 10, 12, 16, 20] {
        let limit = format!("ulimit -n {limit}");
        for way in [
            ["wait", "--wait-timeout", "2s", &url].as_slice(),
            &["healthcheck", "--timeout", "2s", &url],
            &[
                "migrate",
                "--lock-timeout",
                "2s",
                "--wait-timeout",
                "2s",
                "--database",
                &url,
                "--",
                "true",
            ],
        ] {
            let finished = starved(way, &limit);
            check(way[0], way, &limit, &finished, false);
            if finished.ended == Ended::Code(0) {
                continue;
            }
            assert!(
                !limit.ends_with("16") && !limit.ends_with("20"),
                "{limit}{finished}"
            );
            finished.assert_stderr_contains("(EMFILE)");
        }
    }
}

#[test]
fn without_a_thread_to_look_a_name_up_in_a_database_is_not_ready_yet() {
    let url = "postgres://user@localhost:1/db";
    let drop = [
        "setpriv",
        "--reuid",
        "54321",
        "--regid",
        "54321",
        "--clear-groups",
    ];
    for (way, code) in [
        (["wait", "--wait-timeout", "1s", url], 124),
        (["healthcheck", "--timeout", "1s", url], 1),
    ] {
        let finished = Run::program(portero_release())
            .args(way)
            .via(drop)
            .via(["/bin/bash", "-c", "ulimit -u 2; exec \"$@\"", "bash"])
            .finish();
        finished
            .assert_exit(code)
            .assert_stderr_contains("can't resolve localhost: no thread to ask in: ")
            .assert_stderr_contains("(EAGAIN)");
    }
}

#[test]
fn without_memory_it_ends_with_a_line() {
    // kB; below, the kernel itself can't start the program.
    for limit in [3_200, 4_000, 5_000, 6_000, 10_000] {
        let limit = format!("ulimit -v {limit}");
        for (name, way) in WAYS {
            let finished = starved(way, &limit);
            // COMMAND has no more memory than portero: how it fails is its own affair.
            let has_command = !matches!(way[0], "wait" | "healthcheck");
            if !has_command || !matches!(finished.ended, Ended::Code(127 | 134 | 137 | 139)) {
                check(name, way, &limit, &finished, false);
            }
        }
    }
}

#[test]
fn without_processes_it_ends_with_a_line() {
    // The limit is not root's: it counts once the user is another one.
    let drop = [
        "setpriv",
        "--reuid",
        "4321",
        "--regid",
        "4321",
        "--clear-groups",
    ];
    for (name, way) in WAYS {
        let run = Run::portero().args(way);
        let run = if way.contains(&"--user") {
            run
        } else {
            run.via(drop)
        };
        let finished = run
            .via(["/bin/bash", "-c", "ulimit -u 1; exec \"$@\"", "bash"])
            .finish();
        let Ended::Code(code) = finished.ended else {
            panic!("{name}: no code{finished}");
        };
        let (wanted, line) = match name {
            "healthcheck" => (1, "unhealthy: no thread"),
            _ => (125, "portero: no "),
        };
        assert_eq!(code, wanted, "{name}{finished}");
        let last = finished.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with(line), "{name}{finished}");
    }
}

#[test]
fn a_full_disk_below_the_log_changes_nothing() {
    let place = TempDir::new();
    let place = place.path().display();
    for (name, way) in WAYS {
        let fill = format!(
            "mount -t tmpfs -o size=4k tmpfs {place}; head -c 4096 /dev/zero > {place}/log; exec 2>>{place}/log"
        );
        let finished = Run::portero().args(["-v"]).mounts(&fill);
        // A subcommand comes first.
        let finished = if matches!(way[0], "wait" | "migrate" | "healthcheck") {
            Run::portero().args(way).mounts(&fill)
        } else {
            finished.args(way)
        }
        .finish();
        check(name, way, "a full disk", &finished, true);
        assert_eq!(finished.ended, Ended::Code(0), "{name}{finished}");
    }
}

#[test]
fn without_proc_and_dev_it_does_what_it_can() {
    for (hidden, script) in [
        ("no /proc", "mount -t tmpfs tmpfs /proc"),
        ("no /dev", "mount -t tmpfs tmpfs /dev"),
        (
            "neither",
            "mount -t tmpfs tmpfs /proc; mount -t tmpfs tmpfs /dev",
        ),
        (
            "hidden /proc",
            "umount -l /proc; mount -t proc -o hidepid=2 proc /proc",
        ),
    ] {
        for (name, way) in WAYS {
            let finished = Run::as_pid1().args(way).mounts(script).finish();
            check(name, way, hidden, &finished, false);
            assert_eq!(finished.ended, Ended::Code(0), "{name}, {hidden}{finished}");
        }
    }
}
