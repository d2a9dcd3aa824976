//! What portero costs as an init, beside dumb-init, tini and catatonit where Debian's packages of them are installed.
//!
//! `cargo bench --bench init` measures everything, `cargo bench --bench init -- start-up orphans` those two parts. It
//! needs root, for PID namespaces, and prints a table; nothing passes or fails. All inits take turns, so that what else
//! the machine does hits them alike. The smallest build is measured, too, where target/minimal has it. A figure is the
//! median of its runs; a time is that of the fastest tenth of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::print_stdout,
    missing_docs
)]

#[path = "../common/mod.rs"]
mod common;

use std::fmt::Display;
use std::fs;
use std::io::{Write, pipe};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::early::{Since, loses_term, sweep};
use common::figures::{fastest_tenth, median};
use common::inits::{Init, is_at_rest, sleeps, status};
use common::process::children;
use common::{DEADLINE, Process, TempDir, poll_until, tool};

const START_UPS: usize = 1000;
const MEMORY_RUNS: usize = 5;
const TERMS: u32 = 300;
const ORPHANS: usize = 20_000;
const ORPHAN_RUNS: usize = 5;
const IDLE: Duration = Duration::from_secs(10);

/// A part of the table, measured on all inits.
type Part = fn(&[Init]) -> Vec<Row>;

/// A line of the table: one figure for each init, in the order of the heading.
struct Row {
    what: String,
    figures: Vec<f64>,
}

fn main() {
    let (others, missing) = Init::others_installed();
    let directory = TempDir::new();
    let own = [Some(Init::portero()), Init::portero_minimal_if_built()];
    let own = own.into_iter().flatten();
    let own = own.map(|portero| copied(portero, &directory));
    let inits: Vec<Init> = own.chain(others).collect();
    if !missing.is_empty() {
        say(format_args!(
            "not installed, so not measured: {} (apt-get install -y dumb-init tini catatonit)",
            missing.join(", ")
        ));
    }
    let parts: [(&str, Part); 5] = [
        ("start-up", start_up),
        ("memory", memory),
        ("term", term),
        ("orphans", orphans),
        ("idle", idle),
    ];
    // cargo adds an option of its own.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let mut rows = Vec::new();
    for (name, measure) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            say(format_args!("measuring {name} …"));
            rows.extend(measure(&inits));
        }
    }
    print_table(&inits, &rows);
}

/// portero as an image gets it: copied. A linker leaves its file in the page cache in small pieces, and each one costs
/// a page fault at every start.
fn copied(portero: Init, directory: &TempDir) -> Init {
    let program = directory.join(portero.name);
    fs::copy(&portero.program, &program).unwrap();
    Init { program, ..portero }
}

