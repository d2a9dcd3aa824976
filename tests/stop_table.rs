//! Every signal at every stage: before COMMAND, during a wait, a migration, COMMAND, and with leftovers. What a stop is
//! does not depend on who is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use common::inits::sleeps;
use common::process::children;
use common::{Process, Run, TempDir};

/// Maps, and the stops that each of them makes or unmakes.
const MAPS: [(&str, &[i32]); 4] = [
    ("", &[2, 3, 15, 37]),
    ("TERM=WINCH INT=", &[3, 15, 37]),
    ("WINCH=TERM USR1=USR1 TERM=", &[2, 3, 10, 28, 37]),
    (
        "RTMIN+3=USR2 40=RTMIN+3 TSTP=QUIT HUP=",
        &[2, 3, 15, 20, 37, 40],
    ),
];

/// All that a process can be sent and that does not end or stop it whatever it does; 32 and 33 are the C library's.
fn signals() -> impl Iterator<Item = i32> {
    (1..=31)
        .filter(|number| ![9, 17, 19].contains(number))
        .chain(34..=64)
}

/// Whether the default action ends a process (`signal(7)`).
fn terminates(number: i32) -> bool {
    !matches!(number, 17..=23 | 28)
}

/// Whether a map drops it.
fn is_dropped(number: i32, map: &str) -> bool {
    let name = match number {
        1 => "HUP=",
        2 => "INT=",
        15 => "TERM=",
        _ => return false,
    };
    map.split(' ').any(|item| item == name)
}

/// Those of a map that end a run before COMMAND, and those that do nothing.
fn before_command(map: &str, stops: &[i32]) -> (Vec<i32>, Vec<i32>) {
    signals().partition(|number| {
        stops.contains(number) || terminates(*number) && !is_dropped(*number, map)
    })
}

fn mapped(run: Run, map: &str) -> Run {
    run.env("PORTERO_MAP_SIGNAL", map)
}

/// Does `work` for each case, a few at a time: they mostly wait.
fn for_each<T: Send>(cases: Vec<T>, work: impl Fn(T) + Sync) {
    let cases = Mutex::new(cases);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let case = cases.lock().unwrap().pop();
                    let Some(case) = case else { return };
                    work(case);
                }
            });
        }
    });
}

fn waiting(map: &str) -> Process {
    let mut process = mapped(Run::as_pid1(), map)
        .args(["--wait", "file:///no/such", "--", "true"])
        .start();
    process.until_stderr("/no/such: ");
    process
}

#[test]
fn during_a_wait_every_signal_ends_the_run_with_its_number_or_does_nothing() {
    let mut cases = Vec::new();
    for (map, stops) in MAPS {
        let (ending, harmless) = before_command(map, stops);
        // Each of the first map; of the others those that differ, or could.
        let ending = ending.into_iter().filter(|number| {
            map.is_empty() || stops.contains(number) || matches!(number, 1 | 10 | 12)
        });
        cases.extend(ending.map(|number| (map, vec![], number)));
        cases.push((map, harmless, stops[0]));
    }
    for_each(cases, |(map, harmless, number)| {
        let process = waiting(map);
        for number in harmless {
            process.signal_number(number);
            // Its step is stopped as a job is, and goes on.
            process.signal_number(18);
        }
        process.signal_number(number);
        let finished = process.wait();
        finished
            .assert_exit(128 + number)
            .assert_stderr_contains("before COMMAND was started");
    });
}

#[test]
fn portero_wait_takes_the_stops_of_its_variable() {
    let mut cases = Vec::new();
    for (map, stops) in MAPS {
        cases.extend(stops.iter().map(|number| (map, *number)));
    }
    for_each(cases, |(map, number)| {
        for run in [Run::as_pid1(), Run::portero()] {
            let mut process = mapped(run, map).args(["wait", "file:///no/such"]).start();
            process.until_stderr("/no/such: ");
            for dropped in [1, 2, 15]
                .into_iter()
                .filter(|number| is_dropped(*number, map))
            {
                process.signal_number(dropped);
            }
            process.signal_number(number);
            process.exits(128 + number);
        }
    });
}

/// Two in one group say which signals they get; the first ends well on TERM, and on all else that would end it.
const MIGRATION: &str = r"
import os, signal
every = signal.valid_signals()
signal.pthread_sigmask(signal.SIG_BLOCK, every)
name = 'first'
if os.fork() == 0:
    name = 'second'
os.write(1, b'%s begins.\n' % name.encode())
while True:
    number = signal.sigwaitinfo(every - {signal.SIGCHLD}).si_signo
    os.write(1, b'%s got %d.\n' % (name.encode(), number))
    if number not in (18, 20, 21, 22, 23, 28):
        os._exit(0)
";

