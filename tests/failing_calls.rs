//! Each system call that portero makes fails in turn: COMMAND runs as it was asked for or not at all, nothing hangs,
//! and a line and a code say what happened.
//!
//! `PORTERO_FAULTS=all cargo test --test failing_calls` tries every one with every error; else it is a sample, always
//! the same one (`PORTERO_FAULTS=7` is another, `PORTERO_FAULTS=mmap` all of one call). All take a minute or so for
//! each way to start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::faults::{Fault, Watched, Which, call_name};
use common::{Ended, Finished, Run, Server, process};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What COMMAND and the migration say: who they are.
const WHO: [&str; 3] = ["grep", "-E", "^(Uid|Gid|Groups|CapEff):"];
/// What user 1000 says so.
const USER: &str = "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t1000 \nCapEff:\t0000000000000000\n";

/// Longer than any of the limits that portero is given here, on a bad day.
const LIMIT: Duration = Duration::from_secs(20);

/// How many faults of each command are tried in a sample.
const SAMPLE: usize = 40;

const ERRORS: [i32; 4] = [libc::EPERM, libc::ENOMEM, libc::EINTR, libc::EAGAIN];

/// The C library's start, before portero's first instruction, and what can't fail.
const NOT_MEANT: [&str; 10] = [
    // Always successful (getpid(2)).
    "getpid",
    "getppid",
    // A wake-up that is lost, for which a thread waits in the C library for ever: no kernel refuses one.
    "futex",
    // The standard library panics without it: a line and 125, but not ours to word.
    "getrandom",
    "arch_prctl",
    "set_tid_address",
    "exit",
    "exit_group",
    "rt_sigreturn",
    "restart_syscall",
];

/// Nothing can be said without them.
const SPEAKS: [&str; 3] = ["write", "writev", "poll"];

fn who(run: Run) -> Run {
    run.arg("--").args(WHO).arg("/proc/self/status")
}

/// And so who began as user 1000, in no group besides.
const BEGAN_AS_USER: &str = "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t \nCapEff:\t0000000000000000\n";

/// Judges what a run of `run` or `migrate` came to, in which user 1000 speaks `times` times.
fn judge_run(finished: &Finished, fault: Fault, whole: &str) -> Result<(), String> {
    let Ended::Code(code) = finished.ended else {
        return Err("a signal ended it".into());
    };
    if !whole.starts_with(&finished.stdout) {
        return Err("somebody else ran, or more than was asked for".into());
    }
    match code {
        0 if finished.stdout == whole => Ok(()),
        0 => Err("0, but not all ran".into()),
        124..=127 => says_why(finished, fault),
        _ => Err(format!("{code} is no code of the table")),
    }
}

fn says_why(finished: &Finished, fault: Fault) -> Result<(), String> {
    let mute = SPEAKS.contains(&call_name(fault.call));
    if !mute
        && !finished
            .stderr
            .lines()
            .any(|line| line.starts_with("portero: "))
    {
        return Err("nothing is said".into());
    }
    if finished.stderr.contains("memory allocation") {
        return Err("the standard library says it, with a back-trace".into());
    }
    not_blamed_on_anybody(finished)
}

fn not_blamed_on_anybody(finished: &Finished) -> Result<(), String> {
    if finished.stderr.contains("internal error") {
        return Err("it panicked".into());
    }
    if finished.stderr.contains("skipped") {
        return Err("root takes itself for somebody else".into());
    }
    Ok(())
}

fn judge_wait(finished: &Finished, fault: Fault) -> Result<(), String> {
    match finished.ended {
        Ended::Code(0) => Ok(()),
        Ended::Code(124 | 125) => says_why(finished, fault),
        other => Err(format!("{other:?} is not of the table")),
    }
}

fn judge_check(finished: &Finished, fault: Fault) -> Result<(), String> {
    let mute = SPEAKS.contains(&call_name(fault.call));
    match finished.ended {
        Ended::Code(0) if mute || finished.stdout.starts_with("healthy: ") => Ok(()),
        Ended::Code(1) if mute || finished.stderr.contains("unhealthy: ") => {
            not_blamed_on_anybody(finished)
        }
        other => Err(format!("{other:?}, or without its line")),
    }
}

