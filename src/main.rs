//! portero, the doorman of a container: argv → mode → exit code.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(fuzzing, allow(dead_code, missing_docs))]

mod cli;
mod database;
mod exit;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/targets.rs"]
mod fuzz;
mod healthcheck;
mod init;
mod logger;
mod migrate;
mod plan;
mod probe;
mod redaction;
mod settings;
mod setup;
mod sys;
mod wait;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cli::{Asked, Mode, Typed};
use exit::{Exit, Failure};
use init::signals::SignalMap;
use plan::{MigratePlan, OutputPlan, ProbePlan, RunPlan, WaitPlan};
use settings::Settings;
use setup::environment::{Environment, resolve};
use setup::helper::Stops;

/// Starts with all signals blocked (see `sys`), and returns the exit code.
#[cfg_attr(test, allow(dead_code))]
fn start(arguments: &[OsString]) -> u8 {
    let arguments = arguments.get(1..).unwrap_or_default();
    let (mode, _) = Mode::of(arguments);
    report_panics(mode);
    fill_standard_streams();
    let exit = match cli::parse(arguments) {
        Ok(Asked::Print(text)) => Ok(print(&text)),
        Ok(Asked::Work(typed)) => work(&typed),
        Err(failure) => Err(failure),
    };
    exit.unwrap_or_else(|failure| report(mode, &failure)).code()
}

fn work(typed: &Typed) -> Result<Exit, Failure> {
    let inherited = Environment::inherited();
    let settings = Settings {
        typed,
        environment: &inherited,
    };
    let output = plan::output(&settings)?;
    start_logger(typed.mode, output);
    let map = plan::stops_of(&settings);
    let (map, stops) = match typed.mode {
        // What is wrong with it is said with the plan.
        Mode::Run | Mode::Migrate => (map.unwrap_or_default(), None),
        Mode::Wait | Mode::Healthcheck => (map?, Some(Stops::Handled)),
    };
    if stops.is_some() {
        take_stops_by_handler(typed.mode, &map)?;
    }
    let stops = stops.unwrap_or(Stops::Taken(&map));
    if typed.mode == Mode::Healthcheck {
        return check_health(&settings);
    }
    let resolved = resolve(&settings, stops)?;
    let settings = Settings {
        environment: &resolved.environment,
        ..settings
    };
    let dry_run = settings.switch(cli::Opt::DryRun)?;
    match typed.mode {
        Mode::Wait => {
            let plan = WaitPlan::new(&settings)?;
            if dry_run {
                return Ok(print(&plan.describe()));
            }
            become_user(&settings, stops)?;
            wait::run(&plan).map(|()| Exit::Success)
        }
        Mode::Migrate => {
            let plan = MigratePlan::new(&settings)?;
            if dry_run {
                return Ok(print(&plan.describe(&resolved)));
            }
            let became = become_user(&settings, stops);
            init::stop_requested(&plan.supervision.map)?;
            migrate::run(&plan, became?)
        }
        Mode::Run | Mode::Healthcheck => {
            let plan = RunPlan::new(&settings, &resolved)?;
            plan.warnings
                .iter()
                .for_each(|warning| log::warn!("{warning}"));
            if dry_run {
                return Ok(print(&plan.describe(&resolved)));
            }
            init::run(plan)
        }
    }
}

/// Within one limit from here on, whatever takes the time: a secret's file, the user, the targets.
fn check_health(settings: &Settings<'_>) -> Result<Exit, Failure> {
    let started = Instant::now();
    // What is wrong with the limit, or is known only when all is resolved, comes with the plan.
    let limit = settings.limit(cli::Opt::Timeout);
    healthcheck::end_at_the_latest(started, limit.unwrap_or(Some(healthcheck::LIMIT)))?;
    let resolved = setup::needed::resolve(settings, Stops::Handled)?;
    let settings = Settings {
        environment: &resolved.environment,
        ..*settings
    };
    let plan = ProbePlan::new(&settings)?;
    if settings.switch(cli::Opt::DryRun)? {
        return Ok(print(&plan.describe()));
    }
    healthcheck::end_at_the_latest(started, plan.timeout)?;
    become_user(&settings, Stops::Handled)?;
    Ok(healthcheck::run(&plan, started))
}

fn become_user(settings: &Settings<'_>, stops: Stops<'_>) -> Result<Environment, Failure> {
    let mut environment = settings.environment.clone();
    setup::become_user(&plan::identity(settings)?, &mut environment, stops)?;
    Ok(environment)
}

