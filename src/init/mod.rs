//! The story of `run`: environment, identity, stages, COMMAND. In the container this is PID 1: one thread, no socket,
//! asleep unless a signal comes.

pub mod child;
pub mod image;
pub mod leftovers;
pub mod permit;
mod processes;
mod shell;
pub mod signals;
pub mod stops;
pub mod supervise;
pub mod terminal;

use std::os::fd::RawFd;

use nix::sys::prctl;

use crate::exit::{Exit, Failure};
use crate::plan::{RunPlan, Stage};
use crate::setup;
use crate::sys::{self, Image, Job};
use child::Child;
use leftovers::{Left, Time};
use permit::Permit;
use signals::SignalMap;
pub use stops::{ends_run, stop_requested, stopped};
use supervise::{Outcome, supervise};
use terminal::Terminal;

/// Prepares, runs COMMAND and supervises it. All signals must be blocked since the start of the process.
///
/// # Errors
/// The step that failed; no later step has started then.
pub fn run(mut plan: RunPlan) -> Result<Exit, Failure> {
    let inherited_subreaper = prctl::get_child_subreaper().unwrap_or(false);
    become_parent()?;
    let map = plan.supervision.map.clone();
    let prepared = prepare(&mut plan);
    // A stop that came meanwhile is what ends the run, also when the step that it found has failed.
    stop_requested(&map)?;
    prepared?;
    setup::verify_user(&plan.identity)?;
    let command = image::prepare(&plan.command, plan.environment.without_own())?;
    if plan.exec {
        let _ = prctl::set_child_subreaper(inherited_subreaper);
        return Err(image::failure(&command, sys::replace(&command)));
    }
    let child = start(&command, &map, Place::OwnJob)?;
    drop(command);
    sys::release_start();
    // From here on nothing of portero's own keeps a mount busy.
    let _ = nix::unistd::chdir("/");
    let outcome = supervise(child, &plan.supervision);
    let code = outcome.exit().code();
    let mapped = plan.map_exit.iter().rev().find(|(from, _)| *from == code);
    Ok(mapped.map_or(outcome.exit(), |(_, to)| Exit::Command(*to)))
}

/// All that comes before COMMAND.
fn prepare(plan: &mut RunPlan) -> Result<(), Failure> {
    let map = &plan.supervision.map;
    let stops = setup::helper::Stops::Taken(map);
    setup::become_user(&plan.identity, &mut plan.environment, stops)?;
    if plan.stages.is_empty() {
        return Ok(());
    }
    let name = prctl::get_name();
    for stage in &plan.stages {
        let _ = prctl::set_name(stage.init_name());
        run_stage(*stage, plan)?;
    }
    let _ = prctl::set_name(name.as_deref().unwrap_or(c"portero"));
    Ok(())
}

/// Makes sure that every orphan below becomes this process's child, and that it hears of each one's end.
///
/// # Errors
/// 125: it would not hear of them.
pub fn become_parent() -> Result<(), Failure> {
    claim_children()?;
    if std::process::id() != 1 {
        // Kernels before 3.4 don't know it; then orphans go to the init above, as they did before.
        let _ = prctl::set_child_subreaper(true);
    }
    Ok(())
}

/// Makes sure that this process hears of its children's ends.
///
/// # Errors
/// 125.
pub fn claim_children() -> Result<(), Failure> {
    let failure = |error| Failure::failed(format!("can't take SIGCHLD, a child's end: {error}"));
    sys::claim_children().map_err(failure)
}

/// Where a child is put as a job (POSIX.1-2017, 11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// COMMAND: in a process group of its own, in the foreground when portero is.
    OwnJob,
    /// A stage or a migration: likewise, but when portero is in the foreground it stays in portero's group. Then Ctrl-C
    /// reaches both, and portero knows that the run was to end, whatever the child makes of it.
    SharedJob,
}

/// Starts a stage, COMMAND, or a migration. A stop that arrived before ends the run instead; one that comes after this
/// look finds the child and is forwarded.
///
/// # Errors
/// 126, 127, or the signal that came before.
pub fn start(image: &Image, map: &SignalMap, place: Place) -> Result<Child, Failure> {
    start_inheriting(image, map, place, None)
}

/// The same, for a child that inherits a descriptor, which is close-on-exec in portero.
///
/// # Errors
/// As `start`.
pub fn start_inheriting(
    image: &Image,
    map: &SignalMap,
    place: Place,
    inherited: Option<RawFd>,
) -> Result<Child, Failure> {
    let terminal = Terminal::controlling();
    let foreground = terminal.is_some_and(Terminal::is_ours);
    let shared = foreground && place == Place::SharedJob;
    let given = terminal.filter(|_| foreground && !shared);
    let job = (!shared).then_some(Job {
        terminal: given.map(Terminal::descriptor),
    });
    stop_requested(map)?;
    let pid = sys::spawn(image, job, inherited).map_err(|error| {
        // The child had it when it failed.
        given.into_iter().for_each(Terminal::take_back);
        image::failure(image, error)
    })?;
    Ok(Child {
        pid,
        leads_group: !shared,
        terminal,
        foreground: given.is_some(),
    })
}

/// Runs a stage to its end. It prints its own failures, so its exit is passed on in silence.
fn run_stage(stage: Stage, plan: &RunPlan) -> Result<(), Failure> {
    let own = image::prepare_own(stage.name(), plan.stage_environment(stage));
    let child = start(&own, &plan.supervision.map, Place::SharedJob)?;
    log::debug!("the {} stage has begun", stage.name());
    let outcome = supervise(child, &plan.stage_supervision());
    let mut stop = outcome.stop;
    if outcome.exit() != Exit::Command(0) {
        stop = stop.or(end_stage_leftovers(stage, outcome, plan));
    }
    if let Some(signal) = stop {
        return Err(stopped(signal));
    }
    match outcome.exit() {
        Exit::Command(0) => Ok(()),
        Exit::Signal(signal) => {
            let message = format!(
                "the {} stage was ended by {}",
                stage.name(),
                signals::name(signal)
            );
            // A crash is portero's own failure, as a panic is; who kills a stage means it.
            let exit = if signals::is_crash(signal) {
                Exit::Failed
            } else {
                Exit::Signal(signal)
            };
            Err(Failure::new(exit, message))
        }
        exit => Err(Failure::new(exit, "")),
    }
}

/// Ends what a failed stage has left behind, and returns the stop that came meanwhile. After a success all that is there
/// was there before.
fn end_stage_leftovers(stage: Stage, outcome: Outcome, plan: &RunPlan) -> Option<i32> {
    let (rules, permit) = (&plan.supervision, Permit::default());
    let mut left = Left::within(rules.orphan_grace);
    if outcome.stop.is_some() && left.time != Time::Ignored {
        left.time = Time::after_stop(None, rules.stop_timeout, std::process::id() == 1);
    }
    if stage == Stage::Migrate && matches!(outcome.exit(), Exit::Signal(_)) {
        // Killed, it can't guard its migration any more. Whatever closed the lock's socket must have gone before another
        // replica starts, which it does not at once.
        permit.withdraw();
        left.time = Time::Over;
    }
    leftovers::end(left, &rules.map, &permit)
}
