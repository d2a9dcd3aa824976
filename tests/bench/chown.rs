//! What `--chown` costs for a volume of 200,000 files, beside `chown -R` and the `find ! -user … -exec chown` of the
//! official images: when nothing is to change, as at every restart, and when everything is.
//!
//! `cargo bench --bench chown` needs root and prints a table; nothing passes or fails. All of them take turns on the
//! same tree with warm caches, and a figure is the median of its runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::print_stdout,
    missing_docs
)]

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::figures::median;
use common::{TempDir, portero, tool};

const DIRECTORIES: usize = 2000;
const FILES_EACH: usize = 100;
const UNCHANGED_RUNS: usize = 15;
const CHANGED_RUNS: usize = 6;

fn main() {
    let directory = TempDir::new();
    let top = directory.join("data");
    for number in 0..DIRECTORIES {
        let place = top.join(format!("{}/{}", number % 40, number));
        fs::create_dir_all(&place).unwrap();
        for name in 0..FILES_EACH {
            fs::write(place.join(format!("file-{name}")), "").unwrap();
        }
    }
    println!(
        "| {} files | portero --chown | chown -R | find ! -user -exec chown |",
        DIRECTORIES * FILES_EACH
    );
    println!("|---|---:|---:|---:|");
    row(&top, "nothing to change, ms", UNCHANGED_RUNS, |_| 1234);
    row(&top, "everything to change, ms", CHANGED_RUNS, |turn| {
        2000 + turn
    });
}

/// A line of the table; `user` says to whom the tree is given at each turn.
fn row(top: &Path, what: &str, runs: usize, user: impl Fn(usize) -> usize) {
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    time(
        Command::new(tool("chown"))
            .arg("-R")
            .arg("1234:1234")
            .arg(top),
    );
    for run in 0..runs {
        for turn in 0..3 {
            // In another order each time: one's changes are written back while the next is at work.
            let index = (run + turn) % 3;
            let times = &mut times[index];
            let uid = user(run * 3 + turn);
            let both = format!("{uid}:{uid}");
            times.push(match index {
                0 => time(
                    Command::new(portero())
                        .args(["-q", "--user", &both, "--chown"])
                        .arg(top)
                        .args(["--exec", "--", "true"]),
                ),
                1 => time(Command::new(tool("chown")).args(["-R", &both]).arg(top)),
                _ => time(
                    Command::new(tool("find"))
                        .arg(top)
                        .args(["!", "-user", &uid.to_string()])
                        .args(["-exec", "chown", &both, "{}", "+"]),
                ),
            });
        }
    }
    let medians = times.map(median);
    println!(
        "| {what} | {:.0} | {:.0} | {:.0} |",
        medians[0], medians[1], medians[2]
    );
}

/// Milliseconds.
fn time(command: &mut Command) -> f64 {
    let start = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .status()
        .unwrap();
    assert!(status.success(), "{command:?}: {status}");
    start.elapsed().as_secs_f64() * 1e3
}
