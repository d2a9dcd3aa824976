//! Why COMMAND died: one line when a signal ended it that nobody sent through portero, with the kernel's reason where
//! it was killed for memory, in a real control group.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::fs;

use common::cgroup::ControlGroup;
use common::process::children;
use common::{Finished, Process, Run, both_places};
use nix::sys::signal::Signal;

const MIB: u64 = 1024 * 1024;

/// Takes this much memory.
const TAKE: &str = "x = bytearray(256 << 20); print('has it')";

fn is_one_line(finished: &Finished, words: &[&str]) {
    finished.assert_one_error_line();
    for word in words {
        finished.assert_stderr_contains(word);
    }
}

#[test]
fn a_signal_that_nobody_sent_through_portero_is_named() {
    for (name, code) in [
        ("KILL", 137),
        ("TERM", 143),
        ("SEGV", 139),
        ("ABRT", 134),
        ("USR1", 138),
    ] {
        for run in both_places() {
            let kill = format!("kill -{name} $$");
            let finished = run.args(["--", "sh", "-c", &kill]).exits(code);
            let by = format!("was ended by SIG{name}: nobody sent it through portero");
            is_one_line(&finished, &["portero: sh (pid ", &by]);
        }
    }
}

#[test]
fn nothing_is_said_of_what_was_sent_through_portero_and_of_a_pipe_that_was_closed() {
    // A shell would take SIGINT for itself until it has become sleep.
    let sleeping = |process: &Process| {
        let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        children(process.pid())
            .first()
            .is_some_and(|pid| name(*pid) == "sleep\n")
    };
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        for run in both_places() {
            let mut process = run.args(["--", "sleep", "1000"]).start();
            process.until(sleeping, "sleep");
            process.signal(signal);
            process.exits(128 + signal as i32).assert_stderr("");
        }
    }
    for (script, code) in [("kill -PIPE $$", 141), ("exit 143", 143)] {
        for run in both_places() {
            run.args(["--", "sh", "-c", script])
                .exits(code)
                .assert_stderr("");
        }
    }
}

#[test]
fn a_signal_that_is_mapped_was_sent_as_what_it_became() {
    let mut process = Run::as_pid1()
        .args([
            "--map-signal",
            "TERM=USR1",
            "--",
            "sh",
            "-c",
            "echo ready; exec sleep 1000",
        ])
        .start();
    process.until_stdout("ready\n");
    process.signal(Signal::SIGTERM);
    process.exits(138).assert_stderr("");
}

#[test]
fn what_the_stop_timeout_killed_is_told_once() {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let mut process = Run::as_pid1()
        .args(["--stop-timeout", "100ms", "--", "sh", "-c", script])
        .start();
    process.until_stdout("ready\n");
    process.signal(Signal::SIGTERM);
    let finished = process.exits(137);
    is_one_line(&finished, &["not ended within the stop timeout"]);
}

#[test]
fn in_json_pid_and_signal_are_members() {
    let finished = Run::as_pid1()
        .args(["--log-format", "json", "--", "sh", "-c", "kill -KILL $$"])
        .exits(137);
    finished
        .assert_stderr_contains(r#","level":"error","message":"sh (pid 2) was ended by SIGKILL"#)
        .assert_stderr_contains(r#","pid":2,"signal":"SIGKILL"}"#);
}

#[test]
fn a_command_that_the_kernel_killed_for_memory_dies_with_its_limit_named() {
    let group = ControlGroup::new("memory");
    group.limit_memory(64 * MIB);
    let command = ["--", "python3", "-c", TAKE];
    for run in both_places() {
        let finished = group.run(run).args(command).exits(137);
        let why =
            "was ended by SIGKILL: killed for memory: the container's limit is 64 MiB (memory.";
        is_one_line(&finished, &["portero: python3 (pid ", why]);
    }
    // A kill of the same group that has nothing to do with memory has another reason.
    let finished = group
        .run(Run::as_pid1())
        .args(["--", "sh", "-c", "kill -KILL $$"])
        .exits(137);
    is_one_line(&finished, &["nobody sent it through portero"]);
}

#[test]
fn a_worker_that_was_killed_for_memory_is_told_when_command_ends() {
    let group = ControlGroup::new("memory");
    group.limit_memory(64 * MIB);
    // The shell has a word of its own for it.
    let script = format!("exec 2>&1; python3 -c \"{TAKE}\"; exit 3");
    let finished = group
        .run(Run::as_pid1())
        .args(["--", "sh", "-c", &script])
        .exits(3);
    let why = "a process of sh's was killed for memory: the container's limit is 64 MiB (memory.";
    is_one_line(&finished, &[why]);
}

#[test]
fn a_worker_that_was_killed_for_memory_is_told_whatever_ends_command() {
    let group = ControlGroup::new("memory");
    group.limit_memory(64 * MIB);
    let why = "a process of sh's was killed for memory: the container's limit is 64 MiB (memory.";
    let worker = format!("exec 2>&1; python3 -c \"{TAKE}\"; echo ready; ");
    let cases = [
        ("sleep 1000 & wait", &[][..], 143),
        (
            "trap '' TERM; while :; do sleep 0.05; done",
            &["--stop-timeout", "100ms"][..],
            137,
        ),
    ];
    for (script, options, code) in cases {
        let run = group.run(Run::as_pid1()).args(options);
        let mut process = run
            .args(["--", "sh", "-c", &format!("{worker}{script}")])
            .start();
        process.until_stdout("ready\n");
        process.signal(Signal::SIGTERM);
        process.exits(code).assert_stderr_contains(why);
    }
    let script = format!("{worker}kill -ABRT $$");
    group
        .run(Run::as_pid1())
        .args(["--", "sh", "-c", &script])
        .exits(134)
        .assert_stderr_contains("was ended by SIGABRT: nobody sent it through portero")
        .assert_stderr_contains(why);
}

#[test]
fn a_limit_above_the_container_is_told_from_its_own() {
    let (outer, finished) = {
        let outer = ControlGroup::new("memory");
        outer.limit_memory(64 * MIB);
        let inner = outer.child();
        let run = inner.run(Run::as_pid1());
        let finished = run.args(["--", "python3", "-c", TAKE]).exits(137);
        (outer, finished)
    };
    // Version 1 does not tell whose limit it was.
    let why = if outer.is_v2 {
        ": by a limit above the container, or the node's"
    } else {
        ""
    };
    is_one_line(&finished, &["was ended by SIGKILL: killed for memory", why]);
}

#[test]
fn where_nothing_can_be_read_it_dies_without_the_reason() {
    let finished = Run::as_pid1()
        .mounts("mount -t tmpfs none /sys/fs/cgroup")
        .args(["--", "sh", "-c", "kill -KILL $$"])
        .exits(137);
    is_one_line(
        &finished,
        &["was ended by SIGKILL: nobody sent it through portero"],
    );
    let finished = Run::as_pid1()
        .mounts("umount -l /proc; mount -t tmpfs none /proc")
        .args(["--", "sh", "-c", "kill -KILL $$"])
        .exits(137);
    is_one_line(
        &finished,
        &["was ended by SIGKILL: nobody sent it through portero"],
    );
}
