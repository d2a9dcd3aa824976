//! portero as PID 1: exit codes, signals, reaping.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::hint::spin_loop;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::process::{children, field};
use common::server::unused_port;
use common::{DEADLINE, Ended, Process, Run, Server, TempDir, poll_until, portero, tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Prints the number of every signal that it gets, for ever; `ready` and its process id come first.
const PRINT_SIGNALS: &str = r"
import os, signal
def say(number, frame):
    os.write(1, b'<%d>\n' % number)
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, say)
os.write(1, b'ready\n')
while True:
    signal.pause()
";

fn sh(script: &str) -> Run {
    Run::as_pid1().args(["--", "sh", "-c", script])
}

#[test]
fn every_exit_code_of_command_is_passed_on() {
    for code in 0..=255 {
        sh(&format!("exit {code}"))
            .exits(code)
            .assert_stderr("")
            .assert_stdout("");
    }
}

#[test]
fn a_command_that_a_signal_ended_gives_128_plus_its_number() {
    for number in (1..=31).chain([34, 40, 64]) {
        // CHLD, CONT, URG, WINCH are ignored by default; STOP and its like stop.
        if [17, 18, 19, 20, 21, 22, 23, 28].contains(&number) {
            continue;
        }
        sh(&format!("ulimit -c 0; kill -{number} $$")).exits(128 + number);
    }
}

#[test]
fn a_command_that_is_missing_or_no_program_gives_127_or_126_and_one_line_that_names_it() {
    let directory = TempDir::new();
    let plain = directory.file("plain", "#!/bin/sh\nexit 0\n");
    let no_interpreter = directory.script("no-interpreter", "#!/no/such/interpreter\n");
    let no_first_line = directory.script("no-first-line", "echo hello\n");
    let garbage = directory.script("garbage", "\u{7f}ELF nonsense");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let table = [
        ("no-such-command-anywhere".to_owned(), 127),
        ("/no/such/command".into(), 127),
        (path(&plain), 126),
        (path(directory.path()), 126),
        (path(&no_first_line), 126),
        (path(&garbage), 126),
    ];
    for (command, code) in table {
        let finished = Run::as_pid1().args(["--", &command]).finish();
        finished
            .assert_exit(code)
            .assert_one_error_line()
            .assert_stderr_contains(&command);
    }
    let finished = Run::as_pid1().arg("--").arg(&no_interpreter).finish();
    assert!(
        matches!(finished.ended, Ended::Code(126 | 127)),
        "neither 126 nor 127{finished}"
    );
    finished
        .assert_one_error_line()
        .assert_stderr_contains("no-interpreter");
}

#[test]
fn a_plain_run_prints_nothing_and_is_pid_1_of_two_processes() {
    let finished = sh("echo $PPID; ps -A -o pid=,comm= | grep -c portero").finish();
    finished
        .assert_exit(0)
        .assert_stdout("1\n1\n")
        .assert_stderr("");
}

#[test]
fn with_signal_group_a_term_reaches_the_whole_group_and_the_code_of_command_is_passed_on() {
    let script = "sh -c 'trap \"echo inner; exit 0\" TERM; echo one; sleep 1000 & wait' &
                  trap 'wait; echo outer; exit 17' TERM; echo two; wait";
    let mut process = Run::as_pid1()
        .args(["--signal-group", "--", "sh", "-c", script])
        .start();
    process.until_stdout("one").until_stdout("two");
    process.signal(Signal::SIGTERM);
    process
        .exits(17)
        .assert_stdout_contains("inner")
        .assert_stdout_contains("outer");
}

#[test]
fn with_signal_group_a_command_that_went_to_another_group_is_signalled_too() {
    let script = r#"
import os, signal, sys, time
def end(*_):
    os.kill(other, signal.SIGKILL)
    sys.exit(17)
other = os.fork()
if not other:
    os.setpgid(0, 0)
    time.sleep(1000)
while os.getpgid(other) != other:
    time.sleep(0.01)
os.setpgid(0, other)
signal.signal(signal.SIGTERM, end)
print("moved", flush=True)
time.sleep(1000)
"#;
    let mut process = Run::as_pid1()
        .args(["--signal-group", "--", "python3", "-c", script])
        .start();
    process.until_stdout("moved");
    process.signal(Signal::SIGTERM);
    process.exits(17);
}

