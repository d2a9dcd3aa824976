//! Servers where the lock can't be had, or not yet, each in words of its own; and search paths that would fool it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::time::{Duration, Instant};

use common::migration::{self, migrate};
use common::postgres::PASSWORD;
use common::{Finished, Postgres, Run};

/// It has three seconds for what may pass.
#[track_caller]
fn refused(url: &str) -> Finished {
    migration::refused(migrate(url).args(["--wait-timeout", "3s"]))
}

#[test]
fn a_server_without_advisory_locks_is_refused_in_a_sentence_of_its_own_and_waited_for_by_wait() {
    let server = Postgres::options()
        .setting("allow_system_table_mods = on")
        .start();
    for (sql, state) in [
        (
            "ALTER FUNCTION pg_catalog.pg_try_advisory_lock(int, int) RENAME TO gone",
            "42883",
        ),
        ("ALTER VIEW pg_catalog.pg_locks RENAME TO gone", "42P01"),
        (
            "ALTER FUNCTION pg_catalog.pg_try_advisory_lock(int, int) RENAME TO gone; \
             CREATE FUNCTION pg_catalog.pg_try_advisory_lock(int, int) RETURNS bool LANGUAGE plpgsql AS \
             $$ BEGIN RAISE feature_not_supported; END $$",
            "0A000",
        ),
    ] {
        let database = server.create_db();
        server.psql(&database, sql);
        let url = server.url(&database);
        refused(&url)
            .assert_stderr_contains("has no advisory locks")
            .assert_stderr_contains("--no-lock")
            .assert_stderr_contains(&format!("({state})"));
        Run::portero().args(["wait", &url]).exits(0);
    }
}

#[test]
fn a_lock_that_is_none_is_refused() {
    // As CockroachDB does it: yes to everybody.
    let server = Postgres::options()
        .setting("allow_system_table_mods = on")
        .start();
    let database = server.create_db();
    server.psql(
        &database,
        "CREATE OR REPLACE FUNCTION pg_catalog.pg_try_advisory_lock(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true'",
    );
    refused(&server.url(&database)).assert_stderr_contains("does not show it");
}

#[test]
fn a_read_only_session_is_waited_for_and_then_refused_in_words_of_its_own() {
    let server = Postgres::start();
    let database = server.create_db();
    let url = server.url(&database);
    let set = |on: &str| {
        server.psql(
            "postgres",
            &format!("ALTER DATABASE {database} SET default_transaction_read_only = {on}"),
        )
    };
    set("on");
    for once in [&["--migrate-once", "v1"][..], &[]] {
        let start = Instant::now();
        let finished = migrate(&url)
            .args(["--wait-timeout", "3s"])
            .args(once)
            .args(["--", "echo", "ran"])
            .finish();
        finished
            .assert_exit(125)
            .assert_stdout("")
            .assert_stderr_contains("read-only sessions")
            .assert_stderr_contains("still after 3s");
        assert!(start.elapsed() >= Duration::from_secs(3), "{finished}");
        assert!(!finished.stderr.contains("not portero's"), "{finished}");
    }
    Run::portero().args(["wait", &url]).exits(0);
    // It passes.
    let mut waiting = migrate(&url)
        .args(["--migrate-once", "v1", "--", "echo", "ran"])
        .start();
    waiting.until_stderr("read-only sessions");
    set("off");
    waiting.exits(0).assert_stdout("ran\n");
    // What is recorded needs no right to write.
    set("on");
    migrate(&url)
        .args(["--migrate-once", "v1", "--", "echo", "ran"])
        .exits(0)
        .assert_stdout("");
}

#[test]
fn a_standby_is_refused_at_the_limit_and_goes_through_when_it_is_promoted_meanwhile() {
    let (mut server, standby, database) = Postgres::with_standby();
    let url = standby.url(&database);
    refused(&url)
        .assert_stderr_contains("hot standby")
        .assert_stderr_contains("target_session_attrs=read-write");
    Run::portero().args(["wait", &url]).exits(0);
    let mut waiting = Run::as_pid1()
        .env("DATABASE_URL", &url)
        .line("--database DATABASE_URL --migrate 'echo migrated' -- echo command")
        .start();
    waiting.until_stderr("hot standby");
    server.stop();
    standby.psql("postgres", "SELECT pg_promote()");
    waiting.exits(0).assert_stdout("migrated\ncommand\n");
}

