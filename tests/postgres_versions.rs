//! What depends most on the server, on the oldest and the newest PostgreSQL to be had beside the system's: logins, TLS
//! and the lock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::thread;

use common::migration::{Migrations, TICKING, migrate};
use common::postgres::{Options, PASSWORD};
use common::tls::psql;
use common::{Ended, Finished, Postgres, Run, TempDir, poll_until, releases};

/// The test on a server of each version, side by side.
fn on_each_version(options: &Options, test: impl Fn(&Postgres) + Sync) {
    let releases = releases::all();
    assert!(releases[0].version < releases[1].version);
    thread::scope(|scope| {
        for release in releases {
            scope.spawn(|| {
                let version = release.version.to_string();
                let server = options.clone().release(release).start();
                let said = server.psql("postgres", "SHOW server_version");
                assert!(said.starts_with(&version), "{version} is {said}");
                test(&server);
            });
        }
    });
}

fn healthcheck(url: &str) -> Finished {
    let finished = Run::portero()
        .args(["healthcheck", "--timeout", "20s", "URL"])
        .env("URL", url)
        .finish();
    finished.assert_never_says(PASSWORD);
    finished
}

#[test]
fn every_method_logs_in_and_what_is_wrong_is_told_by_its_sqlstate() {
    let options = Postgres::options()
        .tls()
        .hba("host all clear 127.0.0.1/32 password")
        .hba("host all hashed 127.0.0.1/32 md5")
        .hba("host all open 127.0.0.1/32 trust")
        .hba("host all nowhere 127.0.0.1/32 reject");
    on_each_version(&options, |server| {
        for role in ["clear", "hashed", "open", "nowhere"] {
            // What md5 in pg_hba.conf then asks for is what the role has.
            let kind = if role == "hashed" {
                "md5"
            } else {
                "scram-sha-256"
            };
            server.psql(
                "postgres",
                &format!("SET password_encryption = '{kind}'; CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"),
            );
        }
        for (role, query) in [
            ("clear", "require_auth=password"),
            ("hashed", "require_auth=md5"),
            ("open", "require_auth=none"),
            ("postgres", "require_auth=scram-sha-256&sslmode=disable"),
            ("postgres", "sslmode=require&channel_binding=require"),
            ("postgres", "sslmode=require&channel_binding=disable"),
        ] {
            let url = server.url_with(role, PASSWORD, "postgres");
            healthcheck(&format!("{url}?{query}")).assert_exit(0);
        }
        for (role, password, database, state) in [
            ("clear", "wrong", "postgres", "28P01"),
            ("hashed", "wrong", "postgres", "28P01"),
            ("postgres", "wrong", "postgres", "28P01"),
            ("nobody", "wrong", "postgres", "28P01"),
            ("nowhere", PASSWORD, "postgres", "28000"),
            ("postgres", PASSWORD, "nowhere", "3D000"),
        ] {
            let url = server.url_with(role, password, database);
            healthcheck(&url)
                .assert_exit(1)
                .assert_stderr_contains(&format!("({state})"));
            Run::portero()
                .args(["wait", "--wait-timeout", "1s", "URL"])
                .env("URL", url)
                .exits(125)
                .assert_stderr_contains(&format!("({state})"));
        }
    });
}

/// Each `sslmode` with a root of the server's own and with another one: who gets in, and that psql does, too.
#[track_caller]
fn assert_modes(server: &Postgres, table: [(&str, [bool; 2]); 6]) {
    let home = TempDir::new();
    let other = Postgres::options().tls().prepare();
    let own = server.ca();
    // A server without TLS has none, and nobody looks.
    let own = if own.exists() { own } else { other.ca() };
    for (mode, expected) in table {
        for (root, expected) in [&own, &other.ca()].into_iter().zip(expected) {
            let url = format!(
                "{}?sslmode={mode}&sslrootcert={}",
                server.url("postgres"),
                root.display()
            );
            let (ours, theirs) = (healthcheck(&url), psql(&url, &home));
            let ready = |finished: &Finished| finished.ended == Ended::Code(0);
            assert_eq!(
                (ready(&ours), ready(&theirs)),
                (expected, expected),
                "{mode}, {}{ours}{theirs}",
                root.display()
            );
        }
    }
}

#[test]
fn tls_is_wanted_and_verified_as_psql_does_it() {
    on_each_version(&Postgres::options().tls(), |server| {
        assert_modes(
            server,
            [
                ("disable", [true, true]),
                ("allow", [true, true]),
                ("prefer", [true, true]),
                // libpq verifies where there is a file of roots.
                ("require", [true, false]),
                ("verify-ca", [true, false]),
                ("verify-full", [true, false]),
            ],
        );
        let by_name = format!(
            "postgres://postgres:{PASSWORD}@not-in-the-certificate/postgres?hostaddr=127.0.0.1&port={}&sslrootcert={}",
            server.port(),
            server.ca().display()
        );
        healthcheck(&format!("{by_name}&sslmode=verify-ca")).assert_exit(0);
        healthcheck(&format!("{by_name}&sslmode=verify-full"))
            .assert_exit(1)
            .assert_stderr_contains("certificate");
    });
}

#[test]
fn without_tls_on_the_server_the_modes_that_want_it_fail_as_psql_does() {
    on_each_version(&Postgres::options(), |server| {
        assert_modes(
            server,
            [
                ("disable", [true, true]),
                ("allow", [true, true]),
                ("prefer", [true, true]),
                ("require", [false, false]),
                ("verify-ca", [false, false]),
                ("verify-full", [false, false]),
            ],
        );
    });
}

#[test]
fn two_replicas_migrate_one_after_the_other_and_once_where_the_version_says_so() {
    on_each_version(&Postgres::options(), |server| {
        let url = server.url(&server.create_db());
        let migrations = Migrations::new(TICKING);
        let replica = |name: &str, once: &[&str]| {
            migrate(&url)
                .args(once)
                .arg("--")
                .arg(migrations.script())
                .arg(name)
                .start()
        };
        for (once, second_runs) in [(&[][..], true), (&["--migrate-once", "v1"], false)] {
            let [first, second] = if once.is_empty() {
                ["one", "two"]
            } else {
                ["three", "four"]
            };
            let one = replica(first, once);
            migrations.until_log(&format!("begin {first}"));
            let mut two = replica(second, once);
            two.until_stderr("held by pid");
            let go = migrations.touch("go");
            one.exits(0);
            two.exits(0);
            let ran = migrations.log().contains(&format!("begin {second}"));
            assert_eq!(ran, second_runs, "{}", migrations.log());
            std::fs::remove_file(go).unwrap();
        }
        migrations.assert_alone();
        let four = replica("five", &["--migrate-once", "v1"]).wait();
        four.assert_exit(0).assert_stderr_contains("v1");
        assert!(!migrations.log().contains("five"), "{}", migrations.log());
    });
}

#[test]
fn a_migration_whose_session_the_server_ends_is_killed_and_the_next_one_goes_through() {
    on_each_version(&Postgres::options(), |server| {
        let url = server.url(&server.create_db());
        let mut one = migrate(&url)
            .args(["--", "sh", "-c", "echo begin; exec sleep 1000"])
            .start();
        one.until_stdout("begin");
        let ended = server.psql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'",
        );
        assert_eq!(ended, "t");
        one.exits(125);
        migrate(&url)
            .args(["--", "echo", "ran"])
            .exits(0)
            .assert_stdout("ran\n");
        let left = || {
            let count = server.psql(
                "postgres",
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
            );
            (count == "0").then_some(())
        };
        assert!(poll_until(common::DEADLINE, left).is_some());
    });
}