/// Fails each call of `run` in turn.
#[track_caller]
fn each_call_fails(run: &Run, judge: impl Fn(&Finished, Fault) -> Result<(), String> + Sync) {
    let (undisturbed, counts) = Watched::start(run.clone(), None).finish();
    undisturbed.assert_exit(0);
    let mut faults = Vec::new();
    for (call, count) in counts.calls() {
        let name = call_name(call);
        if NOT_MEANT.contains(&name) {
            continue;
        }
        for errno in ERRORS {
            // The C library of a debug build maps its threads' memory before portero's first instruction.
            let first = 1 + u32::from(name == "mmap");
            let nth = (first..=count).map(Which::Nth);
            // A call that is interrupted for ever is made again for ever, and who is never told of a child's end can
            // only go on asking.
            let for_ever = errno == libc::EINTR || matches!(name, "mmap" | "wait4");
            let all = (!for_ever).then_some(Which::All);
            faults.extend(nth.chain(all).map(|which| Fault { call, errno, which }));
        }
    }
    assert!(
        faults.len() > SAMPLE,
        "only {} faults: {faults:?}",
        faults.len()
    );
    let asked = std::env::var("PORTERO_FAULTS").unwrap_or_default();
    let seed: u32 = asked.parse().unwrap_or(11);
    let named = |fault: &Fault| call_name(fault.call) == asked;
    if faults.iter().any(named) {
        faults.retain(named);
    } else if asked != "all" {
        sample(&mut faults, u64::from(seed));
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = try_fault(run, *fault, &judge) {
                        failures.lock().unwrap().push(format!("{fault}: {why}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "of {} faults {} were not borne (seed {seed}):\n{}",
        faults.len(),
        failures.len(),
        failures.join("\n")
    );
}

fn try_fault(
    run: &Run,
    fault: Fault,
    judge: impl Fn(&Finished, Fault) -> Result<(), String>,
) -> Result<(), String> {
    let mut watched = Watched::start(run.clone(), Some(fault));
    if !watched.ends_within(LIMIT) {
        return Err(format!("it hangs{}", watched.process.as_ref().unwrap()));
    }
    let (finished, _) = watched.finish();
    judge(&finished, fault).map_err(|why| format!("{why}{finished}"))
}

/// Keeps `SAMPLE` of them (xorshift, Marsaglia 2003), and each refusal of memory: the standard library ends the process
/// for some of them, by no panic.
fn sample(faults: &mut Vec<Fault>, seed: u64) {
    let mut state = seed | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let memory = |fault: &Fault| call_name(fault.call) == "mmap" && fault.errno == libc::ENOMEM;
    faults.sort_by_cached_key(|fault| (!memory(fault), draw()));
    let kept = faults.iter().filter(|fault| memory(fault)).count() + SAMPLE;
    faults.truncate(kept);
}

#[test]
fn run_without_a_user() {
    let run = who(Run::portero().user(1000, 1000));
    each_call_fails(&run, |finished, fault| {
        judge_run(finished, fault, BEGAN_AS_USER)
    });
}

#[test]
fn run_with_a_user() {
    let run = who(Run::portero().args(["--user", "1000:1000"]));
    each_call_fails(&run, |finished, fault| judge_run(finished, fault, USER));
}

#[test]
fn run_with_a_user_as_pid_1() {
    let run = who(Run::as_pid1().args(["--user", "1000:1000"]));
    each_call_fails(&run, |finished, fault| judge_run(finished, fault, USER));
}

#[test]
fn exec_with_a_user() {
    let run = who(Run::portero().args(["--exec", "--user", "1000:1000"]));
    each_call_fails(&run, |finished, fault| judge_run(finished, fault, USER));
}

#[test]
fn run_with_a_user_and_both_stages() {
    let migration = format!(
        "{} /proc/self/status",
        WHO.map(|word| format!("'{word}'")).join(" ")
    );
    let run = Run::portero().args([
        "--user",
        "1000:1000",
        "--wait",
        "file:///etc/passwd",
        "--no-lock",
    ]);
    let run = who(run.args(["--wait-timeout", "2s", "--migrate", &migration]));
    each_call_fails(&run, |finished, fault| {
        judge_run(finished, fault, &USER.repeat(2))
    });
}

#[test]
fn migrate_with_a_user() {
    let run = who(Run::portero().args(["migrate", "--user", "1000:1000", "--no-lock"]));
    each_call_fails(&run, |finished, fault| judge_run(finished, fault, USER));
}

#[test]
fn wait() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let run = Run::portero().args(["wait", "--user", "1000:1000", "--wait-timeout", "2s"]);
    let run = run.args([
        format!("http://{}/", server.address()),
        "file:///etc/passwd".into(),
    ]);
    each_call_fails(&run, judge_wait);
}

#[test]
fn healthcheck() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let run = Run::portero().args(["healthcheck", "--user", "1000:1000"]);
    let run = run.arg(format!("http://{}/", server.address()));
    each_call_fails(&run, judge_check);
}

#[test]
fn what_nothing_works_without_is_said_when_it_fails() {
    let path = "file:///etc/passwd";
    for (arguments, call, code, line) in [
        (
            &["--", "true"][..],
            libc::SYS_rt_sigaction,
            125,
            "portero: can't take SIGCHLD",
        ),
        (
            &["migrate", "--no-lock", "--", "true"],
            libc::SYS_rt_sigaction,
            125,
            "portero: can't take SIGCHLD",
        ),
        (
            &["healthcheck", path],
            libc::SYS_setitimer,
            1,
            "unhealthy: no timer",
        ),
    ] {
        let fault = Fault {
            call: usize::try_from(call).unwrap(),
            errno: libc::EPERM,
            which: Which::All,
        };
        let run = Run::portero().args(arguments);
        let (finished, _) = Watched::start(run, Some(fault)).finish();
        finished.assert_exit(code).assert_one_line_of(line);
    }
}

#[test]
fn a_stage_that_crashes_is_porteros_own_failure_and_one_that_is_killed_is_not() {
    for (signal, code) in [
        (Signal::SIGSEGV, 125),
        (Signal::SIGABRT, 125),
        (Signal::SIGKILL, 137),
    ] {
        let run = Run::portero().args(["--wait", "file:///nowhere", "--", "true"]);
        let mut process = run.start();
        // Then it has executed, and takes stops by its handlers.
        process.until_stderr("file:///nowhere");
        let stage = process::children(process.pid())[0];
        kill(Pid::from_raw(stage), signal).unwrap();
        process
            .exits(code)
            .assert_stderr_contains(&format!("portero: the wait stage was ended by {signal}"));
    }
}
