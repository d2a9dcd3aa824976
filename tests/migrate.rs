//! Migrations: one at a time across replicas, as the dropped user, and before COMMAND or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;

use common::postgres::PASSWORD;
use common::{Ended, Postgres, Run, TempDir};
use nix::sys::signal::Signal;

/// Appends `begin` and `end` to the file named by its argument; a while passes between them.
const MIGRATION: &str = "#!/bin/sh\necho begin >> \"$1\"\nsleep 0.4\necho end >> \"$1\"\n";

#[test]
fn replicas_that_start_at_once_migrate_one_at_a_time() {
    let (_server, url) = Postgres::with_database();
    let directory = TempDir::new();
    let (script, log) = (
        directory.script("migration", MIGRATION),
        directory.file("log", ""),
    );
    let start = |_| {
        Run::as_pid1()
            .env("DATABASE_URL", &url)
            .args(["migrate", "--database", "DATABASE_URL", "--"])
            .arg(&script)
            .arg(&log)
            .start()
    };
    let replicas: Vec<_> = (0..4).map(start).collect();
    for replica in replicas {
        replica.exits(0).assert_never_says(PASSWORD);
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "begin\nend\n".repeat(4));
}

#[test]
fn different_databases_do_not_wait_for_each_other() {
    let server = Postgres::start();
    let (one, two) = (server.create_db(), server.create_db());
    let start = |database: &str, script: &str| {
        Run::portero()
            .line("migrate --database")
            .arg(server.url(database))
            .line("-- sh -c")
            .arg(script)
            .start()
    };
    let mut held = start(&one, "echo begin; exec sleep 1000");
    held.until_stdout("begin");
    start(&two, "exit 0").exits(0);
}

#[test]
fn the_wait_for_the_lock_ends_with_124_at_its_limit() {
    let (_server, url) = Postgres::with_database();
    let start = |options: &[&str], script: &str| {
        Run::portero()
            .args(["migrate", "--database", &url])
            .args(options)
            .args(["--", "sh", "-c", script])
            .start()
    };
    let mut held = start(&[], "echo begin; exec sleep 1000");
    held.until_stdout("begin");
    start(&["--lock-timeout", "700ms"], "echo ran")
        .exits(124)
        .assert_stdout("")
        .assert_never_says(PASSWORD);
    start(
        &["--lock-timeout", "10s", "--lock-name", "another"],
        "echo ran",
    )
    .exits(0)
    .assert_stdout("ran\n");
}

#[test]
fn a_waiting_replica_goes_on_when_the_holder_dies() {
    let (_server, url) = Postgres::with_database();
    let start = |script: &str| {
        Run::as_pid1()
            .args(["migrate", "--database", &url, "--", "sh", "-c", script])
            .start()
    };
    let mut held = start("echo begin; exec sleep 1000");
    held.until_stdout("begin");
    let mut next = start("echo mine");
    next.until_stderr("lock");
    assert_eq!(next.stdout(), "", "two at a time{next}");
    held.signal(Signal::SIGKILL);
    assert_eq!(held.wait().ended, Ended::Signal(9));
    next.exits(0).assert_stdout("mine\n");
}

