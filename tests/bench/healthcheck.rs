//! What a health check costs, beside curl, wget, busybox wget and Python where they are installed.
//!
//! `cargo bench --bench healthcheck` probes a server on loopback by each of them in turn, on one core, so that what
//! else the machine does hits them alike, and prints medians; beside other work run it by `chrt -f 10`. It ends with 1
//! when portero takes more than its limits allow: a tenth of curl's time, three quarters of busybox wget's, 150 kB of
//! anonymous memory, one thread.

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
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use common::figures::{fastest_tenth, median};
use common::inits::status;
use common::process::field;
use common::{DEADLINE, Server, TempDir, installed, poll_until, portero, tool};

const ROUNDS: usize = 500;
const MEMORY_RUNS: usize = 5;

/// A healthy answer, and most of one.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
const BEGINNING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n";

/// A way to probe a URL, which is its last argument.
struct Prober {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<&'static str>,
}

/// What a probe of it takes.
#[derive(Clone, Debug, Default)]
struct Cost {
    median: f64,
    /// The tenth percentile: what is left of the time when nothing else runs on the machine.
    fast: f64,
    peak: f64,
    anonymous: f64,
    threads: f64,
}

fn main() {
    // As an image's layer is unpacked: written from its beginning to its end. What a linker has written lies in the
    // page cache in small pieces, and takes a fifth longer to start.
    let directory = TempDir::new();
    let copy = directory.join("portero");
    fs::copy(portero(), &copy).unwrap();
    let probers = probers(copy);
    let costs: Vec<Cost> = times(&probers)
        .into_iter()
        .zip(probers.iter().map(memory))
        .map(|((median, fast), cost)| Cost {
            median,
            fast,
            ..cost
        })
        .collect();
    print_table(&probers, &costs);
    let kept = keeps_limits(&probers, &costs);
    drop(directory);
    std::process::exit(i32::from(!kept));
}

/// portero, and what people write into their HEALTHCHECK otherwise.
fn probers(portero: PathBuf) -> Vec<Prober> {
    let urllib = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=3)";
    let curl = "curl -fsS -o /dev/null \"$0\" || exit 1";
    let others: [(&str, &str, &[&str]); 5] = [
        ("busybox wget", "busybox", &["wget", "-q", "--spider"]),
        ("wget", "wget", &["-q", "--spider"]),
        ("curl", "curl", &["-fsS", "-o", "/dev/null"]),
        ("sh -c curl", "sh", &["-c", curl]),
        ("python3 urllib", "python3", &["-c", urllib]),
    ];
    let mut probers = vec![Prober {
        name: "portero",
        program: portero,
        arguments: vec!["healthcheck"],
    }];
    for (name, program, arguments) in others {
        let missing = [program, "curl"]
            .into_iter()
            .filter(|needed| *needed == program || arguments == ["-c", curl])
            .find(|needed| installed(needed).is_none());
        match missing {
            Some(missing) => say(format_args!(
                "not measured: {name}, as {missing} is not installed"
            )),
            None => probers.push(Prober {
                name,
                program: tool(program),
                arguments: arguments.to_vec(),
            }),
        }
    }
    probers
}

impl Prober {
    fn command(&self, address: impl Display) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg(format!("http://{address}/health"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// The wall time of a probe, in microseconds, from before the fork to its status: its median and its tenth percentile.
fn times(probers: &[Prober]) -> Vec<(f64, f64)> {
    let cores = status(own_pid(), "Cpus_allowed_list").unwrap();
    pin_to(cores.split([',', '-']).next().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // As cheap a server as there can be: what it takes is in every figure.
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(ANSWER);
        }
    });
    let mut times = vec![Vec::new(); probers.len()];
    for round in 0..ROUNDS {
        for (prober, times) in probers.iter().zip(&mut times) {
            // A twentieth of a second each.
            if prober.name.starts_with("python") && round % 10 > 0 {
                continue;
            }
            let mut command = prober.command(address);
            let start = Instant::now();
            assert!(command.status().unwrap().success(), "{command:?}");
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    pin_to(&cores);
    times
        .into_iter()
        .map(|times| (median(times.clone()), fastest_tenth(times)))
        .collect()
}

/// What a probe holds, in kilobytes, while it waits for the end of its answer's head.
fn memory(prober: &Prober) -> Cost {
    let server = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(BEGINNING);
        while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
    });
    let (mut peak, mut anonymous, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=MEMORY_RUNS {
        let mut child = prober.command(server.address()).spawn().unwrap();
        let leader = child.id().cast_signed();
        let settled = poll_until(DEADLINE, || {
            // A shell's child is the one that probes.
            let pid = common::process::children(leader).first().copied();
            let pid = pid.unwrap_or(leader);
            let answered = server.connections() >= run && common::inits::sleeps(pid);
            answered.then_some(pid)
        });
        let pid = settled.unwrap_or_else(|| panic!("{} never asked", prober.name));
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let kilobytes = |text: String| text.trim_end_matches(" kB").parse().unwrap();
        anonymous.push(kilobytes(field(&rollup, "Anonymous").unwrap()));
        peak.push(kilobytes(status(pid, "VmHWM").unwrap()));
        threads.push(status(pid, "Threads").unwrap().parse().unwrap());
        let _ = child.kill();
        let _ = child.wait();
    }
    Cost {
        median: 0.0,
        fast: 0.0,
        peak: median(peak),
        anonymous: median(anonymous),
        threads: median(threads),
    }
}

/// What of portero's limits can be told here: says each that is missed.
fn keeps_limits(probers: &[Prober], costs: &[Cost]) -> bool {
    let own = &costs[0];
    let time = |name: &str| {
        let index = probers.iter().position(|prober| prober.name == name)?;
        Some(costs[index].median)
    };
    let limits = [
        (
            "µs, a tenth of curl's",
            own.median,
            time("curl").map(|time| time / 10.0),
        ),
        (
            "µs, three quarters of busybox wget's",
            own.median,
            time("busybox wget").map(|time| time * 0.75),
        ),
        ("kB of anonymous memory", own.anonymous, Some(150.0)),
        ("thread", own.threads, Some(1.0)),
    ];
    let mut kept = true;
    for (unit, figure, limit) in limits {
        if let Some(limit) = limit.filter(|limit| figure > *limit) {
            say(format_args!(
                "\nlimit missed: {figure:.0}, and may be {limit:.0} {unit}"
            ));
            kept = false;
        }
    }
    kept
}

/// Markdown.
fn print_table(probers: &[Prober], costs: &[Cost]) {
    say(
        "\n| probe of a server on loopback | time, µs | fastest tenth, µs | peak memory, kB | of it anonymous | threads |",
    );
    say("|---|---:|---:|---:|---:|---:|");
    for (prober, cost) in probers.iter().zip(costs) {
        say(format_args!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            prober.name, cost.median, cost.fast, cost.peak, cost.anonymous, cost.threads
        ));
    }
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

fn say(line: impl Display) {
    println!("{line}");
}
