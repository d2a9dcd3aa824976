//! Where the migration lock means something and where it does not, and what it lets others do meanwhile: poolers,
//! standbys, the migration tools' own locks inside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::time::Duration;

use common::migration::{Migrations, migrate, refused};
use common::pooler::PgBouncer;
use common::postgres::{PASSWORD, programs};
use common::proxy::{Proxy, Way};
use common::{DEADLINE, Ended, Postgres, Run, poll_until};

fn locks(server: &Postgres) -> String {
    server.psql(
        "postgres",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
    )
}

#[test]
fn a_pooler_that_shares_sessions_is_refused_with_the_remedy_and_leaves_no_lock() {
    let server = Postgres::start();
    let database = server.create_db();
    for mode in ["transaction", "statement"] {
        let pooler = PgBouncer::start(&server, mode);
        refused(migrate(&pooler.url(&database))).assert_stderr_contains("DIRECT_URL");
        // Also while others use it, so that sessions change hands.
        let start = |_| {
            migrate(&pooler.url(&database))
                .args(["--", "echo", "ran"])
                .start()
        };
        let all: Vec<_> = (0..4).map(start).collect();
        for process in all {
            process.exits(125).assert_stdout("");
        }
        assert_eq!(locks(&server), "0", "{mode}");
    }
}

#[test]
fn a_pooler_of_whole_sessions_holds_the_lock_like_the_server() {
    let server = Postgres::start();
    let database = server.create_db();
    let pooler = PgBouncer::start(&server, "session");
    let migrations = Migrations::new("sleep 0.2");
    let start = |_| {
        migrate(&pooler.url(&database))
            .arg("--")
            .arg(migrations.script())
            .start()
    };
    let all: Vec<_> = (0..4).map(start).collect();
    for process in all {
        process.exits(0);
    }
    migrations.assert_alone();
    assert_eq!(migrations.log().matches("end").count(), 4);
    assert_eq!(locks(&server), "0");
}

#[test]
fn of_replicas_behind_a_pooler_of_two_or_three_sessions_one_migrates_and_all_end_well() {
    let server = Postgres::start();
    for pool_size in [2, 3] {
        let database = server.create_db();
        let pooler = PgBouncer::start_with(&server, "session", pool_size);
        let migrations = Migrations::new("sleep 0.5");
        let start = |_| {
            migrate(&pooler.url(&database))
                .args(["--migrate-once", "v1", "--lock-timeout", "25s", "--"])
                .arg(migrations.script())
                .start()
        };
        let all: Vec<_> = (0..6).map(start).collect();
        for process in all {
            process.exits(0);
        }
        assert_eq!(migrations.log().matches("end").count(), 1, "{pool_size}");
        assert_eq!(locks(&server), "0");
    }
}

#[test]
fn a_pooler_of_one_session_is_refused_with_the_remedy_and_everybody_ends_within_the_limit() {
    let server = Postgres::start();
    let database = server.create_db();
    let pooler = PgBouncer::start_with(&server, "session", 1);
    let start = |_| {
        migrate(&pooler.url(&database))
            .args(["--lock-timeout", "25s", "--", "echo", "ran"])
            .start()
    };
    let all: Vec<_> = (0..3).map(start).collect();
    let mut refused = 0;
    for process in all {
        let finished = process.wait_at_most(DEADLINE);
        finished.assert_stdout("");
        if finished.ended == Ended::Code(125) {
            refused += 1;
            finished
                .assert_stderr_contains("no second connection within 10s")
                .assert_stderr_contains("DIRECT_URL");
        } else {
            finished.assert_exit(124);
        }
    }
    assert!(refused > 0, "who had the lock was not told the remedy");
    // One that is alone, and whose time is over before the ten seconds are.
    migrate(&pooler.url(&database))
        .args(["--lock-timeout", "4s", "--", "echo", "ran"])
        .exits(124)
        .assert_stderr_contains("a pool of one never gives it: use the server's direct URL");
    assert_eq!(locks(&server), "0");
}

#[test]
fn a_network_that_stalls_for_longer_than_a_second_connection_may_take_is_no_pooler_of_one() {
    let server = Postgres::start();
    let database = server.create_db();
    let proxy = Proxy::start(server.port());
    // The gate's lock, the first one, can be seen while the second connection is made.
    proxy.delay(Way::ToClient, Duration::from_millis(300));
    let mut process = migrate(&proxy.url(&server.url(&database), server.port()))
        .args(["--", "echo", "ran"])
        .start();
    let at_the_gate = poll_until(DEADLINE, || (locks(&server) != "0").then_some(()));
    assert!(at_the_gate.is_some(), "never at the gate:{process}");
    proxy.swallow(true);
    proxy.delay(Way::ToClient, Duration::ZERO);
    let longer = Duration::from_secs(12);
    let ended = poll_until(longer, || process.poll());
    proxy.swallow(false);
    assert!(ended.is_none(), "it did not wait:{process}");
    process
        .wait_at_most(DEADLINE * 2)
        .assert_exit(0)
        .assert_stdout("ran\n");
}

#[test]
fn the_primary_is_found_among_several_hosts() {
    let (server, standby, database) = Postgres::with_standby();
    let url = format!(
        "postgres://postgres:{PASSWORD}@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
        standby.port(),
        server.port()
    );
    migrate(&url)
        .args(["--", "echo", "ran"])
        .exits(0)
        .assert_stdout("ran\n");
}

