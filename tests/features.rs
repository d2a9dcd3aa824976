//! Builds with less in them: what such a one lacks is refused by name, and all else is as in the full one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use common::{Run, portero_minimal, rows};

/// What is refused, and by which features' lack.
const LACKED: &str = "
    wait --wait-timeout 1s postgres://app:hunter2@db/shop     Postgres  postgres
    wait --wait-timeout 1s postgresql+asyncpg://a:hunter2@db  Postgres  postgres
    wait --wait-timeout 1s pg://app:hunter2@db:5432/shop      Postgres  postgres
    wait --wait-timeout 1s Host=db;Password=hunter2           Postgres  postgres
    wait --wait-timeout 1s jdbc:postgresql:shop               Postgres  postgres
    wait --wait-timeout 1s unix:///run/redis.sock?db=1        Redis     redis
    wait --wait-timeout 1s https://user:hunter2@api/health    TLS       tls
    wait --wait-timeout 1s redis://:hunter2@cache             Redis     redis
    wait --wait-timeout 1s rediss://:hunter2@cache            Redis     redis
    wait --wait-timeout 1s redis+unix:///run/redis.sock       Redis     redis
    healthcheck redis://:hunter2@127.0.0.1:1                  Redis     redis
    healthcheck --insecure http://127.0.0.1:1                 TLS       tls
    wait --ca-cert /ca.pem 127.0.0.1:1                        TLS       tls
    --database postgres://app:hunter2@db/shop -- true         Postgres  postgres
    --migrate-once v1 -- true                                 Postgres  postgres
    --lock-name shop -- true                                  Postgres  postgres
    --migrate true -- true                                    Postgres  postgres
    migrate -- true                                           Postgres  postgres
";

fn minimal() -> Run {
    Run::program(portero_minimal())
}

#[test]
fn what_the_minimal_build_lacks_is_refused_by_name_and_nothing_else_is_done() {
    for [line, called, feature] in rows(LACKED) {
        let finished = minimal().args(line.split(' ')).finish();
        let code = if line.starts_with("healthcheck") {
            1
        } else {
            125
        };
        let refusal = format!(
            ": this build has no {called} (feature \"{feature}\"): use the full build of portero"
        );
        finished.assert_exit(code).assert_stderr_contains(&refusal);
        assert_eq!(finished.stderr.lines().count(), 1, "{line}{finished}");
        assert!(!finished.stderr.contains("hunter2"), "{line}{finished}");
    }
}

#[test]
fn variables_of_what_it_lacks_are_refused_too() {
    let table = "
        PORTERO_WAIT           postgres://app@db/shop  PORTERO_WAIT: target \"postgres://***\": this build has no Postgres
        PORTERO_CA_CERT        /ca.pem                 PORTERO_CA_CERT: this build has no TLS
        PORTERO_LOCK_TIMEOUT   5m                      PORTERO_LOCK_TIMEOUT: this build has no Postgres
    ";
    for [name, value, refusal] in rows(table) {
        let run = minimal().env(name, value).args(["--", "true"]);
        run.exits(125).assert_stderr_contains(refusal);
    }
    let run = minimal().env("DATABASE_URL", "postgres://app:hunter2@db/shop");
    run.args(["--database", "DATABASE_URL", "--", "true"])
        .exits(125)
        .assert_stderr_contains("target DATABASE_URL: this build has no Postgres");
}

#[test]
fn its_help_shows_what_is_there_and_its_version_says_what_is_not() {
    let version = common::VERSION.replace("postgres, tls, redis", "minimal");
    minimal().arg("--version").exits(0).assert_stdout(&version);
    for command in [&["--help"][..], &["wait", "--help"], &["migrate", "-h"]] {
        let help = minimal().args(command).exits(0).stdout;
        for absent in [
            "--ca-cert",
            "--insecure",
            "--lock-",
            "--migrate-once",
            "redis",
            "https",
        ] {
            assert!(!help.contains(absent), "{absent}: {help}");
        }
        assert!(help.contains("--wait-timeout"), "{help}");
    }
}

#[test]
fn it_migrates_without_a_lock() {
    let line = [
        "--no-lock",
        "--migrate",
        "echo migrated",
        "--",
        "echo",
        "started",
    ];
    let finished = minimal().args(line).pid1().exits(0);
    finished.assert_stdout("migrated\nstarted\n");
}