#[test]
fn a_failover_that_takes_the_lock_kills_the_migration_and_the_next_start_goes_through_on_the_new_primary()
 {
    let (mut server, standby, database) = Postgres::with_standby();
    let url = format!(
        "postgres://postgres:{PASSWORD}@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
        server.port(),
        standby.port()
    );
    let mut one = migrate(&url)
        .args(["--", "sh", "-c", "echo begin; exec sleep 1000"])
        .start();
    one.until_stdout("begin");
    server.stop();
    standby.psql("postgres", "SELECT pg_promote()");
    one.exits(125);
    migrate(&url)
        .args(["--", "echo", "ran"])
        .exits(0)
        .assert_stdout("ran\n");
}

/// Everything that the lock asks, by other functions, tables, types and operators of the same names.
const IMPOSTORS: &str = "CREATE SCHEMA evil; \
    CREATE FUNCTION evil.pg_try_advisory_lock(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
    CREATE FUNCTION evil.pg_try_advisory_xact_lock(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
    CREATE FUNCTION evil.pg_advisory_unlock(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
    CREATE FUNCTION evil.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 4711'; \
    CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true'; \
    CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS $$SELECT 'on'$$; \
    CREATE FUNCTION evil.current_database() RETURNS name LANGUAGE sql AS $$SELECT 'evil'::name$$; \
    CREATE FUNCTION evil.to_regclass(text) RETURNS regclass LANGUAGE sql AS $$SELECT NULL::regclass$$; \
    CREATE FUNCTION evil.to_regnamespace(text) RETURNS regnamespace LANGUAGE sql AS $$SELECT NULL::regnamespace$$; \
    CREATE FUNCTION evil.to_char(timestamp, text) RETURNS text LANGUAGE sql AS $$SELECT 'never'$$; \
    CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT '-infinity'::timestamptz$$; \
    CREATE FUNCTION evil.has_table_privilege(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false'; \
    CREATE FUNCTION evil.set_config(text, text, bool) RETURNS text LANGUAGE sql AS 'SELECT 1 / 0'; \
    CREATE FUNCTION evil.host(inet) RETURNS text LANGUAGE sql AS $$SELECT 'nowhere'$$; \
    CREATE DOMAIN evil.text AS int; CREATE DOMAIN evil.timestamptz AS int; \
    CREATE TABLE evil.pg_locks (pid int); CREATE TABLE evil.pg_database (oid oid); \
    CREATE TABLE evil.pg_settings (name text); CREATE TABLE evil.pg_stat_activity (pid int); \
    CREATE FUNCTION evil.never(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false'; \
    CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.never); \
    CREATE FUNCTION evil.never(pg_catalog.text, pg_catalog.text) RETURNS bool LANGUAGE sql AS 'SELECT false'; \
    CREATE OPERATOR evil.= (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = evil.never); \
    CREATE FUNCTION evil.never(pg_catalog.name, pg_catalog.name) RETURNS bool LANGUAGE sql AS 'SELECT false'; \
    CREATE OPERATOR evil.= (LEFTARG = pg_catalog.name, RIGHTARG = pg_catalog.name, FUNCTION = evil.never); \
    CREATE FUNCTION evil.never(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false'; \
    CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.never)";

#[test]
fn a_search_path_with_the_same_names_before_the_catalog_fools_nobody() {
    let server = Postgres::start();
    let database = server.create_db();
    server.psql(&database, IMPOSTORS);
    server.psql(
        "postgres",
        &format!("ALTER DATABASE {database} SET search_path = evil, pg_catalog, public"),
    );
    let url = server.url(&database);
    let held = |script: &str| {
        migrate(&url)
            .args(["--migrate-once", "v1", "--", "sh", "-c", script])
            .start()
    };
    let mut one = held("echo begin; sleep 1");
    one.until_stdout("begin");
    let mut two = held("echo ran");
    two.until_stderr("held by pid");
    one.exits(0);
    // Not fooled into migrating, nor into thinking that nothing is recorded.
    two.exits(0).assert_stdout("");
    let recorded = "SELECT count(*) FROM portero.migrations WHERE finished_at > '2020-01-01'::pg_catalog.timestamptz";
    assert_eq!(server.psql(&database, recorded), "1");
}
