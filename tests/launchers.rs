//! Launchers and shells above a server, beside the other inits: whose requests are cut, and who is warned.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use common::inits::{sleeps, status};
use common::{Process, Run, portero, tool};
use nix::sys::signal::Signal;

/// As npm and `go run`: the launcher ends at once on TERM. The server below it drains, and dies of a second TERM.
const LAUNCHER: &str = r"
import os, signal, time
read, write = os.pipe()
if os.fork() == 0:
    def drain(*_):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.write(1, b'drains.\n')
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            time.sleep(0.05)
        os.write(1, b'drained.\n')
        os._exit(0)
    signal.signal(signal.SIGTERM, drain)
    os.write(write, b'.')
    while True:
        time.sleep(1000)
os.read(read, 1)
os.write(1, b'ready.\n')
while True:
    time.sleep(1000)
";

#[test]
fn a_server_below_a_launcher_that_ends_at_once_drains_under_portero_and_under_no_other_init() {
    let portero = || portero().to_path_buf();
    let table: [(PathBuf, &[&str], bool); 5] = [
        (portero(), &["--"], true),
        (portero(), &["--signal-group", "--"], true),
        (tool("dumb-init"), &["--"], false),
        (tool("tini"), &["-g", "--"], false),
        (tool("tini"), &["--"], false),
    ];
    for (init, options, drains) in table {
        let mut process = Run::program(&init)
            .args(options)
            .args(["python3", "-c", LAUNCHER])
            .pid1()
            .start();
        process.until_stdout("ready");
        process.signal(Signal::SIGTERM);
        let finished = process.wait();
        finished.assert_exit(143);
        assert_eq!(finished.stdout.contains("drained"), drains, "{finished}");
    }
}

/// What is told to stop, and whether it is warned about.
struct Case {
    options: &'static [&'static str],
    command: Vec<String>,
    warned: bool,
    ends: bool,
}

fn case(command: &[&str], warned: bool, ends: bool) -> Case {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Case {
        options: &[],
        command,
        warned,
        ends,
    }
}

#[test]
fn a_shell_that_waits_for_its_child_after_a_stop_is_warned_about_and_nobody_else() {
    let trap = "trap 'echo bye' TERM; echo ready; sleep 1000; exit 3";
    let cases = [
        case(&["sh", "-c", trap], true, false),
        case(&["bash", "-c", trap], true, false),
        // Its own name says nothing of what it is.
        case(
            &["/bin/bash", "-c", "exec -a python3 sh -c \"$0\"", trap],
            true,
            false,
        ),
        Case {
            options: &["--signal-group"],
            ..case(&["sh", "-c", trap], false, true)
        },
        // No child: it waits for its stdin, which a harness holds open.
        case(
            &[
                "bash",
                "-c",
                "trap '' TERM; echo ready; while :; do read -t 1 line; done",
            ],
            false,
            false,
        ),
        // Ended, though the child goes on.
        case(
            &[
                "sh",
                "-c",
                "python3 -c \"$0\"; exit 3",
                "
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
time.sleep(1000)",
            ],
            false,
            false,
        ),
        // No shell.
        case(
            &[
                "python3",
                "-c",
                "
import signal, subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
subprocess.run(['sleep', '1000'])",
            ],
            false,
            false,
        ),
    ];
    let started = cases.into_iter().map(|case| {
        let mut process = Run::as_pid1()
            .args(case.options)
            .arg("--")
            .args(&case.command)
            .start_with(std::process::Stdio::piped());
        process.until_stdout("ready");
        (case, process)
    });
    let mut started: Vec<(Case, Process)> = started.collect();
    thread::sleep(Duration::from_millis(300));
    for (_, process) in &started {
        process.signal(Signal::SIGTERM);
    }
    thread::sleep(Duration::from_secs(1));
    let wake_ups = |process: &Process| status(process.pid_if_any(), "voluntary_ctxt_switches");
    let before = wake_ups(&started[6].1);
    for (case, process) in started.iter_mut().filter(|(case, _)| case.warned) {
        process.until_stderr("--signal-group");
        let said = process.stderr();
        assert!(
            said.contains("exec") && said.contains("sleep (pid"),
            "{:?}{process}",
            case.command
        );
    }
    thread::sleep(Duration::from_secs(1));
    // Who is no shell is not looked at: nothing wakes PID 1 up.
    assert_eq!(wake_ups(&started[6].1), before, "{}", started[6].1);
    assert!(sleeps(started[6].1.pid()));
    for (case, process) in &mut started {
        let lines = process
            .stderr()
            .lines()
            .filter(|line| line.contains("is a shell"))
            .count();
        assert_eq!(
            lines,
            usize::from(case.warned),
            "{:?}{process}",
            case.command
        );
        assert_eq!(
            process.poll().is_some(),
            case.ends,
            "{:?}{process}",
            case.command
        );
    }
}