#[test]
fn every_signal_is_forwarded_once() {
    let mut process = Run::as_pid1()
        .args(["--", "python3", "-c", PRINT_SIGNALS])
        .start();
    process.until_stdout("ready");
    let mut expected = BTreeSet::new();
    // The terminal's stop signals stop a group and are a matter of their own.
    for number in (1..=31)
        .chain([34, 35, 50, 64])
        .filter(|number| ![9, 17, 19, 20, 21, 22].contains(number))
    {
        process.signal_number(number);
        process.until_stdout(&format!("<{number}>"));
        expected.insert(number.to_string());
    }
    let stdout = process.stdout();
    let got: Vec<&str> = stdout
        .split(['<', '>', '\n'])
        .filter(|word| word.parse::<i32>().is_ok())
        .collect();
    assert_eq!(got.len(), expected.len(), "a signal came twice{process}");
    process.signal(Signal::SIGKILL);
    assert_eq!(process.wait().ended, Ended::Signal(9));
}

#[test]
fn a_stop_from_outside_stops_command_until_cont() {
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        let mut process = sh("echo ready; exec sleep 1000").start();
        process.until_stdout("ready");
        let state = |process: &Process| {
            process
                .processes()
                .iter()
                .find(|entry| entry.name == "sleep")
                .map(|e| e.state)
        };
        process.until(|process| state(process) == Some('S'), "a sleeping COMMAND");
        process.signal(signal);
        process.until(|process| state(process) == Some('T'), "a stopped COMMAND");
        process.signal(Signal::SIGCONT);
        process.until(|process| state(process) == Some('S'), "a continued COMMAND");
        process.signal(Signal::SIGTERM);
        process.exits(143);
    }
}

#[test]
fn orphans_are_reaped_and_leave_no_zombie() {
    let directory = TempDir::new();
    let fifo = directory.join("fifo");
    let script = "mkfifo $0; for i in $(seq 20); do (cat $0 > /dev/null &); done; echo ready; exec sleep 1000";
    let mut process = Run::as_pid1()
        .args(["--", "sh", "-c", script])
        .arg(&fifo)
        .start();
    process.until_stdout("ready");
    let orphans = |process: &Process| {
        process
            .processes()
            .iter()
            .filter(|e| e.parent == 1 && e.name != "sleep")
            .count()
    };
    process.until(|process| orphans(process) == 20, "twenty orphans of PID 1");
    let gone = poll_until(DEADLINE, || {
        // Opened and closed: an end of file for everyone who reads.
        drop(
            OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&fifo),
        );
        (orphans(&process) == 0).then_some(())
    });
    assert!(gone.is_some(), "left: {:?}{process}", process.processes());
    process.signal(Signal::SIGTERM);
    process.exits(143);
}

#[test]
fn the_death_of_an_orphan_is_not_the_death_of_command() {
    let script = "(sh -c 'exit 3' &); (sh -c 'kill -9 $$' &); echo ready; read line; exit 7";
    let mut process = sh(script).start_with(Stdio::piped());
    process.until_stdout("ready");
    process.until(
        |process| process.processes().len() == 2,
        "the end of the orphans",
    );
    // Its stdin closes.
    process.close_stdin();
    process.exits(7);
}

#[test]
fn sigwinch_at_any_early_moment_does_no_harm() {
    for step in 0..40 {
        let mut process = sh("read line; exit 6").start_with(Stdio::piped());
        process.until_executed(portero());
        pause(Duration::from_micros(step * 100));
        // It may be over already; that is none of this test's business.
        send_if_any(&process, Signal::SIGWINCH);
        process.close_stdin();
        process.exits(6);
    }
}

#[test]
fn a_stop_signal_during_a_wait_ends_the_run_and_command_is_never_started() {
    for (signal, code) in [
        (Signal::SIGTERM, 143),
        (Signal::SIGINT, 130),
        (Signal::SIGHUP, 129),
    ] {
        let directory = TempDir::new();
        let mark = directory.join("started");
        let target = format!("tcp://127.0.0.1:{}", unused_port());
        let mut process = Run::as_pid1()
            .args(["--wait", &target, "--", "touch"])
            .arg(&mark)
            .start();
        process.until_stderr(&target["tcp://".len()..]);
        process.signal(signal);
        let finished = process.wait();
        finished.assert_exit(code);
        assert!(!mark.exists(), "COMMAND was started{finished}");
    }
}

#[test]
fn a_stop_signal_around_the_end_of_a_stage_is_never_forgotten() {
    let server = Server::accepting("127.0.0.1:0");
    for step in 0..60 {
        let target = format!("tcp://{}", server.address());
        let process = Run::as_pid1()
            .args(["--wait", &target, "--", "sleep", "1000"])
            .start();
        until_signals_are_blocked(&process);
        pause(Duration::from_micros(step * 250));
        process.signal(Signal::SIGTERM);
        process.exits(143);
    }
}

#[test]
fn a_term_at_any_point_of_the_first_milliseconds_is_never_lost() {
    for step in 0..100 {
        let process = Run::as_pid1().args(["--", "sleep", "1000"]).start();
        until_signals_are_blocked(&process);
        pause(Duration::from_micros(step * 50));
        process.signal(Signal::SIGTERM);
        process.exits(143);
    }
}