/// The wall time of `INIT -- /bin/true`, from before the fork to its status, on one core.
fn start_up(inits: &[Init]) -> Vec<Row> {
    let before = allowed_cores();
    pin_to(before.split([',', '-']).next().unwrap());
    let alone = Command::new(tool("true"));
    let mut commands: Vec<Command> = inits
        .iter()
        .map(|init| {
            let mut command = Command::new(&init.program);
            // tini warns when it is not PID 1, unless it is told to be a subreaper, as the others are anyway.
            if init.name.starts_with("tini") {
                command.arg("-s");
            }
            command.arg("--").arg(tool("true"));
            command
        })
        .chain([alone])
        .collect();
    let mut times = vec![Vec::new(); commands.len()];
    for _ in 0..START_UPS {
        for (command, times) in commands.iter_mut().zip(&mut times) {
            command
                .env_clear()
                .env("PATH", "/usr/local/bin:/usr/bin:/bin")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let start = Instant::now();
            assert!(command.status().unwrap().success(), "{command:?}");
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    pin_to(&before);
    let mut figures: Vec<f64> = times.into_iter().map(fastest_tenth).collect();
    let alone = figures.pop().unwrap();
    vec![Row {
        what: format!("start-up of `-- /bin/true`, µs (alone: {alone:.0})"),
        figures,
    }]
}

/// As PID 1 over a command that sleeps.
fn memory(inits: &[Init]) -> Vec<Row> {
    let mut resident = vec![Vec::new(); inits.len()];
    let mut anonymous = vec![Vec::new(); inits.len()];
    for _ in 0..MEMORY_RUNS {
        for (index, init) in inits.iter().enumerate() {
            let (_process, pid) = settled(init);
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let kilobytes = |name| {
                let value = common::process::field(&rollup, name).unwrap();
                value.trim_end_matches(" kB").parse::<f64>().unwrap()
            };
            resident[index].push(kilobytes("Rss"));
            anonymous[index].push(kilobytes("Anonymous"));
        }
    }
    let row = |what: &str, runs: Vec<Vec<f64>>| Row {
        what: what.into(),
        figures: runs.into_iter().map(median).collect(),
    };
    vec![
        row("RSS as PID 1, kB", resident),
        row("anonymous memory as PID 1, kB", anonymous),
    ]
}

/// A SIGTERM to PID 1 at points swept over the first 3 ms after its exec.
fn term(inits: &[Init]) -> Vec<Row> {
    let mut lost = vec![0; inits.len()];
    for delay in sweep(TERMS) {
        for (init, lost) in inits.iter().zip(&mut lost) {
            *lost += u32::from(loses_term(init, Since::Executed, delay));
        }
    }
    vec![Row {
        what: format!("SIGTERM lost in the first 3 ms, of {TERMS}"),
        figures: lost.into_iter().map(f64::from).collect(),
    }]
}

/// The CPU time that PID 1 takes for orphans which end a hundred at a time.
fn orphans(inits: &[Init]) -> Vec<Row> {
    let batch = 100;
    let script = format!(
        "echo ready; read go; i=0; while [ $i -lt {} ]; do i=$((i+1)); ({}); done; echo done; read end",
        ORPHANS / batch,
        ": & ".repeat(batch)
    );
    let mut times = vec![Vec::new(); inits.len()];
    for _ in 0..ORPHAN_RUNS {
        for (init, times) in inits.iter().zip(&mut times) {
            let (input, mut go) = pipe().unwrap();
            let mut process = init.run(&["sh", "-c", &script]).pid1().start_with(input);
            process.until_stdout("ready");
            let pid = process.pid();
            until(|| sleeps(pid), &process);
            let before = cpu_time(pid);
            go.write_all(b"go\n").unwrap();
            process.until_stdout("done");
            until(|| sleeps(pid) && children(pid).len() == 1, &process);
            times.push((cpu_time(pid) - before).as_secs_f64() * 1e3);
        }
    }
    vec![Row {
        what: format!("CPU time of reaping {ORPHANS} orphans, ms"),
        figures: times.into_iter().map(fastest_tenth).collect(),
    }]
}

/// How often PID 1 wakes up while nothing happens, all of them at the same time.
fn idle(inits: &[Init]) -> Vec<Row> {
    let running: Vec<(Process, i32)> = inits.iter().map(settled).collect();
    let wake_ups = || -> Vec<f64> {
        let count = |pid| status(pid, "voluntary_ctxt_switches").unwrap();
        running
            .iter()
            .map(|(_, pid)| count(*pid).parse().unwrap())
            .collect()
    };
    let before = wake_ups();
    thread::sleep(IDLE);
    let after = wake_ups();
    let figures = after.iter().zip(before).map(|(now, before)| now - before);
    vec![Row {
        what: format!("wake-ups in {} s of idling", IDLE.as_secs()),
        figures: figures.collect(),
    }]
}

/// `init` as PID 1 over a command that sleeps, with all the work of its start done.
fn settled(init: &Init) -> (Process, i32) {
    let sleep = tool("sleep").canonicalize().unwrap();
    let (process, pid) = init.executed(&[sleep.to_str().unwrap(), "1000"]);
    until(|| is_at_rest(pid, &sleep), &process);
    (process, pid)
}

fn until(condition: impl Fn() -> bool, process: &Process) {
    let came = poll_until(DEADLINE, || condition().then_some(()));
    assert!(came.is_some(), "never came to rest{process}");
}

/// Time on a CPU, of a process that sleeps (`proc_pid_schedstat`, Documentation/scheduler/sched-stats.rst).
fn cpu_time(pid: i32) -> Duration {
    let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let nanoseconds = schedstat.split_whitespace().next().unwrap();
    Duration::from_nanos(nanoseconds.parse().unwrap())
}

fn allowed_cores() -> String {
    status(own_pid(), "Cpus_allowed_list").unwrap()
}

/// Keeps this thread, and what it starts from now on, on these cores.
fn pin_to(cores: &str) {
    let set = Command::new(tool("taskset"))
        .args(["-p", "-c", cores, &own_pid().to_string()])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(set.success(), "taskset -p -c {cores}: {set}");
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// Markdown, with what portero takes for each 1 of the best of the others in the last column.
fn print_table(inits: &[Init], rows: &[Row]) {
    let names: Vec<&str> = inits.iter().map(|init| init.name).collect();
    say(format_args!(
        "\n| | {} | portero / best other |",
        names.join(" | ")
    ));
    say(format_args!("|---|{}", "---:|".repeat(names.len() + 1)));
    let own = names.iter().filter(|name| name.starts_with("portero"));
    let own = own.count();
    for row in rows {
        let figures: Vec<String> = row
            .figures
            .iter()
            .map(|figure| format!("{figure:.0}"))
            .collect();
        let best = row.figures.iter().skip(own).copied().min_by(f64::total_cmp);
        let ratio = match best {
            Some(best) if best > 0.0 => format!("{:.2}", row.figures[0] / best),
            _ => "–".into(),
        };
        say(format_args!(
            "| {} | {} | {ratio} |",
            row.what,
            figures.join(" | ")
        ));
    }
}

fn say(line: impl Display) {
    println!("{line}");
}
