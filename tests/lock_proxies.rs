//! The lock behind HAProxy and Pgpool-II: where it holds, and where it is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use common::migration::{Migrations, TICKING, migrate, refused};
use common::pooler::{HaProxy, Pgpool};
use common::postgres::PASSWORD;
use common::{Postgres, Run};

#[test]
fn a_proxy_that_cuts_silent_connections_after_ten_seconds_leaves_the_lock_alone() {
    let server = Postgres::start();
    let proxy = HaProxy::start(&server, 10);
    let database = server.create_db();
    // Longer than the proxy would have waited.
    migrate(&proxy.url(&database))
        .args(["--", "sleep", "12"])
        .exits(0);
}

#[test]
fn a_proxy_that_cuts_silent_connections_sooner_than_the_lock_is_looked_at_kills_the_migration() {
    let server = Postgres::start();
    let proxy = HaProxy::start(&server, 2);
    migrate(&proxy.url(&server.create_db()))
        .args(["--", "sleep", "1000"])
        .exits(125)
        .assert_stderr_contains("the migration lock is lost");
}

#[test]
fn a_proxy_without_a_server_behind_it_is_not_yet() {
    let mut server = Postgres::start();
    let proxy = HaProxy::start(&server, 10);
    server.stop();
    Run::portero()
        .args(["wait", "--wait-timeout", "3s", &proxy.url("postgres")])
        .exits(124);
}

#[test]
fn behind_a_pgpool_with_one_server_two_replicas_migrate_one_after_the_other() {
    let server = Postgres::start();
    let pool = Pgpool::start(&server, None);
    let url = pool.url(PASSWORD, &server.create_db());
    let migrations = Migrations::new(TICKING);
    let replica = |name: &str| {
        let run = migrate(&url).arg("--").arg(migrations.script());
        run.arg(name).start()
    };
    let one = replica("one");
    migrations.until_log("begin one");
    let mut two = replica("two");
    two.until_stderr("held by pid");
    migrations.touch("go");
    one.exits(0);
    two.exits(0);
    migrations.assert_alone();
    for (url, why) in [
        (pool.url("wrong", "postgres"), "authentication failed"),
        (pool.url(PASSWORD, "nowhere"), "(3D000)"),
    ] {
        Run::portero()
            .args(["wait", "--wait-timeout", "1s", &url])
            .exits(125)
            .assert_stderr_contains(why);
    }
}

#[test]
fn a_pgpool_that_sends_reads_to_a_standby_is_refused_with_the_remedy() {
    let (server, standby, database) = Postgres::with_standby();
    let pool = Pgpool::start(&server, Some(&standby));
    let url = pool.url(PASSWORD, &database);
    Run::portero().args(["wait", &url]).exits(0);
    refused(migrate(&url))
        .assert_stderr_contains("Pgpool-II")
        .assert_stderr_contains("DIRECT_URL");
}
