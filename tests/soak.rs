//! Orphans from several fork storms at once and a thousand signals a second: memory stays flat, nothing is left, no
//! signal gets lost, the exit code is right.
//!
//! The short form makes 10,000 orphans in each test. `PORTERO_SOAK=1000000 cargo test --release --test soak --
//! --nocapture` makes a million in each, with signals all the while, and prints the figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::print_stdout, clippy::type_complexity)]

mod common;

use std::fs;
use std::io::{Write, pipe};
use std::time::{Duration, Instant};

use common::inits::sleeps;
use common::process::{children, field};
use common::{DEADLINE, Ended, Process, Run, poll_until};
use nix::sys::signal::Signal;

/// Orphans that come at once from each storm.
const BATCH: usize = 100;
/// Storms at the same time.
const STORMS: usize = 4;

fn orphans() -> usize {
    let wanted = std::env::var("PORTERO_SOAK").ok();
    wanted.map_or(10_000, |count| {
        count.parse().expect("PORTERO_SOAK is a number")
    })
}

/// How long it may take: a machine that makes but 300 processes a second.
fn limit() -> Duration {
    DEADLINE + Duration::from_millis(orphans() as u64 * 3)
}

/// What a process holds, in kB and descriptors; it must not grow.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    anonymous: String,
    threads: String,
    descriptors: usize,
}

impl Held {
    fn by(pid: i32) -> Self {
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        Self {
            anonymous: field(&read("smaps_rollup"), "Anonymous").unwrap(),
            threads: field(&read("status"), "Threads").unwrap(),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
        }
    }
}

fn resident(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    field(&status, "VmRSS").unwrap()
}

/// Seconds on a CPU (`proc_pid_schedstat`, Documentation/scheduler/sched-stats.rst).
fn cpu_seconds(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

/// At each line of its stdin, that many storms: processes that start children and end before them. Every signal that
/// can be ignored is, by the children too.
fn storms() -> String {
    format!(
        "trap '' HUP USR1 WINCH
         storm() {{ i=0; while [ $i -lt $1 ]; do i=$((i+1)); ({}); done; }}
         echo ready
         while read count; do
             for storm in $(seq {STORMS}); do storm $count & done
             wait
             echo done
         done
         exit 42",
        ": & ".repeat(BATCH)
    )
}

/// Waits until COMMAND says `done` for the `times`th time, and everything is reaped.
fn until_done(process: &mut Process, times: usize) {
    let pid = process.pid();
    let end = Instant::now() + limit();
    while process.stdout().matches("done").count() < times {
        assert!(
            Instant::now() < end && process.poll().is_none(),
            "{process}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    process.until(
        |_| sleeps(pid) && children(pid).len() == 1,
        "COMMAND as the only child",
    );
}

/// Sends these signals to a process for ever, about a thousand a second.
fn bombard(pid: i32, signals: &str) -> Process {
    let script = format!(
        "import os, time
signals = {signals}
start, sent = time.monotonic(), 0
while True:
    os.kill({pid}, signals[sent % len(signals)])
    sent += 1
    time.sleep(max(0, start + sent / 1000 - time.monotonic()))"
    );
    Run::program("python3").args(["-c", &script]).start()
}

fn soak(run: Run) {
    let (input, mut command) = pipe().unwrap();
    let mut process = run.args(["--", "sh", "-c", &storms()]).start_with(input);
    process.until_stdout("ready");
    let pid = process.pid();
    let signals = bombard(pid, "[1, 10, 28]");
    command.write_all(b"1\n").unwrap();
    until_done(&mut process, 1);
    let (held, before, cpu) = (Held::by(pid), resident(pid), cpu_seconds(pid));

    let start = Instant::now();
    let rounds = orphans() / BATCH / STORMS;
    writeln!(command, "{rounds}").unwrap();
    until_done(&mut process, 2);
    let taken = start.elapsed().as_secs_f64();
    let now = Held::by(pid);
    println!(
        "{} orphans in {taken:.0} s, with a thousand signals a second: anonymous {} before, {} after; RSS {before} before, {} after; {:.2} s of CPU",
        rounds * BATCH * STORMS,
        held.anonymous,
        now.anonymous,
        resident(pid),
        cpu_seconds(pid) - cpu,
    );
    assert_eq!(now, held, "{process}");
    drop(signals);
    drop(command);
    let ended = poll_until(DEADLINE, || process.poll());
    assert_eq!(ended, Some(Ended::Code(42)), "{process}");
}

#[test]
fn orphans_without_end_leave_nothing_behind_in_pid_1() {
    soak(Run::as_pid1());
}

#[test]
fn orphans_without_end_leave_nothing_behind_in_a_child_subreaper() {
    soak(Run::portero());
}

/// Counts a real-time signal, of which each one counts, and says how many it got when USR2 has come.
const COUNTER: &str = r"
import os, signal, sys
every = signal.valid_signals()
signal.pthread_sigmask(signal.SIG_BLOCK, every)
os.write(1, b'ready\n')
count = 0
while True:
    number = signal.sigwaitinfo(every).si_signo
    if number == 40:
        count += 1
    if number == signal.SIGUSR2:
        os.write(1, b'%d signals\n' % count)
    if number == signal.SIGTERM:
        sys.exit(7)
";

#[test]
fn of_a_thousand_signals_a_second_none_is_lost_and_none_comes_twice() {
    for run in [Run::as_pid1(), Run::portero()] {
        let mut process = run.args(["--", "python3", "-c", COUNTER]).start();
        process.until_stdout("ready");
        let pid = process.pid();
        let sender = format!(
            "import os, time
start = time.monotonic()
for sent in range(2000):
    os.kill({pid}, 40)
    time.sleep(max(0, start + sent / 1000 - time.monotonic()))"
        );
        let before = Held::by(pid);
        Run::program("python3").args(["-c", &sender]).exits(0);
        process.until(|_| sleeps(pid), "the last of them");
        assert_eq!(Held::by(pid), before, "{process}");
        process.signal(Signal::SIGUSR2);
        process.until_stdout("2000 signals\n");
        process.signal(Signal::SIGTERM);
        process.exits(7);
    }
}