/// `healthcheck` says one line, so it logs nothing but errors unless it is asked to.
fn start_logger(mode: Mode, output: OutputPlan) {
    let level = match (mode, output.level) {
        (Mode::Healthcheck, log::LevelFilter::Debug) => output.level,
        (Mode::Healthcheck, _) => log::LevelFilter::Error,
        (_, level) => level,
    };
    let step = match mode {
        Mode::Wait => Some(plan::Stage::Wait.name()),
        Mode::Migrate => Some(plan::Stage::Migrate.name()),
        Mode::Run | Mode::Healthcheck => None,
    };
    logger::start(level, output.format, step);
}

/// For the commands that start nothing: a stop ends them at once, also as PID 1, where default dispositions do
/// nothing (`kill(2)`, notes). A health check ends with 1 then, and by a SIGABRT that somebody sends it.
fn take_stops_by_handler(mode: Mode, map: &SignalMap) -> Result<(), Failure> {
    let stops = init::stops::by_handler(map);
    let aborts = [libc::SIGABRT].into_iter();
    let aborts = aborts.filter(|_| mode == Mode::Healthcheck);
    for signal in stops.iter().copied().chain(aborts) {
        let code = match mode {
            Mode::Healthcheck => i32::from(Exit::Unhealthy.code()),
            _ => 128 + signal,
        };
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, code, always).map_err(
            |error| {
                Failure::failed(format!(
                    "can't handle {}: {error}",
                    init::signals::name(signal)
                ))
            },
        )?;
    }
    // Whatever was blocked when this started: a stop must get through. A health check knows no other way to end.
    sys::set_signal_mask(match mode {
        Mode::Healthcheck => [libc::SIGABRT, libc::SIGALRM]
            .into_iter()
            .chain(stops)
            .fold(sys::SignalSet::ALL, sys::SignalSet::without),
        _ => (1..=64)
            .filter(|signal| map.apply(*signal).is_none())
            .fold(sys::SignalSet::NONE, sys::SignalSet::with)
            .with(libc::SIGPIPE),
    });
    Ok(())
}

/// Writes to stdout, whose end is nobody's reason to fail, with `***` for each secret.
fn print(text: &str) -> Exit {
    let text = redaction::without_secrets(text);
    // What waits for its reader here can be ended as any program.
    sys::set_signal_mask(sys::SignalSet::NONE);
    let mut stdout = std::io::stdout();
    sys::without_sigpipe(|| {
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
    });
    Exit::Success
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

/// Puts /dev/null where a standard stream is closed, for portero alone (close-on-exec): else the next connection would
/// get its number, and the log would go there. Where there is no /dev, the root directory serves, as a place that can
/// be neither read nor written (open(2), `O_PATH`).
fn fill_standard_streams() {
    let null = || OpenOptions::new().read(true).write(true).open("/dev/null");
    let root = || {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_PATH).open("/")
    };
    while let Ok(file) = null().or_else(|_| root()) {
        if file.as_raw_fd() > 2 {
            break;
        }
        let _ = file.into_raw_fd();
    }
}

/// A panic is one line and exit 125, of a health check 1: PID 1 can't even abort, as SIGABRT does nothing to it.
fn report_panics(mode: Mode) {
    match mode {
        Mode::Healthcheck => sys::fail_as("unhealthy: ", Exit::Unhealthy.code()),
        _ => sys::fail_as("portero: ", Exit::Failed.code()),
    }
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        let failure = Failure::failed(format!("internal error{place}: please report it"));
        sys::exit_now(report(mode, &failure).code());
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Which mode's hook to panic under, for the test that is run again as a child.
    const PANICS_AS: &str = "PORTERO_TEST_PANICS_AS";

    #[test]
    fn a_panic_is_one_line_and_the_exit_code_of_its_mode() {
        match std::env::var(PANICS_AS).as_deref() {
            Ok("healthcheck") => report_panics(Mode::Healthcheck),
            Ok(_) => report_panics(Mode::Run),
            Err(_) => {
                assert_panic("run", 125, "portero: internal error at src/main.rs:");
                assert_panic(
                    "healthcheck",
                    1,
                    "unhealthy: internal error at src/main.rs:",
                );
                return;
            }
        }
        panic!("hunter2");
    }

    fn assert_panic(mode: &str, code: i32, prefix: &str) {
        let name = "tests::a_panic_is_one_line_and_the_exit_code_of_its_mode";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(PANICS_AS, mode)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{mode}: {said}");
        let is_one_line = said.lines().count() == 1 && said.starts_with(prefix);
        assert!(is_one_line && !said.contains("hunter2"), "{mode}: {said}");
    }
}
