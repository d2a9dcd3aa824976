//! What COMMAND leaves behind is ended from the top: whose parent portero is, it is told once; the rest is its
//! parent's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::inits::status;
use common::process::children;
use common::{DEADLINE, Process, Run, both_places, poll_until, side_by_side};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A master and its worker say what they get. The master ends when its worker has, which it tells by USR1.
const MASTER: &str = r"
import os, signal, sys, time
def say(*words):
    os.write(1, (' '.join(map(str, words)) + '.\n').encode())
read, write = os.pipe()
worker = os.fork()
if worker == 0:
    signal.signal(signal.SIGTERM, lambda *_: say('worker got 15'))
    def drain(*_):
        time.sleep(0.3)
        say('worker drained')
        os._exit(0)
    signal.signal(signal.SIGUSR1, drain)
    os.write(write, b'.')
    while True:
        time.sleep(1000)
def stop(*_):
    say('master got 15')
    os.kill(worker, signal.SIGUSR1)
    os.waitpid(worker, 0)
    say('master ends')
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
os.read(read, 1)
say('ready')
while True:
    time.sleep(1000)
";

#[test]
fn a_master_below_a_launcher_ends_its_own_workers() {
    let expected = "ready.\nmaster got 15.\nworker drained.\nmaster ends.\n";
    for wrapper in [
        "python3 -c \"$0\"; exit 9",
        "setsid python3 -c \"$0\"; exit 9",
    ] {
        for run in both_places() {
            let mut process = run.args(["--", "sh", "-c", wrapper, MASTER]).start();
            process.until_stdout("ready");
            process.signal(Signal::SIGTERM);
            let finished = process.wait();
            finished
                .assert_exit(143)
                .assert_stdout(expected)
                .assert_stderr("");
        }
    }
}

/// As npm and `go run`: it ends at once on TERM, with its server below. The server takes a while to drain and dies of a
/// second TERM.
const LAUNCHER: &str = r"
import os, signal, sys, time
def say(*words):
    os.write(1, (' '.join(map(str, words)) + '.\n').encode())
seconds, how = float(sys.argv[1]), sys.argv[2]
read, write = os.pipe()
if os.fork() == 0:
    if how == 'session':
        os.setsid()
    def drain(*_):
        signal.signal(signal.SIGTERM, lambda *_: (say('cut'), os._exit(1)))
        say('drains')
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.05)
        say('drained')
        os._exit(0)
    signal.signal(signal.SIGTERM, drain)
    os.write(write, b'.')
    while True:
        time.sleep(1000)
os.read(read, 1)
say('ready')
while True:
    time.sleep(1000)
";

fn launcher(run: Run, options: &[&str], seconds: &str, how: &str) -> Process {
    let mut process = run
        .args(options)
        .args(["--", "python3", "-c", LAUNCHER, seconds, how])
        .start();
    process.until_stdout("ready");
    process
}

#[test]
fn who_has_had_the_stop_with_the_group_is_not_told_again_and_who_has_not_is() {
    for how in ["same", "session"] {
        for options in [&[][..], &["--signal-group"]] {
            for run in both_places() {
                let process = launcher(run, options, "0.5", how);
                process.signal(Signal::SIGTERM);
                process
                    .exits(143)
                    .assert_stdout("ready.\ndrains.\ndrained.\n")
                    .assert_stderr("");
            }
        }
    }
}

