//! Real applications under load, stopped and reloaded: portero's default cuts nothing of what can drain.
//! `tests/stops/run` measures the whole table; here are those that install soon and show the difference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]
// tests/bench/stops.rs uses the rest of the modules.
#![allow(dead_code)]

mod applications;
mod backend;
mod bar;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod install;
mod services;
mod stop;

use applications::{APPLICATIONS, Application, TASKS};
use bar::missed;
use nix::sys::signal::Signal;
use stop::{Pid1, Stopped, reload, stop};

#[test]
fn the_master_of_hypercorn_stops_its_worker_itself() {
    let dumb_init = holds_the_bar("hypercorn", Pid1::DumbInit);
    assert!(
        dumb_init.cut > 0,
        "the group cuts nothing: the load proves nothing: {dumb_init:?}"
    );
}

#[test]
fn the_primary_of_a_node_cluster_stops_its_workers_itself() {
    let group = holds_the_bar("node cluster", Pid1::TiniGroup);
    assert!(group.cut > 0, "{group:?}");
}

#[test]
fn what_npm_started_drains_when_npm_has_ended() {
    holds_the_bar("npm start", Pid1::TiniGroup);
}

#[test]
fn what_a_shell_started_without_exec_drains_when_the_shell_has_ended() {
    let tini = holds_the_bar("`sh -c app`", Pid1::Tini);
    assert!(tini.cut > 0, "{tini:?}");
}

#[test]
fn a_script_that_traps_with_its_program_in_the_foreground_draws_the_warning() {
    holds_the_bar("script: trap, app in the foreground", Pid1::DumbInit);
}

#[test]
fn celery_finishes_its_tasks() {
    let dumb_init = holds_the_bar("Celery, prefork", Pid1::DumbInit);
    assert_eq!(dumb_init.cut, TASKS, "{dumb_init:?}");
}

#[test]
fn nginx_drains_with_quit_for_term() {
    holds_the_bar("nginx", Pid1::DumbInit);
}

#[test]
fn a_reload_of_gunicorn_cuts_nothing_and_neither_does_its_stop() {
    holds_the_bar("gunicorn, gthread", Pid1::DumbInit);
    let row = application("gunicorn, gthread");
    let reloaded = reload(&row, Pid1::Portero, Signal::SIGHUP);
    assert!(reloaded.cut == 0 && reloaded.serves, "{reloaded:?}");
}

/// Stops an application by portero's default, with its line, and by another init; what that came to.
#[track_caller]
fn holds_the_bar(name: &str, other: Pid1) -> Stopped {
    let row = application(name);
    let mut all = vec![(Pid1::Portero, stop(&row, Pid1::Portero))];
    if !row.line.is_empty() {
        all.push((Pid1::WithLine, stop(&row, Pid1::WithLine)));
    }
    all.push((other, stop(&row, other)));
    let missed = missed(&row, &all);
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    all.pop().unwrap().1
}

/// A row by its name.
#[track_caller]
fn application(name: &str) -> Application {
    let found = APPLICATIONS.iter().find(|row| row.name == name);
    *found.unwrap_or_else(|| panic!("no application is called {name}"))
}