#[test]
fn a_stop_ends_a_migration_by_sigterm_to_its_group_and_the_run_by_its_number() {
    let directory = TempDir::new();
    let script = directory.file("migration.py", MIGRATION);
    let step = format!("python3 {}", script.display());
    let mut cases = Vec::new();
    for (map, stops) in MAPS {
        let (ending, _) = before_command(map, stops);
        let chosen = ending.into_iter().filter(|number| {
            stops.contains(number) || map.is_empty() && matches!(number, 1 | 6 | 10 | 34 | 64)
        });
        cases.extend(chosen.map(|number| (map, stops.contains(&number), number)));
    }
    for_each(cases, |(map, stops, number)| {
        for run in [Run::as_pid1(), Run::portero()] {
            let mut process = mapped(run, map)
                .args(["--no-lock", "--stop-delay", "1h", "--migrate", &step])
                .args(["--", "echo", "command"])
                .start();
            process
                .until_stdout("first begins")
                .until_stdout("second begins");
            process.signal_number(number);
            let finished = process.wait();
            let got = if stops { 15 } else { number };
            finished
                .assert_exit(128 + number)
                .assert_stdout_contains(&format!("first got {got}."));
            // What is no stop may come together with the leftovers' SIGTERM.
            assert!(
                !stops || finished.stdout.contains("second got 15."),
                "{finished}"
            );
            assert!(!finished.stdout.contains("command"), "{finished}");
            assert_eq!(finished.stdout.matches(" got ").count(), 2, "{finished}");
        }
    });
}

/// Ends by nothing but SIGKILL.
const DEAF: &str = r"
import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.write(1, b'ready\n')
while True:
    time.sleep(1000)
";

#[test]
fn a_stop_and_nothing_else_starts_the_stop_timeout_of_command() {
    let mut cases = Vec::new();
    for (map, stops) in MAPS {
        cases.extend(stops.iter().map(|number| (map, stops, Some(*number))));
        cases.push((map, stops, None));
    }
    for_each(cases, |(map, stops, number)| {
        let mut process = mapped(Run::as_pid1(), map)
            .args(["--stop-timeout", "300ms", "--", "python3", "-c", DEAF])
            .start();
        process.until_stdout("ready");
        if number.is_none() {
            // Stopped and continued, as they may be: that starts nothing either.
            for other in signals().filter(|other| !stops.contains(other)) {
                process.signal_number(other);
            }
            process.signal_number(18);
            let pid = process.pid();
            process.until(|_| sleeps(pid), "all of them to be taken");
            thread::sleep(Duration::from_millis(600));
            assert_eq!(process.poll(), None, "{process}");
        }
        process.signal_number(number.unwrap_or(stops[0]));
        process.exits(137).assert_one_line_of(
            "portero: warning: not ended within the stop timeout of 0.3s: killed python3 (pid 2)",
        );
    });
}

/// Prints every signal that it gets; ends when its stdin does.
const LISTENER: &str = r"
import os, signal
every = signal.valid_signals()
signal.pthread_sigmask(signal.SIG_BLOCK, every)
os.write(1, b'ready\n')
while True:
    os.write(1, b'<%d>\n' % signal.sigwaitinfo(every - {signal.SIGCHLD}).si_signo)
";

#[test]
fn a_stop_and_nothing_else_is_delayed() {
    let mut cases = Vec::new();
    for (map, stops) in MAPS {
        cases.extend(stops.iter().map(|number| (map, stops, *number)));
    }
    for_each(cases, |(map, stops, number)| {
        let mut process = mapped(Run::as_pid1(), map)
            .args(["--stop-delay", "1h", "--", "python3", "-c", LISTENER])
            .start();
        process.until_stdout("ready");
        process.signal_number(number);
        let pid = process.pid();
        process.until(|_| sleeps(pid), "the stop to be taken");
        let others = [1, 12, 16, 18, 28, 64];
        let forwarded = others
            .into_iter()
            .filter(|other| !stops.contains(other) && !is_dropped(*other, map));
        let mut expected = vec!["ready".to_owned()];
        for other in forwarded {
            process.signal_number(other);
            expected.push(format!("<{other}>"));
            process.until_stdout(&expected.join("\n"));
        }
        assert_eq!(
            process.stdout().trim_end(),
            expected.join("\n"),
            "{process}"
        );
        process.signal_number(stops[0]);
        process.until(
            |process| process.stdout().trim_end() != expected.join("\n"),
            "the end of the delay",
        );
        let command = children(process.pid())[0];
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(command),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        process.exits(137);
    });
}

#[test]
fn what_comes_at_any_moment_before_command_ends_the_run_or_does_nothing() {
    // Without a step: the signals are blocked already when portero is executed, and pending.
    let pending = "import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
# Python ignores these two, and what is ignored is no stop.
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.kill(os.getpid(), int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])";
    let mut cases = Vec::new();
    for (map, stops) in MAPS {
        let (ending, harmless) = before_command(map, stops);
        cases.extend(ending.into_iter().map(|number| (map, number, 128 + number)));
        cases.extend(harmless.into_iter().map(|number| (map, number, 6)));
    }
    let start = Instant::now();
    for_each(cases, |(map, number, code)| {
        let finished = mapped(Run::portero(), map)
            .via(["python3", "-c", pending, &number.to_string()])
            .args(["--", "sh", "-c", "exit 6"])
            .finish();
        finished.assert_exit(code);
    });
    assert!(start.elapsed() < Duration::from_secs(300));
}
