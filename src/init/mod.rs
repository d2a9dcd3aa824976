//! The story of `run`: environment, identity, stages, COMMAND. In the container this is PID 1: one thread, no socket,
//! asleep unless a signal comes.

pub mod image;
mod leftovers;
pub mod signals;
pub mod supervise;
pub mod terminal;

use nix::sys::prctl;

use crate::exit::{Exit, Failure};
use crate::plan::{RunPlan, Stage};
use crate::setup;
use crate::sys::{self, Image, Job};
use signals::SignalMap;
use supervise::{Child, supervise};
use terminal::Terminal;

/// Prepares, runs COMMAND and supervises it. All signals must be blocked since the start of the process.
///
/// # Errors
/// The step that failed; no later step has started then.
pub fn run(mut plan: RunPlan) -> Result<Exit, Failure> {
    become_parent();
    let map = plan.supervision.map.clone();
    let prepared = prepare(&mut plan);
    // A stop that came meanwhile is what ends the run, also when the step that it found has failed.
    stop_requested(&map)?;
    prepared?;
    let command = image::prepare(&plan.command, plan.environment.without_own())?;
    if plan.exec {
        return Err(image::failure(&command, sys::replace(&command)));
    }
    let child = start(&command, &map)?;
    drop(command);
    sys::release_code();
    // From here on nothing of portero's own keeps a mount busy.
    let _ = nix::unistd::chdir("/");
    let outcome = supervise(child, &plan.supervision);
    let code = outcome.exit().code();
    let mapped = plan.map_exit.iter().rev().find(|(from, _)| *from == code);
    Ok(mapped.map_or(outcome.exit(), |(_, to)| Exit::Command(*to)))
}

/// All that comes before COMMAND.
fn prepare(plan: &mut RunPlan) -> Result<(), Failure> {
    setup::become_user(&plan.identity, &mut plan.environment)?;
    for stage in &plan.stages {
        run_stage(*stage, plan)?;
    }
    require_non_root(plan)
}

/// Makes sure that every orphan below becomes this process's child, and that it hears of each one's end.
pub fn become_parent() {
    sys::claim_children();
    if std::process::id() != 1 {
        // Kernels before 3.4 don't know it; then orphans go to the init above, as they did before.
        let _ = prctl::set_child_subreaper(true);
    }
}

/// Starts a stage, COMMAND, or a migration in a process group of its own, in the foreground when portero is. A stop
/// that arrived before ends the run instead; one that comes after this look finds the child and is forwarded.
///
/// # Errors
/// 126, 127, or the signal that came before.
pub fn start(image: &Image, map: &SignalMap) -> Result<Child, Failure> {
    let terminal = Terminal::controlling();
    let foreground = terminal.is_some_and(Terminal::is_ours);
    let job = Job {
        terminal: terminal.filter(|_| foreground).map(Terminal::descriptor),
    };
    stop_requested(map)?;
    let pid = sys::spawn(image, Some(job)).map_err(|error| image::failure(image, error))?;
    Ok(Child {
        pid,
        terminal,
        foreground,
    })
}

/// Runs a stage to its end. It prints its own failures, so its exit is passed on in silence.
fn run_stage(stage: Stage, plan: &RunPlan) -> Result<(), Failure> {
    log::debug!("starting the {} stage", stage.name());
    let own = image::prepare_own(stage.name(), plan.stage_environment(stage));
    let child = start(&own, &plan.supervision.map)?;
    let outcome = supervise(child, &plan.stage_supervision());
    if let Some(signal) = outcome.stop {
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
            Err(Failure::new(Exit::Signal(signal), message))
        }
        exit => Err(Failure::new(exit, "")),
    }
}

/// Whether a signal that ends the run has arrived. Others, such as the SIGWINCH of every `docker run -it`, and the
/// SIGCHLD of what was reaped meanwhile, are taken away here and do no harm; so are those that `map` drops.
fn stop_requested(map: &SignalMap) -> Result<(), Failure> {
    while let Some(signal) = sys::next_signal(Some(std::time::Duration::ZERO)) {
        if map.apply(signal).is_some_and(signals::terminates) {
            return Err(stopped(signal));
        }
    }
    Ok(())
}

/// The failure that a stop before COMMAND is.
pub fn stopped(signal: i32) -> Failure {
    let message = format!(
        "stopped by {} before COMMAND was started",
        signals::name(signal)
    );
    Failure::new(Exit::Signal(signal), message)
}

fn require_non_root(plan: &RunPlan) -> Result<(), Failure> {
    if plan.identity.require_non_root && nix::unistd::Uid::effective().is_root() {
        return Err(Failure::failed(
            "--require-non-root: COMMAND would run as root: add USER to the Dockerfile, or --user",
        ));
    }
    Ok(())
}
