//! What portero is as a process: its panics, its standard streams, its signal mask, its last words.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use log::LevelFilter;

use crate::cli::mode::Mode;
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::plan::Stage;
use crate::settings::Settings;
use crate::supervise::helper::Stops;
use crate::supervise::signals::SignalMap;
use crate::supervise::stops;
use crate::sys::signal_names;
use crate::{identity, logger, plan, redaction, sys};

/// For the commands that start nothing: a stop ends them at once, also as PID 1, where default dispositions do
/// nothing (`kill(2)`, notes). A health check ends with 1 then, and by a SIGABRT that somebody sends it.
pub fn take_stops_by_handler(mode: Mode, map: &SignalMap) -> Result<(), Failure> {
    let stops = stops::by_handler(map);
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
                    signal_names::name(signal)
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
pub fn print(text: &str) -> Exit {
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

/// Puts /dev/null where a standard stream is closed, for portero alone (close-on-exec): else the next connection would
/// get its number, and the log would go there. Where there is no /dev, the root directory serves, as a place that can
/// be neither read nor written (open(2), `O_PATH`).
pub fn fill_standard_streams() {
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
pub fn report_panics(mode: Mode, report: fn(Mode, &Failure) -> Exit) {
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

/// The logger for what `mode` does. `healthcheck` says one line, so it logs nothing but errors unless it is asked to.
///
/// # Errors
/// 125 for a level or a format that is none.
pub fn start_logger(settings: &Settings<'_>) -> Result<(), Failure> {
    let (mode, output) = (settings.typed.mode, plan::output(settings)?);
    let level = match (mode, output.level) {
        (Mode::Healthcheck, LevelFilter::Debug) => output.level,
        (Mode::Healthcheck, _) => LevelFilter::Error,
        (_, level) => level,
    };
    let step = match mode {
        Mode::Wait => Some(Stage::Wait.name()),
        Mode::Migrate => Some(Stage::Migrate.name()),
        Mode::Run | Mode::Healthcheck => None,
    };
    logger::start(level, output.format, step);
    Ok(())
}

/// Becomes the user that the settings name; returns the environment with that user's names in it.
///
/// # Errors
/// As `identity::become_user`.
pub fn drop_privileges(settings: &Settings<'_>, stops: Stops<'_>) -> Result<Environment, Failure> {
    let mut environment = settings.environment.clone();
    identity::become_user(&plan::identity(settings)?, &mut environment, stops)?;
    Ok(environment)
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
            Ok("healthcheck") => report_panics(Mode::Healthcheck, crate::report),
            Ok(_) => report_panics(Mode::Run, crate::report),
            Err(_) => {
                assert_panic("run", 125, "portero: internal error at src/process.rs:");
                assert_panic(
                    "healthcheck",
                    1,
                    "unhealthy: internal error at src/process.rs:",
                );
                return;
            }
        }
        panic!("hunter2");
    }

    fn assert_panic(mode: &str, code: i32, prefix: &str) {
        let name = "process::tests::a_panic_is_one_line_and_the_exit_code_of_its_mode";
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
