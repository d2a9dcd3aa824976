//! `--migrate-once`: of any number of replicas, now and later, one migrates; success alone is recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use common::postgres::PASSWORD;
use common::{Postgres, Run};
use nix::sys::signal::Signal;

/// A migration that says `ran`, of `version`.
fn migrate(url: &str, version: &str) -> Run {
    with_options(Run::portero(), url, version)
}

fn with_options(run: Run, url: &str, version: &str) -> Run {
    run.env("DATABASE_URL", url)
        .line("migrate --database DATABASE_URL --migrate-once")
        .arg(version)
}

fn versions(server: &Postgres, database: &str) -> String {
    server.psql(
        database,
        "SELECT lock_name, version, finished_at <= now(), host <> '' FROM portero.migrations ORDER BY 1, 2",
    )
}

#[test]
fn of_many_replicas_one_migrates_and_later_ones_do_not() {
    let server = Postgres::start();
    let database = server.create_db();
    let url = server.url(&database);
    let start = |_| {
        let run = migrate(&url, "v1").args(["--", "sh", "-c", "echo ran; sleep 0.3"]);
        run.start()
    };
    let replicas: Vec<_> = (0..6).map(start).collect();
    let mut said = String::new();
    for replica in replicas {
        let finished = replica.wait();
        finished.assert_exit(0).assert_never_says(PASSWORD);
        said += &finished.stdout;
    }
    assert_eq!(said, "ran\n");
    assert_eq!(versions(&server, &database), "portero|v1|t|t");

    let later = migrate(&url, "v1").args(["--", "echo", "ran"]).finish();
    later
        .assert_exit(0)
        .assert_stdout("")
        .assert_stderr_contains("\"v1\"");
}

#[test]
fn another_version_lock_table_or_database_migrates() {
    let server = Postgres::start();
    let (one, two) = (server.create_db(), server.create_db());
    let table: &[(&str, &str, &[&str])] = &[
        (&one, "v1", &[]),
        (&one, "v2", &[]),
        (&one, "V1", &[]),
        (&one, "it\'s-\"1\"\\", &[]),
        (&one, "v1", &["--lock-name", "it's another"]),
        (&one, "v1", &["--migrate-table", "Ops.Migrations-1"]),
        (&one, "v1", &["--migrate-table", "ops.migrations"]),
        (&two, "v1", &[]),
    ];
    for (database, version, options) in table {
        for expected in ["ran\n", ""] {
            migrate(&server.url(database), version)
                .args(*options)
                .args(["--", "echo", "ran"])
                .exits(0)
                .assert_stdout(expected);
        }
    }
    let recorded = server.psql(&one, "SELECT lock_name FROM \"Ops\".\"Migrations-1\"");
    assert_eq!(recorded, "portero");
}

#[test]
fn success_alone_is_recorded() {
    let server = Postgres::start();
    let database = server.create_db();
    let url = server.url(&database);
    let script = |script| migrate(&url, "v1").args(["--", "sh", "-c", script]);
    script("exit 3").exits(3);
    script("kill -9 $$").exits(137);
    migrate(&url, "v1")
        .args(["--", "/no/such/migration"])
        .exits(127);
    for (signal, name) in [(Signal::SIGTERM, "term"), (Signal::SIGKILL, "kill")] {
        // Of a namespace, so that nothing is left of a killed one.
        let mut process = with_options(Run::as_pid1(), &url, "v1")
            .args(["--", "sh", "-c", "echo begin; exec sleep 1000"])
            .start();
        process.until_stdout("begin");
        process.signal(signal);
        assert_ne!(process.wait().ended, common::Ended::Code(0), "{name}");
    }
    assert_eq!(versions(&server, &database), "");
    script("echo ran").exits(0).assert_stdout("ran\n");
    assert_eq!(versions(&server, &database), "portero|v1|t|t");
}

#[test]
fn of_several_migrations_all_must_succeed_to_be_recorded() {
    let server = Postgres::start();
    let database = server.create_db();
    let run = |last: &str| {
        Run::as_pid1()
            .env("DATABASE_URL", server.url(&database))
            .env("PORTERO_DATABASE", "DATABASE_URL")
            .env("PORTERO_MIGRATE_ONCE", "v1")
            .line("--migrate 'echo one' --migrate")
            .arg(last)
            .line("-- echo command")
            .finish()
    };
    run("sh -c 'exit 4'").assert_exit(4).assert_stdout("one\n");
    run("echo two")
        .assert_exit(0)
        .assert_stdout("one\ntwo\ncommand\n");
    run("echo two").assert_exit(0).assert_stdout("command\n");
}

