//! A helper process for what may hang before COMMAND: a secret's file, a tree that is given away, on a mount that is
//! dead. It is a fork of portero, root as long as portero is; a stop kills it and ends the run at once. Only one that
//! the kernel can't kill (uninterruptible sleep) is left behind.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::exit::{Exit, Failure};
use crate::supervise::signals::SignalMap;
use crate::supervise::{start, stops};
use crate::sys;

/// How this process hears of a stop while a helper works.
#[derive(Clone, Copy, Debug)]
pub enum Stops<'a> {
    /// All signals are blocked and taken one by one; the map says which of them are dropped.
    Taken(&'a SignalMap),
    /// A handler ends the process, as a health check's alarm does; the helper ends with it.
    Handled,
}

/// Has a helper do `work`, and returns what it answered.
///
/// # Errors
/// What `work` says (125), the stop that came meanwhile, or that no helper can be made.
pub fn run(
    stops: Stops<'_>,
    work: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>, Failure> {
    let broken = |error: io::Error| Failure::failed(format!("no helper process: {error}"));
    let mut answer = File::from(
        memfd_create(c"answer", MFdFlags::MFD_CLOEXEC).map_err(|errno| broken(errno.into()))?,
    );
    start::claim_children()?;
    if let Stops::Taken(map) = stops {
        stops::stop_requested(map)?;
    }
    let helper = sys::fork(|| {
        let (code, text) = match work() {
            Ok(answer) => (0, answer),
            Err(message) => (Exit::Failed.code(), message.into_bytes()),
        };
        answer
            .write_all(&text)
            .map_or(Exit::TimedOut.code(), |()| code)
    });
    let helper = helper.map_err(broken)?;
    let status = match stops {
        Stops::Taken(map) => end_or_stop(helper, map)?,
        Stops::Handled => sys::end_of(helper, true)
            .map_err(broken)?
            .unwrap_or_default(),
    };
    let mut text = Vec::new();
    answer
        .rewind()
        .and_then(|()| answer.read_to_end(&mut text))
        .map_err(broken)?;
    match status.code() {
        Some(0) => return Ok(text),
        Some(code) if code == i32::from(Exit::Failed.code()) => {}
        _ => text = format!("a helper process ended early: {status}").into_bytes(),
    }
    if let Stops::Taken(map) = stops {
        // The stop counts, whatever became of the step that it found.
        stops::stop_requested(map)?;
    }
    Err(Failure::failed(String::from_utf8_lossy(&text)))
}

/// Waits until the helper has ended, or a stop ends the run.
fn end_or_stop(helper: i32, map: &SignalMap) -> Result<std::process::ExitStatus, Failure> {
    loop {
        let found = sys::end_of(helper, false);
        if let Some(status) =
            found.map_err(|error| Failure::failed(format!("no helper process: {error}")))?
        {
            return Ok(status);
        }
        if let Some(signal) = sys::next_signal(None)
            && stops::ends_run(signal.number, map)
        {
            let _ = sys::kill(helper, libc::SIGKILL);
            return Err(stops::stopped(signal.number));
        }
    }
}
