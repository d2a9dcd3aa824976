//! The story of `run`: environment, identity, stages, COMMAND. In the container this is PID 1: one thread, no socket,
//! asleep unless a signal comes.

use std::ffi::OsStr;
use std::path::Path;

use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::cli::{Opt, Typed};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::plan::{self, RunPlan, Stage};
use crate::settings::Settings;
use crate::supervise::clearance::Clearance;
use crate::supervise::death::Watch;
use crate::supervise::helper::Stops;
use crate::supervise::leftovers::{self, Left, Time};
use crate::supervise::start::{ProcessGroup, become_parent, start};
use crate::supervise::stops::{stop_requested, stopped};
use crate::supervise::{Outcome, program, supervise};
use crate::sys::{self, signal_names};
use crate::{identity, process, variables, wording};

/// From the command line to COMMAND's end.
///
/// # Errors
/// Usage errors, 125; else the step that failed.
pub fn begin(typed: &Typed) -> Result<Exit, Failure> {
    let inherited = Environment::inherited();
    let settings = Settings::new(typed, &inherited);
    process::start_logger(&settings)?;
    // What is wrong with it is said with the plan.
    let map = plan::stops_of(&settings).unwrap_or_default();
    let resolved = variables::resolve(&settings, Stops::Taken(&map))?;
    let settings = Settings::new(typed, &resolved.environment);
    let dry_run = settings.switch(Opt::DryRun)?;
    let is_program = |name: &OsStr| program::exists(name, &resolved.environment);
    let plan = RunPlan::new(&settings, &resolved, &is_program)?;
    plan.warnings
        .iter()
        .for_each(|warning| log::warn!("{warning}"));
    if dry_run {
        return Ok(process::print(&plan.describe(&resolved)));
    }
    if let Some(left_out) = &plan.left_out {
        log::info!("{left_out}");
    }
    run(plan)
}

/// Prepares, runs COMMAND and supervises it. All signals must be blocked since the start of the process.
///
/// # Errors
/// The step that failed; no later step has started then.
fn run(mut plan: RunPlan) -> Result<Exit, Failure> {
    let inherited_subreaper = prctl::get_child_subreaper().unwrap_or(false);
    become_parent()?;
    let map = plan.supervision.map.clone();
    let prepared = before_command(&mut plan);
    // A stop that came meanwhile is what ends the run, also when the step that it found has failed.
    stop_requested(&map)?;
    prepared?;
    identity::verify_user(&plan.identity)?;
    // Whoever comes after a dropper may be a portero that these variables are for.
    let environment = if plan.identity.names == identity::Names::Home {
        plan.environment
    } else {
        plan.environment.without_own()
    };
    let command = program::image(&plan.command, environment)?;
    if plan.exec {
        let _ = prctl::set_child_subreaper(inherited_subreaper);
        return Err(program::failure(&command, sys::replace(&command)));
    }
    let child = start(&command, &map, ProcessGroup::Own)?;
    drop(command);
    let name = Path::new(&plan.command[0]).file_name().unwrap_or_default();
    let name = wording::named(name);
    // Beside the first of COMMAND's work, which does not wait for it.
    let watch = Watch::begin(&name);
    sys::release_start();
    // From here on nothing of portero's own keeps a mount busy.
    let _ = nix::unistd::chdir("/");
    let outcome = supervise(
        child,
        &plan.supervision,
        &Clearance::default(),
        Some(&watch),
    );
    let code = outcome.exit().code();
    let mapped = plan.map_exit.iter().rev().find(|(from, _)| *from == code);
    Ok(mapped.map_or(outcome.exit(), |(_, to)| Exit::Command(*to)))
}

/// All that comes before COMMAND.
fn before_command(plan: &mut RunPlan) -> Result<(), Failure> {
    let map = &plan.supervision.map;
    let stops = Stops::Taken(map);
    identity::become_user(&plan.identity, &mut plan.environment, stops)?;
    // A change of the user id clears it (prctl(2)).
    if let Some(signal) = plan.parent_death {
        let _ = prctl::set_pdeathsig(Signal::try_from(signal).ok());
    }
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

/// Runs a stage to its end. It prints its own failures, so its exit is passed on in silence.
fn run_stage(stage: Stage, plan: &RunPlan) -> Result<(), Failure> {
    let own = program::own_image(stage.name(), plan.stage_environment(stage));
    let child = start(
        &own,
        &plan.supervision.map,
        ProcessGroup::SharedInForeground,
    )?;
    log::debug!("the {} stage has begun", stage.name());
    let outcome = supervise(
        child,
        &plan.stage_supervision(),
        &Clearance::default(),
        None,
    );
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
                signal_names::name(signal)
            );
            // A crash is portero's own failure, as a panic is; who kills a stage means it.
            let exit = if signal_names::is_crash(signal) {
                Exit::Failed
            } else {
                Exit::Signal(signal)
            };
            Err(Failure::new(exit, message))
        }
        exit => Err(Failure::new(exit, "")),
    }
}

/// Ends what a failed stage has left behind, and returns the stop that came meanwhile. After a success all that is
/// there was there before.
fn end_stage_leftovers(stage: Stage, outcome: Outcome, plan: &RunPlan) -> Option<i32> {
    let (rules, clearance) = (&plan.supervision, Clearance::default());
    let mut left = Left::within(rules.orphan_grace);
    if outcome.stop.is_some() && left.time != Time::Ignored {
        left.time = Time::after_stop(None, rules.stop_timeout, std::process::id() == 1);
    }
    if stage == Stage::Migrate && matches!(outcome.exit(), Exit::Signal(_)) {
        // Killed, it can't guard its migration any more. Whatever closed the lock's socket must have gone before
        // another replica starts, which it does not at once.
        clearance.withdraw();
        left.time = Time::Over;
    }
    leftovers::end(left, &rules.map, &clearance, || ())
}
