//! `portero migrate`: waits for the database, holds its migration lock, and runs the migrations meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use crate::database::lock::{Acquired, Lock, Wanted};
use crate::exit::{Exit, Failure};
use crate::init::signals::{self, SignalMap};
use crate::init::{self, Place, image, supervise::supervise};
use crate::plan::MigratePlan;
use crate::setup::environment::Environment;
use crate::{sys, wait};

/// Runs every migration in order. All signals must be blocked since the start of the process.
///
/// # Errors
/// 124 and 125 from the wait and the lock, the code of the first migration that failed, or the signal that came.
pub fn run(plan: &MigratePlan, environment: Environment) -> Result<Exit, Failure> {
    init::become_parent();
    if !plan.wait.targets.is_empty() {
        let (targets, map) = (plan.wait.clone(), &plan.supervision.map);
        interruptible(map, move || wait::run(&targets))?;
    }
    let lost = Arc::new(AtomicBool::new(false));
    let lock = match lock(plan, &lost)? {
        Some(Acquired::Lock(lock)) => Some(lock),
        Some(Acquired::Recorded(record)) => {
            log::info!("nothing to migrate: {record}");
            return Ok(Exit::Success);
        }
        None => None,
    };
    let mut ended = run_all(plan, &environment.without_own());
    if let (Some(lock), Some(_), Ok(())) = (&lock, &plan.once, &ended) {
        ended = lock.record();
    }
    drop(lock);
    if lost.load(Ordering::SeqCst) {
        return Err(Failure::failed(
            "the migration lock was lost, so the migration was stopped: another one may have run",
        ));
    }
    ended.map(|()| Exit::Success)
}

/// Takes the lock, when there is a database to take it from, and when there is anything to do under it.
fn lock(plan: &MigratePlan, lost: &Arc<AtomicBool>) -> Result<Option<Acquired>, Failure> {
    let Some(url) = plan
        .database
        .as_ref()
        .and_then(|database| database.postgres())
        .cloned()
    else {
        return Ok(None);
    };
    let wanted = Wanted {
        url,
        name: plan.lock_name.clone(),
        timeout: plan.lock_timeout,
        once: plan.once.clone(),
    };
    let lost = Arc::clone(lost);
    let stop_migration = move |reason: String| {
        log::error!("the migration lock is lost ({reason}): stopping the migration");
        lost.store(true, Ordering::SeqCst);
        // The supervising thread takes it like any other stop: forwards it, waits, goes no further.
        let _ = sys::kill(own_pid(), libc::SIGTERM);
    };
    interruptible(&plan.supervision.map, move || {
        Lock::acquire(wanted, stop_migration)
    })
    .map(Some)
}

fn run_all(plan: &MigratePlan, environment: &Environment) -> Result<(), Failure> {
    let mut stop = None;
    for command in plan.commands.iter().flatten() {
        if let Some(signal) = stop {
            return Err(stopped(signal));
        }
        let name = command
            .first()
            .map_or_else(String::new, |name| name.display().to_string());
        log::info!("migrating: {name}");
        let image = image::prepare(command, environment.clone())?;
        let child = init::start(&image, &plan.supervision.map, Place::SharedJob)?;
        let outcome = supervise(child, &plan.supervision);
        let exit = outcome.exit();
        if exit != Exit::Command(0) && outcome.stop.is_some() {
            return Err(Failure::new(exit, ""));
        }
        if exit != Exit::Command(0) {
            return Err(Failure::new(
                exit,
                format!("the migration {name} failed: {}", describe(exit)),
            ));
        }
        stop = outcome.stop;
    }
    Ok(())
}

/// A stop needs no line here: who sent it knows, and a portero above that was told to stop says so itself.
fn stopped(signal: i32) -> Failure {
    Failure::new(Exit::Signal(signal), "")
}

fn describe(exit: Exit) -> String {
    match exit {
        Exit::Signal(signal) => format!("ended by {}", signals::name(signal)),
        exit => format!("exit code {}", exit.code()),
    }
}

/// Does `work` in a thread while this one takes signals, so that a stop ends it at once. What the thread holds, a
/// connection or its place in a queue, ends with the process.
fn interruptible<T: Send + 'static>(
    map: &SignalMap,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = mpsc::channel();
    let worker = thread::Builder::new().spawn(move || {
        let _ = sender.send(work());
        // Wakes the loop below, which finds the result. SIGCHLD is the one signal that is expected at any time and
        // means nothing by itself.
        let _ = sys::kill(own_pid(), libc::SIGCHLD);
    });
    worker.map_err(|error| Failure::failed(format!("can't start a thread: {error}")))?;
    loop {
        if let Some(signal) = sys::next_signal(None)
            && init::ends_run(signal.number, map)
        {
            return Err(stopped(signal.number));
        }
        if let Ok(result) = receiver.try_recv() {
            return result;
        }
    }
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}
