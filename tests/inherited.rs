//! What portero was started with, where it is portero itself that has to respect it or to see through it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;

use common::early::until_blocked;
use common::inits::sleeps;
use common::{Process, TempDir, both_places, tool};
use nix::sys::signal::Signal;

fn env(option: &str) -> [String; 2] {
    [tool("env").to_str().unwrap().to_owned(), option.to_owned()]
}

/// Sends a signal and waits until portero has taken it.
fn send(process: &mut Process, signal: Signal) {
    process.signal(signal);
    let pid = process.pid();
    process.until(|_| sleeps(pid), &format!("{signal} to be taken"));
}

/// Sets the child subreaper flag as told, and becomes what follows (`prctl(2)`: the flag outlives an execve).
const SUBREAPER: &str = r"
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(36, int(sys.argv[1]), 0, 0, 0) == 0
os.execvp(sys.argv[2], sys.argv[2:])
";

/// Prints the flag.
const ASK_SUBREAPER: &str = r"
import ctypes
flag = ctypes.c_int()
assert ctypes.CDLL(None).prctl(37, ctypes.byref(flag), 0, 0, 0) == 0
print(flag.value)
";

#[test]
fn exec_hands_the_child_subreaper_flag_on_as_it_was() {
    for flag in ["0", "1"] {
        for run in both_places() {
            run.via(["python3", "-c", SUBREAPER, flag])
                .args(["--exec", "--wait", "file:///etc/passwd", "--"])
                .args(["python3", "-c", ASK_SUBREAPER])
                .exits(0)
                .assert_stdout(&format!("{flag}\n"));
        }
    }
}

#[test]
fn a_stop_ends_wait_and_healthcheck_at_once_though_it_was_blocked_at_their_start() {
    let server = common::Server::silent();
    let target = format!("http://{}/", server.address());
    // A health check knows no other codes than 0 and 1.
    let table: [(&[&str], i32, i32); 2] = [
        (&["wait", "--wait-timeout", "none"], 143, 130),
        (&["healthcheck", "--timeout", "none"], 1, 1),
    ];
    for (arguments, term, int) in table {
        for (signal, code) in [(Signal::SIGTERM, term), (Signal::SIGINT, int)] {
            for run in both_places() {
                let before = server.connections();
                let mut process = run
                    .via(env("--block-signal"))
                    .args(arguments)
                    .arg(&target)
                    .start();
                process.until(|_| server.connections() > before, "a connection");
                process.signal(signal);
                process.exits(code);
            }
        }
    }
}

#[test]
fn an_ignored_stop_does_not_end_a_wait() {
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGHUP, "HUP")] {
        for stage in [false, true] {
            for run in both_places() {
                let directory = TempDir::new();
                let file = directory.join("file");
                let target = format!("file://{}", file.display());
                let run = run.via(env(&format!("--ignore-signal={name}")));
                let run = if stage {
                    run.args(["--wait", &target, "--", "sh", "-c", "exit 6"])
                } else {
                    run.args(["wait", &target])
                };
                let mut process = run.start();
                process.until_stderr("file");
                send(&mut process, signal);
                fs::write(&file, "").unwrap();
                process.exits(if stage { 6 } else { 0 });
            }
        }
    }
}

#[test]
fn a_signal_that_is_dropped_is_dropped_from_the_start() {
    let directory = TempDir::new();
    for (index, run) in both_places().into_iter().enumerate() {
        let file = directory.join(format!("wait-{index}"));
        let target = format!("file://{}", file.display());
        let mut process = run
            .line("--map-signal TERM= --map-signal SIGHUP= --wait")
            .arg(&target)
            .args(["--", "sh", "-c", "echo ready; exec sleep 1000"])
            .start();
        // Before anything is said, too.
        until_blocked(process.until_executed(common::portero()));
        for _ in 0..100 {
            process.signal(Signal::SIGTERM);
            process.signal(Signal::SIGHUP);
        }
        process.until_stderr(&target["file://".len()..]);
        send(&mut process, Signal::SIGTERM);
        send(&mut process, Signal::SIGHUP);
        fs::write(&file, "").unwrap();
        process.until_stdout("ready");
        send(&mut process, Signal::SIGTERM);
        send(&mut process, Signal::SIGHUP);
        process.signal(Signal::SIGINT);
        process.exits(130);
    }
}

#[test]
fn a_signal_that_is_dropped_does_not_end_a_migration() {
    let script = "trap 'exit 9' TERM; echo begun; while [ ! -e \"$1\" ]; do sleep 0.05; done";
    let directory = TempDir::new();
    for (index, run) in both_places().into_iter().enumerate() {
        let file = directory.join(index.to_string());
        let mut process = run
            .line("migrate --no-lock --map-signal TERM= -- sh -c")
            .arg(script)
            .arg("sh")
            .arg(&file)
            .start();
        process.until_stdout("begun");
        send(&mut process, Signal::SIGTERM);
        fs::write(&file, "").unwrap();
        process.exits(0);
    }
}
