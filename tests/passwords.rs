//! No password is printed, whatever it is and wherever it stands: by the whole binary, at its most talkative.
//!
//! `PROPTEST_CASES=500 cargo test --test passwords` is a longer form.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use common::server::unused_port;
use common::{Ended, Run, Server};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// In every piece of a password, so that a piece of it is noticed too.
const MARK: &str = "S3CRET";

fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok();
    Config {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(6),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Marks with any bytes between them but NUL, which no variable can hold.
fn password() -> impl Strategy<Value = Vec<u8>> {
    let between = prop_oneof![
        prop::collection::vec(1..=255_u8, 0..5),
        "[@:/?#%&=,; '\"]{1,4}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(between, 0..4).prop_map(|between| {
        let mut password = MARK.as_bytes().to_vec();
        for bytes in between {
            password.extend(bytes);
            password.extend(MARK.as_bytes());
        }
        password
    })
}

fn encoded(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

fn joined(parts: &[&[u8]]) -> OsString {
    OsString::from_vec(parts.concat())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_password_is_printed_by_any_command(password in password()) {
        let server = Server::start(|mut stream| {
            use std::io::{Read, Write};
            let _ = stream.read(&mut [0; 1024]);
            // What is sent back may end up in a message.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        let (there, gone) = (server.address().to_string(), format!("127.0.0.1:{}", unused_port()));
        let percent = encoded(&password);
        let mut cases: Vec<(OsString, &[u8])> = Vec::new();
        for place in [&there, &gone] {
            cases.push((format!("postgres://app:{percent}@{place}/shop").into(), b""));
            cases.push((format!("postgres://{place}/shop?user=app&password={percent}").into(), b""));
            cases.push((format!("postgres://app@{place}/shop").into(), &password));
            cases.push((format!("http://app:{percent}@{place}/?token={percent}").into(), b""));
        }
        cases.push((joined(&[b"postgres://app:", &password, b"@", gone.as_bytes(), b"/shop"]), b""));
        cases.push((joined(&[b"postgres://", gone.as_bytes(), b"/shop?user=app&password=", &password]), b""));
        for (url, variable) in cases {
            for arguments in [
                &["wait", "-v", "--wait-timeout", "20ms", "URL"][..],
                &["wait", "-v", "--log-format", "json", "--wait-timeout", "20ms", "URL"],
                &["healthcheck", "-v", "--timeout", "2s", "URL"],
                &["-v", "--dry-run", "--database", "URL", "--wait", "URL", "--migrate", "true", "--", "true"],
            ] {
                let finished = Run::portero()
                    .args(arguments)
                    .env("URL", &url)
                    .env("PGPASSWORD", OsStr::from_bytes(variable))
                    .finish();
                prop_assert!(matches!(finished.ended, Ended::Code(0 | 1 | 124 | 125)), "{finished}");
                finished.assert_never_says(MARK);
            }
        }
    }
}

#[test]
fn a_password_that_white_space_cuts_in_two_is_not_printed() {
    for scheme in ["http", "redis", "postgres", "tcp", "mysql", "driver+x"] {
        for user in ["app", ""] {
            for password in [
                format!("{MARK} x"),
                format!("{MARK}/ x"),
                format!("1{MARK} {MARK}"),
            ] {
                let finished = Run::portero()
                    .args(["wait", "-v", "--wait-timeout", "20ms"])
                    .env(
                        "PORTERO_WAIT",
                        format!("{scheme}://{user}:{password}@db/shop"),
                    )
                    .finish();
                assert!(matches!(finished.ended, Ended::Code(125)), "{finished}");
                finished.assert_never_says(MARK);
            }
        }
    }
}

#[test]
fn of_a_password_with_what_looks_like_a_host_and_a_query_nothing_is_asked_for() {
    for password in [
        "p@hunter2/x?y=z",
        "p@hunter2?x=1",
        "hunter2@hunter2:5/?a_b=@",
        "p@hunter2?x=1&y",
    ] {
        let url = format!("postgres://app:{password}@127.0.0.1:{}/shop", unused_port());
        let finished = Run::portero()
            .args(["wait", "-v", "--wait-timeout", "20ms", &url])
            .finish();
        finished.assert_exit(124).assert_never_says("hunter2");
        finished.assert_stderr_contains("connection refused");
    }
}