#[test]
fn the_code_of_a_failing_migration_is_passed_on() {
    let (_server, url) = Postgres::with_database();
    for (script, code) in [("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137)] {
        Run::portero()
            .args(["migrate", "--database", &url, "--", "sh", "-c", script])
            .exits(code);
    }
    for (command, code) in [("/no/such/migration", 127), ("/etc/passwd", 126)] {
        Run::portero()
            .args(["migrate", "--database", &url, "--", command])
            .exits(code)
            .assert_stderr_contains(command);
    }
}

#[test]
fn a_stop_signal_reaches_the_migration_and_its_code_is_passed_on() {
    let (_server, url) = Postgres::with_database();
    let script = "trap 'echo cleaned; exit 9' TERM; echo begin; while :; do :; done";
    let mut process = Run::as_pid1()
        .args(["migrate", "--database", &url, "--", "sh", "-c", script])
        .start();
    process.until_stdout("begin");
    process.signal(Signal::SIGTERM);
    process.exits(9).assert_stdout_contains("cleaned");
}

fn run_with(server: &Postgres, database: &str, migrations: &[&str]) -> Run {
    let run = Run::as_pid1()
        .env("DATABASE_URL", server.url(database))
        .args(["--database", "DATABASE_URL"]);
    migrations
        .iter()
        .fold(run, |run, migration| run.args(["--migrate", migration]))
}

#[test]
fn command_starts_only_after_the_migrations_in_their_order() {
    let server = Postgres::start();
    let database = server.create_db();
    run_with(
        &server,
        &database,
        &["sh -c 'echo one' && echo 'two  words'", "echo three"],
    )
    .args(["--", "echo", "command"])
    .exits(0)
    .assert_stdout("one\ntwo  words\nthree\ncommand\n")
    .assert_never_says(PASSWORD);
}

#[test]
fn a_migrations_line_says_its_number_so_that_three_of_one_program_can_be_told_apart() {
    let server = Postgres::start();
    let database = server.create_db();
    let finished = run_with(
        &server,
        &database,
        &["true one && true two", "sh -c 'exit 3'"],
    )
    .args(["--", "true"])
    .finish();
    finished.assert_exit(3);
    for line in [
        "migration 1 of 3: true\n",
        "migration 2 of 3: true\n",
        "migration 3 of 3: sh\n",
        "migration 3 of 3, sh, failed: exit code 3\n",
    ] {
        finished.assert_stderr_contains(line);
    }
}

#[test]
fn after_a_failing_migration_nothing_else_starts() {
    let server = Postgres::start();
    let database = server.create_db();
    for migrations in [
        &["sh -c 'exit 7'", "echo second"][..],
        &["sh -c 'exit 7' && echo second"],
    ] {
        run_with(&server, &database, migrations)
            .args(["--", "echo", "command"])
            .exits(7)
            .assert_stdout("");
    }
}

#[test]
fn a_stop_signal_during_a_migration_ends_the_run_also_when_the_migration_succeeds() {
    let server = Postgres::start();
    let database = server.create_db();
    let directory = TempDir::new();
    let script = directory.script(
        "migration",
        "#!/bin/sh\ntrap 'exit 0' TERM\necho begin\nwhile :; do :; done\n",
    );
    let mut process = run_with(&server, &database, &[script.to_str().unwrap()])
        .args(["--", "echo", "command"])
        .start();
    process.until_stdout("begin");
    process.signal(Signal::SIGTERM);
    process.exits(143).assert_stdout("begin\n");
}

#[test]
fn a_migration_runs_as_the_dropped_user_without_porteros_variables() {
    let server = Postgres::start();
    let database = server.create_db();
    let script =
        "sh -c 'id -u; id -g; grep NoNewPrivs /proc/self/status; env | grep -c ^PORTERO_'; true";
    run_with(
        &server,
        &database,
        &[
            "id -u",
            "id -g",
            "grep NoNewPrivs /proc/self/status",
            "sh -c 'env | grep ^PORTERO_ || echo none'",
        ],
    )
    .args(["--user", "1234:2345", "--", "sh", "-c", script])
    .exits(0)
    .assert_stdout("1234\n2345\nNoNewPrivs:\t1\nnone\n1234\n2345\nNoNewPrivs:\t1\n0\n");
}

#[test]
fn without_the_lock_no_database_is_asked() {
    Run::as_pid1()
        .line("--no-lock --migrate 'echo migration' -- echo command")
        .exits(0)
        .assert_stdout("migration\ncommand\n");
}

#[test]
fn migrate_waits_for_its_database() {
    let mut server = Postgres::prepare();
    let url = server.url("postgres");
    let mut process = Run::as_pid1()
        .arg("--database")
        .arg(&url)
        .line("--migrate 'echo migration' -- echo command")
        .start();
    process.until_stderr(&server.port().to_string());
    assert_eq!(process.stdout(), "", "it did not wait{process}");
    server.launch();
    process.exits(0).assert_stdout("migration\ncommand\n");
}

#[test]
fn a_standby_that_stays_one_is_refused() {
    // A standby takes no fewer connections than the server whose data it has: the default 100.
    let mut server = Postgres::options()
        .setting("hot_standby = on")
        .max_connections(100)
        .prepare();
    server.make_standby();
    server.launch();
    Run::portero()
        .line("migrate --database")
        .arg(server.url("postgres"))
        .line("--wait-timeout 1s -- echo ran")
        .exits(125)
        .assert_stdout("")
        .assert_never_says(PASSWORD);
}
