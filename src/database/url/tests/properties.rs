//! What holds for every well-formed URL: it means what it means to libpq, password included.

#![allow(clippy::format_collect, clippy::format_push_string)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::database::url::tests::{PostgresUrl, Row, libpq};

/// How many URLs libpq is asked about.
const COUNT: usize = 500;

/// Characters that need no encoding, and those that do.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9_.~-]{1,8}", "[^\\x00\\x1e\\x1f]{1,6}"]
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.~-".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02x}")
            }
        })
        .collect()
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,6}[a-z]",
        Just("10.0.0.9".to_owned()),
        Just("[::1]".to_owned()),
        Just("%2Frun%2Fpg".to_owned()),
    ]
}

/// `host[:port]`
fn address() -> impl Strategy<Value = String> {
    (host(), proptest::option::of(1..=65535_u16)).prop_map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn parameter() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(
            &[
                "disable",
                "allow",
                "prefer",
                "require",
                "verify-ca",
                "verify-full"
            ][..]
        )
        .prop_map(|mode| format!("sslmode={mode}")),
        prop::sample::select(&["disable", "prefer", "require"][..])
            .prop_map(|binding| format!("channel_binding={binding}")),
        prop::sample::select(
            &[
                "any",
                "read-write",
                "read-only",
                "primary",
                "standby",
                "prefer-standby"
            ][..]
        )
        .prop_map(|wanted| format!("target_session_attrs={wanted}")),
        (1..=65535_u16).prop_map(|port| format!("port={port}")),
        text().prop_map(|user| format!("user={}", encoded(&user))),
        text().prop_map(|password| format!("password={}", encoded(&password))),
        text().prop_map(|database| format!("dbname={}", encoded(&database))),
        text().prop_map(|name| format!("application_name={}", encoded(&name))),
        text().prop_map(|options| format!("options={}", encoded(&options))),
        "[a-z]{1,6}(,[a-z]{1,6}){0,2}".prop_map(|hosts| format!("host={hosts}")),
        (0..100_u8).prop_map(|seconds| format!("connect_timeout={seconds}")),
        Just("keepalives_idle=5".to_owned()),
        Just("ssl=true".to_owned()),
    ]
}

fn url() -> impl Strategy<Value = String> {
    let addresses = prop::collection::vec(address(), 0..3);
    let parameters = prop::collection::vec(parameter(), 0..5);
    let part = || proptest::option::of(text());
    (part(), part(), addresses, part(), parameters).prop_map(
        |(user, password, addresses, database, parameters)| {
            let mut url = String::from("postgresql://");
            if let Some(user) = user {
                url += &encoded(&user);
                if let Some(password) = password {
                    url += &format!(":{}", encoded(&password));
                }
                url.push('@');
            }
            url += &addresses.join(",");
            if let Some(database) = database {
                url += &format!("/{}", encoded(&database));
            }
            // Several of a name: SQLAlchemy's lists of hosts, which libpq does not know.
            let mut named = BTreeMap::new();
            for parameter in &parameters {
                named.insert(
                    parameter.split('=').next().unwrap_or_default(),
                    parameter.as_str(),
                );
            }
            if !named.is_empty() {
                let query: Vec<&str> = named.into_values().collect();
                url += &format!("?{}", query.join("&"));
            }
            url
        },
    )
}

#[test]
fn well_formed_urls_mean_what_they_mean_to_libpq() {
    let mut runner = TestRunner::new(Config::default());
    let rows: Vec<Row> = (0..COUNT)
        .map(|_| {
            let url = url()
                .new_tree(&mut runner)
                .expect("it can be made")
                .current();
            libpq::row(&url, &[("HOME", "/nonexistent")])
        })
        .collect();
    let mut accepted = 0;
    for (row, answer) in rows.iter().zip(libpq::ask(&rows)) {
        if answer.accepts() {
            accepted += 1;
            let url = PostgresUrl::parse(&row.url, &row.env.iter().cloned().collect())
                .unwrap_or_else(|error| panic!("{}: {error}", row.url));
            assert_eq!(libpq::ours(&url), libpq::theirs(&answer), "{}", row.url);
        }
    }
    assert!(accepted > COUNT / 3, "libpq accepts {accepted} only");
}
