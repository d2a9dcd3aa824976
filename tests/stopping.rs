//! The end of a run: the delay before it, the time it may take, and what is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::inits::{sleeps, status};
use common::process::{children, tree};
use common::{DEADLINE, Ended, Finished, Process, Run, TempDir, both_places, poll_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Prints every signal that it gets; USR2 ends it with 7, and so does the end of its stdin with 3.
const LISTENER: &str = r"
import os, signal, sys
wake, waker = os.pipe()
os.set_blocking(waker, False)
signal.set_wakeup_fd(waker)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, lambda *_: None)
import select
os.write(1, b'ready\n')
while True:
    ready, _, _ = select.select([wake, 0], [], [])
    if 0 in ready:
        sys.exit(3)
    for number in os.read(wake, 100):
        os.write(1, b'<%d>\n' % number)
        if number == signal.SIGUSR2:
            sys.exit(7)
";

/// Ignores what asks it to end, together with one more in its group and one in a session of its own.
const DEAF: &str = r"
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0 or os.fork() == 0 and (os.setsid() or True):
    while True:
        time.sleep(1000)
count = 0
while True:
    os.write(1, b'tick %d.\n' % count)
    count += 1
    time.sleep(0.1)
";

fn listener(run: Run, options: &[&str]) -> Process {
    let mut process = run
        .args(options)
        .args(["--", "python3", "-c", LISTENER])
        .start_with(Stdio::piped());
    process.until_stdout("ready");
    process
}

/// Sends a signal and waits until portero has taken it.
fn send(process: &mut Process, signal: Signal) {
    process.signal(signal);
    let pid = process.pid();
    process.until(|_| sleeps(pid), &format!("{signal} to be taken"));
}

/// The numbers that the listener has printed.
fn heard(process: &Process) -> Vec<i32> {
    let stdout = process.stdout();
    let words = stdout.split(['<', '>', '\n']);
    words.filter_map(|word| word.parse().ok()).collect()
}

/// The processes of a run, portero left out; each must be gone when it is over.
struct Others(Vec<i32>);

impl Others {
    fn of(process: &Process) -> Self {
        Self(tree(process.pid()).into_iter().skip(1).collect())
    }

    /// Those that still run.
    fn alive(&self) -> Vec<i32> {
        let alive =
            |pid: &&i32| status(**pid, "State").is_some_and(|state| !state.starts_with('Z'));
        self.0.iter().filter(alive).copied().collect()
    }