#[test]
fn a_recorded_version_does_not_ask_for_the_lock() {
    let (_server, url) = Postgres::with_database();
    migrate(&url, "v1").args(["--", "true"]).exits(0);
    let mut held = migrate(&url, "v2")
        .args(["--", "sh", "-c", "echo begin; exec sleep 1000"])
        .start();
    held.until_stdout("begin");
    migrate(&url, "v1")
        .args(["--lock-timeout", "100ms", "--", "echo", "ran"])
        .exits(0)
        .assert_stdout("");
}

#[test]
fn what_is_no_version_or_no_table_is_a_usage_error() {
    let url = "postgres://app:hunter2@127.0.0.1:1/app";
    for version in ["", "latest", "main", "master", "dev", "Main", "v 1"] {
        migrate(url, version)
            .args(["--", "true"])
            .refused()
            .assert_stderr_contains("--migrate-once")
            .assert_never_says("hunter2");
    }
    for table in ["migrations", "a.b.c", "a.\"b\"", ".b", "a.b;c"] {
        migrate(url, "v1")
            .args(["--migrate-table", table, "--", "true"])
            .refused()
            .assert_stderr_contains("--migrate-table");
    }
    migrate(url, "v1")
        .args(["--no-lock", "--", "true"])
        .refused()
        .assert_stderr_contains("--no-lock");
}

/// What follows the text on the one error line.
fn sql_of(stderr: &str) -> String {
    let at = stderr.find("CREATE SCHEMA").expect("SQL in the error");
    stderr[at..].lines().next().unwrap().to_owned()
}

#[test]
fn without_the_right_to_make_the_table_the_error_has_the_sql_that_helps() {
    let server = Postgres::start();
    let database = server.create_db();
    server.psql(
        &database,
        "CREATE ROLE \"it's app\" LOGIN PASSWORD 'pw-of-app'",
    );
    let url = server.url_with("it%27s%20app", "pw-of-app", &database);
    let run = || migrate(&url, "v1").args(["--", "echo", "ran"]).finish();

    let refused = run();
    refused
        .assert_exit(125)
        .assert_stdout("")
        .assert_stderr_contains("42501")
        .assert_never_says("pw-of-app");
    server.psql(&database, &sql_of(&refused.stderr));
    run().assert_exit(0).assert_stdout("ran\n");
    run().assert_exit(0).assert_stdout("");

    // Each right that is taken away is found out before the migration runs, and given back by the same SQL.
    for revoked in [
        "INSERT ON portero.migrations",
        "SELECT ON portero.migrations",
        "USAGE ON SCHEMA portero",
    ] {
        server.psql(
            &database,
            &format!("REVOKE {revoked} FROM \"it's app\"; DELETE FROM portero.migrations"),
        );
        let refused = run();
        refused.assert_exit(125).assert_stdout("");
        server.psql(&database, &sql_of(&refused.stderr));
        run().assert_exit(0).assert_stdout("ran\n");
    }
}

#[test]
fn a_table_of_somebody_else_is_refused() {
    let server = Postgres::start();
    let database = server.create_db();
    server.psql(
        &database,
        "CREATE SCHEMA portero; CREATE TABLE portero.migrations (id int)",
    );
    migrate(&server.url(&database), "v1")
        .args(["--", "echo", "ran"])
        .exits(125)
        .assert_stdout("")
        .assert_stderr_contains("--migrate-table");
}

#[test]
fn the_table_is_in_a_schema_that_nothing_else_looks_at() {
    let server = Postgres::start();
    let database = server.create_db();
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = ANY (current_schemas(true)) AND tablename ~ 'migrat'";
    migrate(&server.url(&database), "v1")
        .args(["--", "true"])
        .exits(0);
    assert_eq!(server.psql(&database, tables), "0");
}

#[test]
fn a_dry_run_says_which_version_and_where() {
    migrate("postgres://app:hunter2@127.0.0.1:1/app", "v1")
        .args(["--dry-run", "--", "true"])
        .exits(0)
        .assert_stdout_contains("migrate-once: v1")
        .assert_never_says("hunter2");
}
