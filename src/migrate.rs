//! `portero migrate`: waits for the database, holds its migration lock, and runs the migrations meanwhile.

use std::os::fd::AsRawFd;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use crate::database::lock::{Acquired, Lock, Question, Wanted};
use crate::exit::{Exit, Failure};
use crate::init::permit::{Permit, wake_supervisor};
use crate::init::signals::{self, SignalMap};
use crate::init::{self, Place, image, leftovers, supervise::supervise_with};
use crate::plan::MigratePlan;
use crate::probe::words;
use crate::setup::environment::Environment;
use crate::{sys, wait};

/// What the lock's thread tells the one that supervises.
#[derive(Default)]
struct Orders {
    permit: Permit,
    /// Why the lock is lost.
    lost: OnceLock<String>,
}

/// Runs every migration in order. All signals must be blocked since the start of the process.
///
/// # Errors
/// 124 and 125 from the wait and the lock, the code of the first migration that failed, or the signal that came.
pub fn run(plan: &MigratePlan, environment: Environment) -> Result<Exit, Failure> {
    init::become_parent()?;
    if !plan.wait.targets.is_empty() {
        let (targets, map) = (plan.wait.clone(), &plan.supervision.map);
        interruptible(map, move || wait::run(&targets))?;
    }
    let orders = Arc::new(Orders::default());
    let lock = match lock(plan, &orders)? {
        Some(Acquired::Lock(lock)) => Some(lock),
        Some(Acquired::Recorded(record)) => {
            log::info!("nothing to migrate: {record}");
            return Ok(Exit::Success);
        }
        None => None,
    };
    let mut ended = run_all(plan, &environment.without_own(), lock.as_ref(), &orders);
    if let (Some(lock), Some(_), Ok(())) = (&lock, &plan.once, &ended) {
        ended = interruptible(&plan.supervision.map, lock.ask(Question::Record));
    }
    if let Some(reason) = orders.lost.get() {
        // What was left alone, with --orphan-grace none.
        leftovers::end_within(Some(Duration::ZERO), &plan.supervision.map, &orders.permit);
        drop(lock);
        return Err(Failure::failed(format!(
            "the migration lock is lost, so the migration was killed: {reason}"
        )));
    }
    match lock {
        // With --orphan-grace none; they have the lock's socket, and end it by their end.
        Some(lock) if leftovers::any_left() => lock.detach(),
        lock => drop(lock),
    }
    ended.map(|()| Exit::Success)
}

/// Takes the lock, when there is a database to take it from, and when there is anything to do under it.
fn lock(plan: &MigratePlan, orders: &Arc<Orders>) -> Result<Option<Acquired>, Failure> {
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
        writable_within: plan.wait.timeout,
        once: plan.once.clone(),
    };
    let orders = Arc::clone(orders);
    let lost = move |reason| {
        let _ = orders.lost.set(reason);
        orders.permit.withdraw();
    };
    interruptible(&plan.supervision.map, move || Lock::acquire(wanted, lost)).map(Some)
}

fn run_all(
    plan: &MigratePlan,
    environment: &Environment,
    lock: Option<&Lock>,
    orders: &Orders,
) -> Result<(), Failure> {
    let map = &plan.supervision.map;
    let commands: Vec<_> = plan.commands.iter().flatten().collect();
    let count = commands.len();
    for (i, command) in commands.into_iter().enumerate() {
        let name = command
            .first()
            .map_or_else(String::new, |name| name.display().to_string());
        let image = image::prepare(command, environment.clone())?;
        if let Some(lock) = lock {
            interruptible(map, lock.ask(Question::IsHeld))?;
        }
        log::info!("migration {} of {count}: {name}", i + 1);
        let socket = lock.map(Lock::socket).transpose()?;
        let inherited = socket.as_ref().map(AsRawFd::as_raw_fd);
        let child = init::start_inheriting(&image, map, Place::SharedJob, inherited)?;
        drop(socket);
        let outcome = supervise_with(child, &plan.supervision, &orders.permit);
        let exit = outcome.exit();
        if exit != Exit::Command(0) && outcome.stop.is_some() {
            return Err(Failure::new(exit, ""));
        }
        if exit != Exit::Command(0) {
            return Err(Failure::new(
                exit,
                format!(
                    "migration {} of {count}, {name}, failed: {}",
                    i + 1,
                    describe(exit)
                ),
            ));
        }
        if let Some(signal) = outcome.stop
            && i + 1 < count
        {
            return Err(stopped(signal));
        }
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
        // The loop below finds the result.
        wake_supervisor();
    });
    worker.map_err(|error| {
        Failure::failed(format!("no thread to ask in: {}", words::error(&error)))
    })?;
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