#[test]
fn what_is_not_postgres_is_refused_with_the_remedy() {
    for url in [
        "mysql://app:hunter2@db/app",
        "redis://:hunter2@db",
        "sqlite:///app.db",
    ] {
        migrate(url)
            .args(["--", "echo", "ran"])
            .exits(125)
            .assert_stdout("")
            .assert_one_error_line()
            .assert_stderr_contains("--no-lock")
            .assert_never_says("hunter2");
    }
}

/// Three replicas run this SQL in one session each, at the same time; it waits for whatever it waits for.
#[track_caller]
fn replicas_run(server: &Postgres, database: &str, tool: &str, statements: &[&str]) {
    let psql = programs().join("psql");
    let start = |_| {
        let run = Run::portero()
            .env("DATABASE_URL", server.url(database))
            .args(["migrate", "--database", "DATABASE_URL", "--"])
            .arg(&psql)
            .args([&server.url(database), "-qAtX", "-v", "ON_ERROR_STOP=1"])
            // For the message of a failure.
            .args(["-v", &format!("tool={tool}")]);
        statements
            .iter()
            .fold(run, |run, statement| run.args(["-c", statement]))
            .start()
    };
    let all: Vec<_> = (0..3).map(start).collect();
    for process in all {
        process.exits(0);
    }
}

#[test]
fn waiting_replicas_and_the_tools_own_locks_never_lock_each_other_out() {
    let server = Postgres::start();
    let database = server.create_db();
    server.psql(
        &database,
        "CREATE TABLE items AS SELECT generate_series(1, 1000) AS id",
    );
    let index = "CREATE INDEX CONCURRENTLY IF NOT EXISTS items_id ON items (id)";
    let drop = "DROP INDEX CONCURRENTLY IF EXISTS items_id";
    let table: &[(&str, &str, &str)] = &[
        ("none", "SELECT pg_sleep(0.3)", "SELECT 1"),
        // schema-engine: sql_schema_connector's acquire_lock.
        (
            "Prisma",
            "SELECT pg_advisory_lock(72707369)",
            "SELECT pg_advisory_unlock(72707369)",
        ),
        // ActiveRecord::Migrator::MIGRATOR_SALT times the CRC of the database's name; false would be an error there.
        (
            "Rails",
            "SELECT 1 / pg_try_advisory_lock(2053462845 * 3632233996)::int",
            "SELECT pg_advisory_unlock(2053462845 * 3632233996)",
        ),
        // database/postgres of golang-migrate: Lock and Unlock.
        (
            "golang-migrate",
            "SELECT pg_advisory_lock(1486364155)",
            "SELECT pg_advisory_unlock(1486364155)",
        ),
    ];
    for (tool, lock, unlock) in table {
        replicas_run(
            &server,
            &database,
            tool,
            &[lock, drop, index, "SELECT pg_sleep(0.3)", unlock],
        );
    }
}

#[test]
fn a_failed_migration_frees_the_lock_at_once() {
    let (_server, url) = Postgres::with_database();
    let migrations = Migrations::new("until [ -e go ]; do sleep 0.02; done; exit 7");
    let script = migrations.script();
    let one = Run::as_pid1()
        .env("DATABASE_URL", &url)
        .line("--database DATABASE_URL --migrate")
        .arg(format!("{0} one && {0} never", script.display()))
        .args(["--migrate", &format!("{} never", script.display())])
        .args(["--", "echo", "command"])
        .start();
    migrations.until_log("begin one");
    let mut two = migrate(&url).args(["--", "echo", "ran"]).start();
    two.until_stderr("held by pid");
    migrations.touch("go");
    one.exits(7).assert_stdout("");
    two.exits(0).assert_stdout("ran\n");
    assert_eq!(migrations.log(), "begin one\n");
}

#[test]
fn who_waits_says_who_holds_the_lock_every_five_seconds_and_keeps_no_connection() {
    let server = Postgres::start();
    let database = server.create_db();
    let url = server.url(&database);
    let migrations = Migrations::new("until [ -e go ]; do sleep 0.02; done");
    let start = |_| migrate(&url).arg("--").arg(migrations.script()).start();
    let one = start(0);
    migrations.until_log("begin");
    let mut others: Vec<_> = (0..5).map(start).collect();
    let pid = server.psql(
        "postgres",
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory'",
    );
    let host = nix::sys::utsname::uname()
        .map(|name| name.nodename().to_string_lossy().into_owned())
        .unwrap();
    let line =
        format!("held by pid {pid} \"portero migrate {host}\" from 127.0.0.1, connected since ");
    for other in &mut others {
        other.until(
            |other| other.stderr().matches(&line).count() >= 2,
            "two lines about the holder",
        );
        assert!(other.stderr().contains("s of 10m): held by"), "{other}");
    }
    // All are past the second in which they stay connected: now nearly always the holder is alone.
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
    let alone = || (server.psql("postgres", &sessions) == "1").then_some(());
    assert!(poll_until(DEADLINE, alone).is_some(), "they stay connected");
    migrations.touch("go");
    one.exits(0);
    for other in others {
        other.exits(0);
    }
    migrations.assert_alone();
}
