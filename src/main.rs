//! portero, the doorman of a container: argv → mode → exit code.
//!
//! The rooms, from the top down; a room uses those below it, never one above, and no two files use each other
//! (`tests/house.rs` reads the `use` lines):
//!
//! | room | what is there |
//! |---|---|
//! | `run`, `migrate`, `wait`, `healthcheck` | the four modes, each a story from its settings to its exit |
//! | `process` | panics, standard streams, handlers of stops, what goes to stdout |
//! | `plan` | what is meant: typed plans, made purely |
//! | `variables` | secrets, `PORT`, defaults |
//! | `identity` | whom to become, and what is given away before |
//! | `probe` | one question to one target |
//! | `supervise` | the one loop: starts, forwards, reaps, ends what is left |
//! | `database` | URLs of PostgreSQL, its login, its migration lock |
//! | `settings` | for each option the value that counts |
//! | `environment` | variables, their expansion, words |
//! | `net` | deadlines, addresses, names, connections, TLS |
//! | `cli` | what was typed |
//! | `logger`, `files`, `accounts`, `procfs`, `cgroup` | lines, files, passwd, /proc, control groups |
//! | `wording`, `redaction`, `exit` | words, secrets, codes |
//! | `features` | what this build has, and how what it lacks is refused |
//! | `sys` | the only unsafe code |
#![cfg_attr(not(test), no_main)]
#![cfg_attr(fuzzing, allow(dead_code, missing_docs))]
// What a smaller build leaves unused, the full one uses.
#![cfg_attr(
    not(all(feature = "postgres", feature = "tls", feature = "redis")),
    allow(dead_code, unused_imports)
)]

mod accounts;
mod cgroup;
mod cli;
#[cfg(feature = "postgres")]
mod database;
#[cfg(not(feature = "postgres"))]
#[path = "database/absent.rs"]
mod database;
mod environment;
mod exit;
mod features;
mod files;
#[cfg(all(any(test, fuzzing), feature = "postgres", feature = "redis"))]
#[path = "../tests/fuzz/targets.rs"]
mod fuzz;
mod healthcheck;
mod identity;
mod logger;
mod migrate;
mod net;
mod plan;
mod probe;
mod process;
mod procfs;
mod redaction;
mod run;
mod settings;
mod supervise;
mod sys;
#[cfg(test)]
#[path = "../tests/common/table.rs"]
mod table;
mod variables;
mod wait;
mod wording;

use std::ffi::OsString;

use cli::Asked;
use cli::mode::Mode;
use cli::stand_in::StandIn;
use exit::{Exit, Failure};

#[cfg(not(any(test, fuzzing)))]
sys::entry::begin_with!(start);

/// Starts with all signals blocked (see `sys::entry`), and returns the exit code.
#[cfg_attr(test, allow(dead_code))]
fn start(arguments: &[OsString]) -> u8 {
    let stand_in = arguments.first().and_then(|name| StandIn::of(name));
    let arguments = arguments.get(1..).unwrap_or_default();
    let mode = stand_in.map_or_else(|| Mode::of(arguments).0, |_| Mode::Run);
    process::report_panics(mode, report);
    process::fill_standard_streams();
    let asked = match stand_in {
        Some(tool) => tool.translate(arguments, &|name| std::env::var_os(name)),
        None => cli::parse(arguments),
    };
    let exit = match asked {
        Ok(Asked::Print(text)) => Ok(process::print(&text)),
        Ok(Asked::Work(typed)) => match mode {
            Mode::Run => run::begin(&typed),
            Mode::Wait => wait::begin(&typed),
            Mode::Migrate => migrate::begin(&typed),
            Mode::Healthcheck => healthcheck::begin(&typed),
        },
        Err(failure) => Err(failure),
    };
    let exit = exit.unwrap_or_else(|failure| report(mode, &failure));
    stand_in.map_or(exit, |tool| tool.exit(exit)).code()
}

/// Says why the run ends.
fn report(mode: Mode, failure: &Failure) -> Exit {
    if mode == Mode::Healthcheck {
        return healthcheck::unhealthy(&failure.message);
    }
    if !failure.message.is_empty() {
        logger::write_failure(failure);
    }
    failure.exit
}