#[test]
fn after_a_stop_what_is_left_has_the_time_of_the_stop_and_not_that_of_orphans() {
    // COMMAND may not know 37 and 28: then TERM, which it is mapped to, or nothing that it handles, ends it.
    let line = "--orphan-grace 100ms --map-exit 131=7 --map-exit 165=7";
    let stops = [
        (15, ""),
        (2, ""),
        (3, ""),
        (37, ""),
        (28, "WINCH=TERM"),
        (1, "HUP=TERM"),
    ];
    side_by_side(stops, |(number, map)| {
        for run in both_places() {
            let map = if map.is_empty() {
                vec![]
            } else {
                vec!["--map-signal", map]
            };
            let options: Vec<_> = line.split(' ').chain(map).collect();
            let process = launcher(run, &options, "0.6", "same");
            process.signal_number(number);
            let finished = process.wait();
            assert!(!finished.stderr.contains("portero: "), "{finished}");
            let drained = finished.stdout.ends_with("\ndrained.\n");
            assert!(drained, "{number}{finished}");
        }
    });
    // What is no stop gives no time; COMMAND dies of it all the same.
    for number in [1, 10, 40] {
        for run in both_places() {
            let process = launcher(run, &["--orphan-grace", "100ms"], "3600", "same");
            process.signal_number(number);
            process
                .exits(128 + number)
                .assert_stdout("ready.\ndrains.\n")
                .assert_one_line_of("portero: warning: left when COMMAND had ended, and not ended within the orphan grace of 0.1s: killed python3 (pid ");
        }
    }
}

#[test]
fn what_is_left_after_a_stop_is_killed_when_the_stop_timeout_is_over() {
    for run in both_places() {
        let options = ["--stop-timeout", "500ms", "--orphan-grace", "1h"];
        let process = launcher(run, &options, "3600", "session");
        let start = Instant::now();
        process.signal(Signal::SIGTERM);
        let finished = process.wait();
        assert!(start.elapsed() >= Duration::from_millis(500), "{finished}");
        finished
            .assert_exit(143)
            .assert_stdout("ready.\ndrains.\n")
            .assert_one_line_of("portero: warning: left when COMMAND had ended, and not ended within the stop timeout of 0.5s: killed python3 (pid ");
    }
}

#[test]
fn a_further_stop_goes_to_all_that_is_left() {
    for run in both_places() {
        let mut process = launcher(run, &[], "3600", "session");
        process.signal(Signal::SIGTERM);
        process.until_stdout("drains");
        process.signal(Signal::SIGTERM);
        process.exits(143).assert_stdout("ready.\ndrains.\ncut.\n");
    }
}

/// A parent that stays, whose child ends and leaves a grandchild: nobody tells portero that it has got a child.
const INHERITED: &str = r"
import os, signal, sys, time
def say(*words):
    os.write(1, (' '.join(map(str, words)) + '.\n').encode())
if os.fork() != 0:
    time.sleep(0.5)
    sys.exit(5)
go, wake = os.pipe()
told, tell = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, lambda *_: (say('grandchild got 15'), os.write(tell, b'.'), os._exit(0)))
        say('ready')
        while True:
            time.sleep(1000)
    os.read(go, 1)
    os._exit(0)
def stop(*_):
    say('parent got 15')
    os.write(wake, b'.')
    os.wait()
    os.read(told, 1)
    say('parent ends')
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
while True:
    time.sleep(1000)
";

#[test]
fn who_becomes_porteros_child_without_notice_is_told_while_others_still_drain() {
    for run in both_places() {
        let process = run
            .args(["--orphan-grace", "1h", "--", "python3", "-c", INHERITED])
            .start();
        let finished = process.wait();
        let expected = "ready.\nparent got 15.\ngrandchild got 15.\nparent ends.\n";
        finished.assert_exit(5).assert_stdout(expected);
    }
}

/// Two that say which signals they get; one of them is stopped.
const STOPPED: &str = r"
import os, signal, sys, time
def say(*words):
    os.write(1, (' '.join(map(str, words)) + '.\n').encode())
read, write = os.pipe()
def listen(name):
    signal.signal(signal.SIGCONT, lambda *_: say(name, 'got 18'))
    signal.signal(signal.SIGTERM, lambda *_: (say(name, 'got 15'), over.append(1)))
    os.write(write, b'.')
    if name == 'stopped':
        os.kill(os.getpid(), signal.SIGSTOP)
    while not over:
        time.sleep(0.02)
    time.sleep(0.2)
    os._exit(0)