#[test]
fn a_burst_of_terms_through_the_start_ends_the_run() {
    for _ in 0..30 {
        let mut process = Run::as_pid1().args(["--", "sleep", "1000"]).start();
        until_signals_are_blocked(&process);
        let end = Instant::now() + Duration::from_millis(5);
        while Instant::now() < end && process.poll().is_none() {
            send_if_any(&process, Signal::SIGTERM);
        }
        process.exits(143);
    }
}

#[test]
fn an_inherited_ignored_sigchld_does_not_lose_the_exit_code() {
    let script = "(true &); exit 7";
    Run::as_pid1()
        .via([tool("env").to_str().unwrap(), "--ignore-signal=CHLD"])
        .args(["--", "bash", "-c", script])
        .exits(7)
        .assert_stderr("");
}

#[test]
fn the_inherited_mask_and_ignored_signals_reach_command() {
    let table: [&[&str]; 4] = [
        &[],
        &[
            "--ignore-signal=HUP",
            "--ignore-signal=INT",
            "--ignore-signal=PIPE",
        ],
        &["--block-signal=USR1", "--block-signal=TERM"],
        &[
            "--ignore-signal=USR2",
            "--ignore-signal=QUIT",
            "--block-signal=WINCH",
            "--block-signal=RTMIN+3",
        ],
    ];
    let signals = |stdout: &str| {
        (
            field(stdout, "SigBlk").unwrap(),
            field(stdout, "SigIgn").unwrap(),
        )
    };
    for state in table {
        let env = tool("env");
        let via = || std::iter::once(env.to_str().unwrap()).chain(state.iter().copied());
        let expected = Run::program(tool("cat"))
            .arg("/proc/self/status")
            .pid1()
            .via(via())
            .finish();
        for run in [Run::as_pid1(), Run::portero()] {
            let finished = run
                .via(via())
                .args(["--", "cat", "/proc/self/status"])
                .finish();
            finished.assert_exit(0).assert_stderr("");
            assert_eq!(
                signals(&finished.stdout),
                signals(&expected.stdout),
                "{state:?}{finished}"
            );
        }
    }
}

#[test]
fn command_starts_in_the_directory_and_with_the_descriptors_that_portero_was_given() {
    let directory = TempDir::new();
    let expected = Run::program("/bin/sh")
        .cwd(directory.path())
        .args(["-c", "pwd; ls /proc/self/fd"])
        .finish();
    let finished = sh("pwd; ls /proc/self/fd").cwd(directory.path()).finish();
    finished
        .assert_exit(0)
        .assert_stdout(&expected.stdout)
        .assert_stderr("");
}

#[test]
fn a_closed_stdin_does_no_harm() {
    Run::as_pid1()
        .via(["/bin/sh", "-c", "exec \"$0\" \"$@\" <&-"])
        .args(["--", "sh", "-c", "exit 4"])
        .exits(4);
}

#[test]
fn portero_itself_stays_single_threaded_and_in_the_root_directory() {
    let mut process = sh("echo ready; exec sleep 1000").cwd("/usr").start();
    process.until_stdout("ready");
    assert_eq!(process.status_field("Threads"), "1", "{process}");
    // COMMAND may speak before.
    let cwd = || std::fs::read_link(format!("/proc/{}/cwd", process.pid())).unwrap();
    let left = poll_until(DEADLINE, || (cwd() == Path::new("/")).then_some(()));
    assert!(left.is_some(), "{process}");
    let sockets = std::fs::read_dir(format!("/proc/{}/fd", process.pid()))
        .unwrap()
        .flatten();
    let sockets = sockets.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    assert_eq!(
        sockets
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count(),
        0,
        "{process}"
    );
}

/// Waits until main has blocked TERM: what comes to a PID 1 before that, the kernel throws away.
fn until_signals_are_blocked(process: &Process) {
    let pid = process.until_executed(portero());
    let end = Instant::now() + DEADLINE;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let blocked = field(&status, "SigBlk")
            .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
            .unwrap_or(0);
        // Inside sigwait(3) the kernel shows the signals that are waited for as not blocked; a child exists by then.
        if blocked & (1 << (Signal::SIGTERM as u64 - 1)) != 0 || !children(pid).is_empty() {
            return;
        }
        assert!(Instant::now() < end, "it never blocks TERM{process}");
    }
}

/// Sends a signal to a process that may be over already.
fn send_if_any(process: &Process, signal: Signal) {
    let pid = process.pid_if_any();
    if pid > 0 {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// A pause that is much shorter than a time slice of the scheduler.
fn pause(length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        spin_loop();
    }
}