    #[track_caller]
    fn assert_gone(&self, finished: &Finished) {
        // The kernel ends a namespace's processes while its PID 1 is ending; the harness sees the end of both.
        let gone = poll_until(DEADLINE, || self.alive().is_empty().then_some(()));
        assert!(gone.is_some(), "left: {:?}{finished}", self.alive());
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for pid in self.alive() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[test]
fn a_term_is_forwarded_after_the_delay_and_not_before() {
    for run in both_places() {
        let mut process = listener(run, &["--stop-delay", "600ms"]);
        let start = Instant::now();
        send(&mut process, Signal::SIGTERM);
        process.until_stdout("<15>");
        assert!(start.elapsed() >= Duration::from_millis(600), "{process}");
        // The delay is over for good: the next one goes through at once, once.
        send(&mut process, Signal::SIGTERM);
        process.until(|process| heard(process) == [15, 15], "the second");
        process.signal(Signal::SIGUSR2);
        process.exits(7).assert_stderr("");
    }
}

#[test]
fn a_second_stop_of_any_kind_ends_the_delay_and_goes_in_the_place_of_the_first() {
    for (first, second) in [(15, 15), (15, 2), (2, 15), (3, 37), (37, 3), (28, 15)] {
        for run in both_places() {
            let options = ["--stop-delay", "1h", "--map-signal", "WINCH=WINCH"];
            let mut process = listener(run, &options);
            let pid = process.pid();
            process.signal_number(first);
            process.until(|_| sleeps(pid), "the first to be taken");
            assert_eq!(heard(&process), [], "{process}");
            process.signal_number(second);
            process.until_stdout(&format!("<{second}>"));
            process.signal(Signal::SIGUSR2);
            let heard = format!("ready\n<{second}>\n<12>\n");
            process.exits(7).assert_stdout(&heard);
        }
    }
}

#[test]
fn other_signals_pass_during_the_delay() {
    for run in both_places() {
        let mut process = listener(run, &["--stop-delay", "1h"]);
        send(&mut process, Signal::SIGTERM);
        for signal in [
            Signal::SIGUSR1,
            Signal::SIGHUP,
            Signal::SIGWINCH,
            Signal::SIGCONT,
        ] {
            process.signal(signal);
            process.until_stdout(&format!("<{}>", signal as i32));
        }
        assert!(!heard(&process).contains(&15), "{process}");
        process.signal(Signal::SIGUSR2);
        process.exits(7);
    }
}

#[test]
fn a_command_that_ends_during_the_delay_ends_the_run_at_once() {
    for run in both_places() {
        let mut process = listener(run, &["--stop-delay", "1h"]);
        send(&mut process, Signal::SIGTERM);
        process.close_stdin();
        process.exits(3).assert_stdout("ready\n").assert_stderr("");
    }
}

#[test]
fn the_delay_is_for_term_as_received_and_what_follows_is_mapped() {
    let options = [
        "--stop-delay",
        "1h",
        "--map-signal",
        "TERM=QUIT",
        "--map-signal",
        "INT=TERM",
    ];
    for run in both_places() {
        let mut process = listener(run, &options);
        send(&mut process, Signal::SIGTERM);
        send(&mut process, Signal::SIGINT);
        process.until_stdout("<15>");
        send(&mut process, Signal::SIGTERM);
        process.until_stdout("<3>");
        process.signal(Signal::SIGUSR2);
        let finished = process.wait();
        finished
            .assert_exit(7)
            .assert_stdout("ready\n<15>\n<3>\n<12>\n");
    }
}

#[test]
fn a_term_before_command_runs_is_not_delayed() {
    for run in both_places() {
        let mut process = run
            .args([
                "--wait",
                "file:///no/such",
                "--stop-delay",
                "1h",
                "--",
                "true",
            ])
            .start();
        process.until_stderr("/no/such");
        process.signal(Signal::SIGTERM);
        process.exits(143);
    }
}

#[test]
fn before_command_runs_what_is_received_decides_and_not_what_it_is_mapped_to() {
    // Apache's graceful stop is WINCH, which every terminal sends, too; its image's runtime may send it as the stop.
    for (map, code) in [("TERM=WINCH", 143), ("WINCH=TERM", 156)] {
        for mode in [&["migrate", "--no-lock"][..], &[]] {
            for run in both_places() {
                let mut process = run
                    .args(mode)
                    .args(["--map-signal", map, "--wait", "file:///no/such"])
                    .args(["--", "true"])
                    .start();
                process.until_stderr("/no/such");
                process.signal(Signal::SIGWINCH);
                if code == 143 {
                    process.signal(Signal::SIGTERM);
                }
                process.exits(code);
            }
        }
    }
}

fn deaf(run: Run, options: &[&str]) -> (Process, Others) {
    let mut process = run
        .args(options)
        .args(["--", "python3", "-c", DEAF])
        .start();
    process.until(|process| tree(process.pid()).len() == 4, "four processes");
    process.until_stdout("tick 0.");
    let others = Others::of(&process);
    (process, others)
}

#[test]
fn everything_is_killed_and_named_after_the_stop_timeout_and_not_before() {
    let table: [(Signal, &[&str]); 5] = [
        (Signal::SIGTERM, &[]),
        (Signal::SIGINT, &[]),
        (Signal::SIGQUIT, &["--signal-group"]),
        // What asks to stop by its own name, or by that of what it is mapped to.
        (Signal::SIGINT, &["--map-signal", "INT=WINCH"]),
        (Signal::SIGHUP, &["--map-signal", "HUP=TERM"]),
    ];
    for (signal, options) in table {
        for run in both_places() {
            let limits = ["--stop-timeout", "200ms", "--orphan-grace", "1h"];
            let (process, others) = deaf(run.args(options), &limits);
            let start = Instant::now();
            process.signal(signal);
            let finished = process.wait();
            assert!(start.elapsed() >= Duration::from_millis(200), "{finished}");
            finished
                .assert_exit(137)
                .assert_one_line_of("portero: warning: not ended within the stop timeout of 0.2s");
            // The one in a session of its own, too.
            let named = finished.stderr.matches("python3 (pid ").count();
            assert_eq!(named, 3, "{finished}");
            others.assert_gone(&finished);
        }
    }
}

#[test]
fn repeated_signals_do_not_put_the_kill_off() {
    for run in both_places() {
        let (mut process, others) =
            deaf(run, &["--stop-timeout", "400ms", "--orphan-grace", "100ms"]);
        let pid = Pid::from_raw(process.pid());
        let ended = poll_until(DEADLINE, || {
            let _ = kill(pid, Signal::SIGTERM);
            let _ = kill(pid, Signal::SIGINT);
            process.poll()
        });
        assert_eq!(ended, Some(Ended::Code(137)), "{process}");
        others.assert_gone(&process.wait());
    }
}

#[test]
fn signals_that_servers_reload_by_start_no_stop_timeout() {
    for run in both_places() {
        let (mut process, _others) =
            deaf(run, &["--stop-timeout", "200ms", "--orphan-grace", "100ms"]);
        process.signal(Signal::SIGHUP);
        process.signal(Signal::SIGUSR1);
        process.signal(Signal::SIGWINCH);
        // Three times the timeout.
        process.until_stdout("tick 6.");
        process.signal(Signal::SIGTERM);
        process.exits(137);
    }
}

#[test]
fn the_stop_timeout_counts_from_the_end_of_the_delay() {
    for run in both_places() {
        let limits = ["--stop-delay", "400ms", "--stop-timeout", "400ms"];
        let (process, _others) = deaf(run.args(["--orphan-grace", "100ms"]), &limits);
        let start = Instant::now();
        process.signal(Signal::SIGTERM);
        let finished = process.wait();
        finished.assert_exit(137);
        assert!(start.elapsed() >= Duration::from_millis(800), "{finished}");
    }
}

#[test]
fn a_command_that_has_stopped_itself_is_continued_to_end() {
    // Which signal stops it, what it does about TERM, options, exit code.
    let table: [(&str, &str, &[&str], i32); 6] = [
        ("STOP", "-", &[], 143),
        ("TSTP", "-", &[], 143),
        ("STOP", "exit 9", &[], 9),
        ("STOP", "exit 9", &["--stop-delay", "300ms"], 9),
        ("STOP", "exit 9", &["--signal-group"], 9),
        ("STOP", "", &["--stop-timeout", "300ms"], 137),
    ];
    for (stop, trap, options, code) in table {
        for run in both_places() {
            let script = format!(
                "trap '{trap}' TERM; echo ready; kill -{stop} $$; while :; do sleep 0.05; done"
            );
            let mut process = run
                .args(options)
                .args(["--", "bash", "-c", &script])
                .start();
            process.until_stdout("ready");
            let pid = Pid::from_raw(process.pid());
            let command = children(process.pid())[0];
            process.until(
                |_| status(command, "State").is_some_and(|state| state.starts_with('T')),
                "a stopped COMMAND",
            );
            process.signal(Signal::SIGTERM);
            // As a part of a job portero has stopped too, unless it is PID 1; there it may be over already.
            if stop == "TSTP" {
                let _ = kill(pid, Signal::SIGCONT);
            }
            process.exits(code);
        }
    }
}

/// Goes away as a leftover does, says its pid, and later why it ended.
const LEFTOVER: &str = r"
import os, signal, sys, time
how, answer = sys.argv[1:]
read, write = os.pipe()
if os.fork() != 0:
    # COMMAND goes on when the leftover is ready.
    os.read(read, 1)
    sys.exit(0)
if how == 'group':
    os.setpgid(0, 0)
if how in ('session', 'daemon'):
    os.setsid()
if how == 'daemon' and os.fork() != 0:
    os._exit(0)
def end(number, frame):
    os.write(1, b'leftover got %d.\n' % number)
    os._exit(0)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, end)
if answer == 'deaf':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if answer == 'second':
    def first(number, frame):
        signal.signal(signal.SIGTERM, end)
        os.write(1, b'first.\n')
    signal.signal(signal.SIGTERM, first)
os.write(write, b'.')
if how == 'stopped':
    os.kill(os.getpid(), signal.SIGSTOP)
while True:
    time.sleep(1000)
";

const KINDS: [&str; 5] = ["same", "group", "session", "daemon", "stopped"];

/// COMMAND starts a leftover, waits for a line on its stdin, and ends with this code.
fn with_leftover(run: Run, how: &str, answer: &str, code: i32) -> (Process, Others) {
    let script = format!("python3 -c \"$1\" {how} {answer}; echo ready; read line; exit {code}");
    let mut process = run
        .args(["--", "sh", "-c", &script, "sh", LEFTOVER])
        .start_with(Stdio::piped());
    process.until_stdout("ready");
    // A daemon's parent may not be reaped yet.
    process.until(
        |process| tree(process.pid()).len() == 3,
        "portero, COMMAND and its leftover alone",
    );
    let others = Others::of(&process);
    (process, others)
}

#[test]
fn every_leftover_gets_term_and_time_and_the_exit_code_is_that_of_command() {
    for how in KINDS {
        for run in both_places() {
            // An hour: they end by themselves, and then nobody waits.
            let run = run.args(["--orphan-grace", "1h"]);
            let (mut process, others) = with_leftover(run, how, "polite", 5);
            process.close_stdin();
            let finished = process.wait();
            finished
                .assert_exit(5)
                .assert_stdout("ready\nleftover got 15.\n")
                .assert_stderr("");
            others.assert_gone(&finished);
        }
    }
}

#[test]
fn a_leftover_that_ignores_term_is_killed_after_the_grace_and_not_before() {
    for how in KINDS {
        for run in both_places() {
            let run = run.args(["--orphan-grace", "300ms"]);
            let (mut process, others) = with_leftover(run, how, "deaf", 6);
            let start = Instant::now();
            process.close_stdin();
            let finished = process.wait();
            assert!(start.elapsed() >= Duration::from_millis(300), "{finished}");
            finished
                .assert_exit(6)
                .assert_one_error_line()
                .assert_stderr_contains("orphan grace");
            others.assert_gone(&finished);
        }
    }
}

#[test]
fn signals_during_the_grace_go_to_the_leftovers() {
    for run in both_places() {
        let run = run.args(["--orphan-grace", "1h"]);
        let (mut process, others) = with_leftover(run, "session", "deaf", 6);
        process.close_stdin();
        let pid = process.pid();
        process.until(
            |_| children(pid).len() == 1 && sleeps(pid),
            "the leftover alone",
        );
        process.signal(Signal::SIGTERM);
        process.signal(Signal::SIGINT);
        let finished = process.wait();
        finished
            .assert_exit(6)
            .assert_stdout("ready\nleftover got 2.\n");
        others.assert_gone(&finished);
    }
}

#[test]
fn with_no_grace_leftovers_are_left_to_the_kernel() {
    for how in ["same", "session"] {
        let run = Run::as_pid1().args(["--orphan-grace", "none"]);
        let (mut process, others) = with_leftover(run, how, "polite", 5);
        process.close_stdin();
        let finished = process.wait();
        finished.assert_exit(5).assert_stdout("ready\n");
        others.assert_gone(&finished);

        let run = Run::portero().args(["--orphan-grace", "none"]);
        let (mut process, others) = with_leftover(run, how, "polite", 5);
        process.close_stdin();
        // It holds the pipes of the harness open, so it has to go before the end of its output can be seen.
        let ended = poll_until(DEADLINE, || process.poll());
        assert_eq!(ended, Some(Ended::Code(5)), "{process}");
        assert_eq!(others.alive().len(), 1, "{process}");
        drop(others);
        process.wait().assert_stdout("ready\n");
    }
}

#[test]
fn a_leftover_that_forks_without_end_is_ended() {
    // Each lives as long as it takes to make the next, ignores TERM, and has a session of its own.
    let storm = r"
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() != 0:
    os._exit(5)
while True:
    os.setsid() if os.getpid() != os.getsid(0) else None
    if os.fork() != 0:
        os._exit(0)
";
    for run in both_places() {
        let process = run
            .args(["--orphan-grace", "200ms", "--", "python3", "-c", storm])
            .start();
        let finished = process.wait();
        finished.assert_exit(5);
    }
}

#[test]
fn leftovers_are_found_by_pid_1_also_where_proc_is_not_mounted() {
    let hide = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let script = "setsid sh -c 'trap \"echo leftover got 15; exit 0\" TERM; echo ready; while :; do sleep 0.1; done' &
                  read line; exit 5";
    let mut process = Run::as_pid1()
        .via(["/bin/bash", "-c", hide])
        .args(["--orphan-grace", "1h", "--", "sh", "-c", script])
        .start_with(Stdio::piped());
    process.until_stdout("ready");
    process.close_stdin();
    process.exits(5).assert_stdout("ready\nleftover got 15\n");
}

#[test]
fn the_leftovers_of_a_failed_step_are_ended_and_command_is_not_started() {
    for (code, place) in [9, 255]
        .into_iter()
        .flat_map(|code| both_places().map(|run| (code, run)))
    {
        let directory = TempDir::new();
        let mark = directory.join("started");
        let leftover = directory.file("leftover.py", LEFTOVER);
        let step = format!(
            "sh -c 'python3 {} daemon polite; exit {code}'",
            leftover.display()
        );
        let finished = place
            .line("--orphan-grace 1h --no-lock --migrate")
            .arg(&step)
            .line("-- touch")
            .arg(&mark)
            .finish();
        finished
            .assert_exit(code)
            .assert_stdout("leftover got 15.\n");
        assert!(!mark.exists(), "{finished}");
    }
}

#[test]
fn a_stop_while_a_migration_leaves_something_behind_starts_no_other_migration() {
    let directory = TempDir::new();
    let leftover = directory.file("leftover.py", LEFTOVER);
    let step = format!(
        "sh -c 'python3 {} session second; echo left'",
        leftover.display()
    );
    // A step is told to stop by SIGTERM, whatever was received.
    for (mode, got) in [(&["migrate"][..], 2), (&[], 15)] {
        for run in both_places() {
            let mut process = run
                .args(mode)
                .args(["--orphan-grace", "1h", "--no-lock"])
                .args(["--migrate", &step, "--migrate", "echo second"])
                .args(["--", "echo", "command"].iter().skip(3 * mode.len()))
                .start();
            process.until_stdout("left").until_stdout("first.");
            let pid = process.pid();
            // With a stage between them where there is one.
            let count = 3 - mode.len();
            process.until(
                |_| tree(pid).len() == count && tree(pid).into_iter().all(sleeps),
                "the leftover alone",
            );
            process.signal(Signal::SIGINT);
            process
                .exits(130)
                .assert_stdout(&format!("left\nfirst.\nleftover got {got}.\n"));
        }
    }
}

#[test]
fn what_was_there_before_a_successful_step_stays_until_command_has_ended() {
    // An entrypoint script that starts a helper and becomes portero: the helper is portero's child then.
    let helper = "trap 'echo helper got 15; exit 0' TERM; echo helper; while :; do sleep 0.1; done";
    let script = "sh -c \"$0\" & exec \"$@\"";
    for pid1 in [true, false] {
        let shell = Run::program("/bin/sh").args(["-c", script, helper]);
        let shell = if pid1 { shell.pid1() } else { shell };
        let mut process = shell
            .arg(common::portero())
            .args(["--orphan-grace", "1h", "--no-lock", "--migrate", "true"])
            .args(["--wait", "file:///etc/passwd"])
            .args(["--", "sh", "-c", "echo ready; read line; exit 4"])
            .start_with(Stdio::piped());
        process.until_stdout("helper").until_stdout("ready");
        let others = Others::of(&process);
        assert!(!process.stdout().contains("15"), "{process}");
        process.close_stdin();
        let finished = process.wait();
        finished
            .assert_exit(4)
            .assert_stdout_contains("helper got 15\n");
        others.assert_gone(&finished);
    }
}