over = []
for name in ('running', 'stopped'):
    if os.fork() == 0:
        listen(name)
os.read(read, 1)
os.read(read, 1)
say('ready')
sys.stdin.read()
sys.exit(6)
";

#[test]
fn sigcont_goes_to_what_is_stopped_and_to_nobody_else() {
    for run in both_places() {
        let mut process = run
            .args(["--", "python3", "-c", STOPPED])
            .start_with(Stdio::piped());
        process.until_stdout("ready");
        let command = children(process.pid())[0];
        let is_stopped =
            |pid: &i32| status(*pid, "State").is_some_and(|state| state.starts_with('T'));
        process.until(
            |_| children(command).iter().any(is_stopped),
            "one that is stopped",
        );
        process.close_stdin();
        let finished = process.wait();
        finished
            .assert_exit(6)
            .assert_stdout_contains("running got 15.")
            .assert_stdout_contains("stopped got 18.")
            .assert_stdout_contains("stopped got 15.");
        assert!(!finished.stdout.contains("running got 18"), "{finished}");
    }
}

#[test]
fn without_a_proc_of_its_own_portero_still_ends_what_is_left() {
    let leftover =
        "trap 'echo leftover got 15; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    let script = "sh -c \"$0\" & read line; exit 5";
    let hidden = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        "mount -t tmpfs none /proc && exec \"$0\" \"$@\"",
    ];
    // PID 1 of a namespace whose /proc is that of another: the numbers there are other processes'.
    let foreign = ["unshare", "--pid", "--fork", "--kill-child"];
    for wrapper in [&hidden[..], &foreign] {
        let mut process = Run::portero()
            .via(wrapper)
            .args(["--orphan-grace", "1h", "--", "sh", "-c", script, leftover])
            .start_with(Stdio::piped());
        process.until_stdout("ready");
        process.close_stdin();
        process.exits(5).assert_stdout("ready\nleftover got 15\n");
    }
}

#[test]
fn three_thousand_leftovers_are_ended_and_so_are_two_thousand_daemons() {
    // The one that is COMMAND forks them all and ends; nobody ignores TERM.
    let many = r"
import os, sys, time
count, daemons = int(sys.argv[1]), sys.argv[2] == 'daemons'
for _ in range(count):
    if os.fork() == 0:
        if daemons:
            os.setsid()
            if os.fork() != 0:
                os._exit(0)
        time.sleep(1000)
sys.stdin.read()
os._exit(4)
";
    for (count, how) in [("3000", "children"), ("2000", "daemons")] {
        let mut process = Run::as_pid1()
            .line("--orphan-grace 1h -- python3 -c")
            .arg(many)
            .arg(count)
            .arg(how)
            .start_with(Stdio::piped());
        let pid = process.pid();
        let wanted: usize = count.parse().unwrap();
        let there = |_: &Process| {
            let own = children(pid);
            match (how, own.first()) {
                ("daemons", _) => own.len() > wanted,
                (_, command) => command.is_some_and(|command| children(*command).len() == wanted),
            }
        };
        process.until(there, "all of them");
        let start = Instant::now();
        process.close_stdin();
        process.exits(4).assert_stderr("");
        // 0.8 s on an idle machine.
        let taken = start.elapsed();
        assert!(taken < DEADLINE, "{count} {how}: {taken:?}");
    }
}

#[test]
fn daemons_that_end_while_command_lives_leave_no_zombie() {
    let burst = "for i in $(seq 2000); do (true &); done; echo done; read line";
    for run in both_places() {
        let mut process = run
            .args(["--", "sh", "-c", burst])
            .start_with(Stdio::piped());
        process.until_stdout("done");
        let pid = process.pid();
        let reaped = poll_until(DEADLINE, || (children(pid).len() == 1).then_some(()));
        assert!(reaped.is_some(), "{process}");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        process.exits(143);
    }
}
