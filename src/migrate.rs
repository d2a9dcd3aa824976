//! `portero migrate`: waits for the database, holds its migration lock, and runs the migrations meanwhile.

use std::os::fd::AsRawFd;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use crate::cli::{Opt, Typed};
use crate::database::lock::key::Wanted;
use crate::database::lock::shared::Request;
use crate::database::lock::{Acquired, Lock};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::plan::{self, MigratePlan};
use crate::settings::Settings;
use crate::supervise::clearance::{Clearance, wake_supervisor};
use crate::supervise::helper::Stops;
use crate::supervise::signals::SignalMap;
use crate::supervise::start::{ProcessGroup, become_parent, start_inheriting};
use crate::supervise::stops::{ends_run, stop_requested};
use crate::supervise::{leftovers, program, supervise};
use crate::sys::signal_names;
use crate::{process, sys, variables, wait, wording};

/// What the lock's thread tells the one that supervises.
#[derive(Default)]
struct Orders {
    clearance: Clearance,
    /// Why the lock is lost.
    lost: OnceLock<String>,
}

/// From the command line to the end of the migrations.
///
/// # Errors
/// Usage errors, 125; else as [`run`].
pub fn begin(typed: &Typed) -> Result<Exit, Failure> {
    let inherited = Environment::inherited();
    let settings = Settings::new(typed, &inherited);
    process::start_logger(&settings)?;
    // What is wrong with it is said with the plan.
    let map = plan::stops_of(&settings).unwrap_or_default();
    let stops = Stops::Taken(&map);
    let resolved = variables::resolve(&settings, stops)?;
    let settings = Settings::new(typed, &resolved.environment);
    let dry_run = settings.switch(Opt::DryRun)?;
    let plan = MigratePlan::new(&settings)?;
    if dry_run {
        return Ok(process::print(&plan.describe(&resolved)));
    }
    let became = process::drop_privileges(&settings, stops);
    stop_requested(&plan.supervision.map)?;
    run(&plan, became?)
}

/// Runs every migration in order. All signals must be blocked since the start of the process.
///
/// # Errors
/// 124 and 125 from the wait and the lock, the code of the first migration that failed, or the signal that came.
fn run(plan: &MigratePlan, environment: Environment) -> Result<Exit, Failure> {
    become_parent()?;
    if !plan.wait.targets.is_empty() {
        let (targets, map) = (plan.wait.clone(), &plan.supervision.map);
        interruptible(map, move || wait::run(&targets))?;
    }
    if plan.commands.is_empty() {
        log::info!("nothing to migrate: if: and unless: leave out every command");
        return Ok(Exit::Success);
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
        ended = interruptible(&plan.supervision.map, lock.ask(Request::Record));
    }
    if let Some(reason) = orders.lost.get() {
        // What was left alone, with --orphan-grace none.
        leftovers::end_within(
            Some(Duration::ZERO),
            &plan.supervision.map,
            &orders.clearance,
        );
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
        orders.clearance.withdraw();
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
        let name = command.first().map(wording::named).unwrap_or_default();
        let image = program::image(command, environment.clone())?;
        if let Some(lock) = lock {
            interruptible(map, lock.ask(Request::IsHeld))?;
        }
        log::info!("{} {} of {count}: {name}", plan.noun, i + 1);
        let socket = lock.map(Lock::socket).transpose()?;
        let inherited = socket.as_ref().map(AsRawFd::as_raw_fd);
        let child = start_inheriting(&image, map, ProcessGroup::SharedInForeground, inherited)?;
        drop(socket);
        let outcome = supervise(child, &plan.supervision, &orders.clearance, None);
        let exit = outcome.exit();
        if exit != Exit::Command(0) && outcome.stop.is_some() {
            return Err(Failure::new(exit, ""));
        }
        if exit != Exit::Command(0) {
            return Err(Failure::new(
                exit,
                format!(
                    "{} {} of {count}, {name}, failed: {}",
                    plan.noun,
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
        Exit::Signal(signal) => format!("ended by {}", signal_names::name(signal)),
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
        Failure::failed(format!("no thread to ask in: {}", wording::error(&error)))
    })?;
    loop {
        if let Some(signal) = sys::next_signal(None)
            && ends_run(signal.number, map)
        {
            return Err(stopped(signal.number));
        }
        if let Ok(result) = receiver.try_recv() {
            return result;
        }
    }
}
