//! How many requests the stop of a real application cuts, by portero, other inits and none; prints a table.
//!
//! `tests/stops/run` installs what is missing and measures everything; `cargo bench --bench stops -- node puma` does
//! the applications with these words in their names. It fails when portero cuts more than it may.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

#[path = "../stops/applications.rs"]
mod applications;
#[path = "../stops/backend.rs"]
mod backend;
#[path = "../stops/bar.rs"]
mod bar;
#[path = "../stops/clients.rs"]
mod clients;
#[path = "../common/mod.rs"]
mod common;
#[path = "../stops/install.rs"]
mod install;
#[path = "../stops/services.rs"]
mod services;
#[path = "../stops/stop.rs"]
mod stop;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use applications::{APPLICATIONS, Application, REQUESTS};
use bar::missed;
use common::Ended;
use nix::sys::signal::Signal;
use stop::{Pid1, Reloaded, Stopped, reload, stop};

/// How many are measured at the same time: they wait most of it.
const AT_ONCE: usize = 3;

/// What was measured of an application, and what of it may not be.
#[derive(Default)]
struct Measured {
    stops: Vec<(Pid1, Stopped)>,
    /// By portero and by dumb-init, which tells the group.
    reloads: Vec<(Signal, Reloaded, Reloaded)>,
    failed: Vec<String>,
}

fn main() -> ExitCode {
    // cargo adds an option of its own.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let is_wanted = |row: &&Application| {
        wanted.is_empty() || wanted.iter().any(|word| row.name.contains(word.as_str()))
    };
    let rows: Vec<&Application> = APPLICATIONS.iter().filter(is_wanted).collect();
    let measured = measure_all(&rows);
    print_table(&measured);
    let failed: Vec<&String> = measured.iter().flat_map(|(_, row)| &row.failed).collect();
    for line in &failed {
        println!("FAILED {line}");
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// All rows, several at the same time, in the order of the table.
fn measure_all<'a>(rows: &[&'a Application]) -> Vec<(&'a Application, Measured)> {
    let next = AtomicUsize::new(0);
    let measured = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(&row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let all = measure(row);
                    measured.lock().unwrap().push((row, all));
                }
            });
        }
    });
    let mut measured = measured.into_inner().unwrap();
    let place = |row: &Application| rows.iter().position(|other| other.name == row.name);
    measured.sort_by_key(|(row, _)| place(row));
    measured
}

/// One application by every init; what can't be measured is a failure.
fn measure(row: &Application) -> Measured {
    let mut all = Measured::default();
    for init in Pid1::ALL {
        if init == Pid1::WithLine && row.line.is_empty() {
            continue;
        }
        match attempt(|| stop(row, init)) {
            Ok(stopped) => all.stops.push((init, stopped)),
            Err(why) => all
                .failed
                .push(format!("{}, {}: {why}", row.name, init.name())),
        }
    }
    for &signal in row.reloads {
        let both = || {
            (
                reload(row, Pid1::Portero, signal),
                reload(row, Pid1::DumbInit, signal),
            )
        };
        match attempt(both) {
            Ok((portero, other)) => all.reloads.push((signal, portero, other)),
            Err(why) => all.failed.push(format!("{}, {signal}: {why}", row.name)),
        }
    }
    all.failed.extend(missed(row, &all.stops));
    for (signal, portero, _) in &all.reloads {
        if portero.cut > 0 || !portero.serves {
            all.failed
                .push(format!("{}, {signal}: {portero:?}", row.name));
        }
    }
    eprintln!("{}", line(row, &all));
    all
}

fn attempt<T>(measure: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(measure)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.unwrap_or_else(|| "it panicked".to_owned())
    })
}

fn print_table(measured: &[(&Application, Measured)]) {
    let names: Vec<&str> = Pid1::ALL.iter().map(|init| init.name()).collect();
    println!(
        "| application | {} | reloads, portero / dumb-init | its line |",
        names.join(" | ")
    );
    println!("|---|{}---|---|", "---|".repeat(names.len()));
    for (row, all) in measured {
        println!("{}", line(row, all));
    }
    let lossless: Vec<String> = Pid1::ALL
        .iter()
        .map(|init| {
            measured
                .iter()
                .filter(|(row, all)| lost_nothing(row, *init, all))
                .count()
        })
        .map(|count| format!("**{count}**"))
        .collect();
    let count = measured.len();
    println!(
        "| **lost nothing, of {count}** | {} | | |",
        lossless.join(" | ")
    );
}

/// By the default, where the application wants no line.
fn lost_nothing(row: &Application, init: Pid1, all: &Measured) -> bool {
    let init = match init {
        Pid1::WithLine if row.line.is_empty() => Pid1::Portero,
        other => other,
    };
    let found = all.stops.iter().find(|(other, _)| *other == init);
    found.is_some_and(|(_, stopped)| stopped.loss(row) == 0)
}

fn line(row: &Application, all: &Measured) -> String {
    let cells: Vec<String> = Pid1::ALL.iter().map(|init| cell(*init, all)).collect();
    let reloads: Vec<String> = all
        .reloads
        .iter()
        .map(|(signal, portero, other)| {
            let name = signal.as_str().trim_start_matches("SIG");
            format!("{name} {} / {}", portero.cut, other.cut)
        })
        .collect();
    let options = if row.line.is_empty() {
        String::new()
    } else {
        format!("`{}`", row.line.join(" "))
    };
    format!(
        "| {} | {} | {} | {options} |",
        row.name,
        cells.join(" | "),
        reloads.join(", ")
    )
}

/// Requests cut, exit code, seconds.
fn cell(init: Pid1, all: &Measured) -> String {
    let found = all.stops.iter().find(|(other, _)| *other == init);
    let Some((_, stopped)) = found else {
        return String::new();
    };
    let code = match stopped.ended {
        None => return "hangs".to_owned(),
        Some(Ended::Code(code)) => code,
        Some(Ended::Signal(number)) => 128 + number,
    };
    let cut = match (stopped.cut, stopped.of) {
        (cut, of) if cut > REQUESTS => format!("{cut} of {of}"),
        (cut, _) => cut.to_string(),
    };
    format!("{cut} ({code}, {:.1} s)", stopped.after.as_secs_f64())
}
