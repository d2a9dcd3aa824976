mod libpq;
mod properties;

use super::*;
use crate::net::tls::settings::TrustedRoots;

fn parse(text: &str, env: &[(&str, &str)]) -> Result<PostgresUrl, String> {
    PostgresUrl::parse(text, &env.iter().copied().collect())
}

/// A line of `urls.txt`: a URL, what it is shown as, its password, and the environment.
struct Row {
    url: String,
    shown: String,
    password: Option<String>,
    env: Vec<(String, String)>,
}

/// The forms of URLs that real applications have.
fn rows() -> Vec<Row> {
    let lines = include_str!("tests/urls.txt").lines();
    let mut rows = Vec::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let columns: Vec<&str> = line.split("  ").filter(|text| !text.is_empty()).collect();
        let [url, shown, password, env @ ..] = columns.as_slice() else {
            panic!("a line of urls.txt lacks a column: {line}");
        };
        let env = env.iter().flat_map(|list| list.split(' '));
        rows.push(Row {
            url: (*url).into(),
            shown: (*shown).into(),
            password: (*password != "-").then(|| (*password).into()),
            env: env
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        });
    }
    rows
}

#[test]
fn urls_of_real_applications_are_understood() {
    for row in rows() {
        match PostgresUrl::parse(&row.url, &row.env.iter().cloned().collect()) {
            Ok(url) => {
                assert_eq!(url.to_string(), row.shown, "{}", row.url);
                assert_eq!(url.password, row.password, "{}", row.url);
            }
            Err(error) => panic!("{}: {error}", row.url),
        }
    }
}

#[test]
fn tls_settings_come_from_the_environment_too() {
    let env = [("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", "/ca.pem")];
    let url = parse("postgres://", &env).map(|url| url.tls);
    assert!(url.is_ok_and(|tls| tls.mode == SslMode::VerifyCa
        && tls.roots == Some(TrustedRoots::File("/ca.pem".into()))));
}

#[test]
fn sslmode_is_libpqs_and_its_dialects() {
    let table = [
        ("", SslMode::Prefer),
        ("sslmode=disable", SslMode::Disable),
        ("sslmode=allow", SslMode::Allow),
        ("sslmode=prefer", SslMode::Prefer),
        ("sslmode=require", SslMode::Require),
        ("sslmode=verify-ca", SslMode::VerifyCa),
        ("sslmode=verify-full", SslMode::VerifyFull),
        ("sslmode=no-verify", SslMode::RequireUnverified),
        ("ssl=true", SslMode::Require),
        ("ssl=false", SslMode::Disable),
        ("ssl=verify-full", SslMode::VerifyFull),
        ("sslrootcert=system", SslMode::VerifyFull),
        (
            "sslrootcert=system&sslmode=verify-full",
            SslMode::VerifyFull,
        ),
    ];
    for (query, mode) in table {
        let url = parse(&format!("postgres://app@db/shop?{query}"), &[]);
        assert_eq!(url.map(|url| url.tls.mode), Ok(mode), "{query}");
    }
}

/// libpq 16 and later (its fe-connect.c): "weak sslmode may not be used with sslrootcert=system".
#[test]
fn the_roots_of_the_system_go_with_no_weaker_mode() {
    let weak = [
        "disable",
        "allow",
        "prefer",
        "require",
        "verify-ca",
        "no-verify",
    ];
    for mode in weak {
        let query = format!("sslmode={mode}&sslrootcert=system");
        let in_url = parse(&format!("postgres://app@db/shop?{query}"), &[]);
        let variables = [("PGSSLMODE", mode), ("PGSSLROOTCERT", "system")];
        let in_variables = parse("postgres://app@db/shop", &variables);
        for url in [in_url, in_variables] {
            let error = url.map(|url| url.tls.mode).unwrap_err();
            let words = format!("sslmode={mode} is too weak for sslrootcert=system");
            assert!(
                error.starts_with(&words) && error.ends_with("sslmode=verify-full"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_connect_timeout_of_any_length_ends_within_the_clocks_range() {
    for (text, seconds) in [("5", 5), ("9223372036854775807", 2_147_483_647)] {
        let url = format!("postgres://db/shop?connect_timeout={text}");
        let limit = parse(&url, &[]).unwrap().connect_timeout.unwrap();
        assert_eq!(limit.as_secs(), seconds);
        assert!(std::time::Instant::now().checked_add(limit).is_some());
    }
}

#[test]
fn what_cannot_be_understood_is_an_error_without_the_password() {
    let table = [
        "",
        "hunter2",
        "hunter2:x",
        "mysql://app:hunter2@db/shop",
        "prisma://app:hunter2@db/shop",
        "prisma+postgres://app:hunter2@db/shop",
        "postgres:app:hunter2@db",
        "postgres://app:hunter2@db:port/shop",
        "postgres://app:hunter2@db:0/shop",
        "postgres://app:hunter2@db:65536/shop",
        "postgres://app:hunter2@db:+5/shop",
        "postgres://app:hunter2@::1/shop",
        "postgres://app:hunter2@[::1/shop",
        "postgres://app:hunter2@[::1]x/shop",
        "postgres://app:hunter2@d b/shop",
        "postgres://app:hunter2%00@db/shop",
        "postgres://app:hunter2%ff@db/shop",
        "postgres://app:hunter2",
        "postgres://app:hunter2/x",
        "postgres://app:hunter2@a,b,c/shop?port=1,2",
        "postgres://app:hunter2@a,b/shop?hostaddr=10.0.0.1",
        "postgres://app:hunter2@a/shop?hostaddr=hunter2",
        "postgres://app:hunter2@a/shop?port=hunter2",
        "postgres://app:hunter2@a/shop?sslmode=hunter2",
        "postgres://app:hunter2@a/shop?channel_binding=hunter2",
        "postgres://app:hunter2@a/shop?target_session_attrs=hunter2",
        "postgres://app:hunter2@a/shop?sslnegotiation=direct",
    ];
    for text in table {
        match parse(text, &[]) {
            Ok(url) => panic!("{text} became {url}"),
            Err(error) => assert!(
                !error.contains("hunter2") && !error.contains('\n'),
                "{text}: {error}"
            ),
        }
    }
}

#[test]
fn no_form_of_a_url_shows_its_password() {
    for text in [
        "postgres://app:hunter2@db/shop",
        "postgres://app:hunter2/x@db/shop",
        "postgres://app:hunter2@x@db/shop",
        "postgres://app:hunter2?x@db/shop",
        "postgres://app@db/shop?password=hunter2",
        "postgres://app:hunter2@[::1]/shop?application_name=hunter2",
        "jdbc:postgresql://db/shop?user=app&password=hunter2",
    ] {
        let url = parse(text, &[("PGPASSWORD", "hunter2")]);
        let shown = format!(
            "{url:?} {}",
            url.as_ref().map(ToString::to_string).unwrap_or_default()
        );
        assert!(url.is_ok() && !shown.contains("hunter2"), "{text}: {shown}");
    }
}

#[test]
fn a_long_value_takes_no_longer_than_its_length() {
    let started = std::time::Instant::now();
    for piece in [
        "@", "?", "/", ":", "%", "%4", "&", "=", ",", "[", "a=", "?a", "@a/?b", "&host=a,",
        "@[::1]:5",
    ] {
        let long = piece.repeat(100_000 / piece.len());
        let _ = parse(&format!("postgres://{long}"), &[]);
        let _ = parse(&format!("postgres://app:{long}@db/shop?x={long}"), &[]);
    }
    // Thirty times a hundred kilobytes: hours, were it quadratic.
    assert!(
        started.elapsed().as_secs() < 60,
        "took {:?}",
        started.elapsed()
    );
}
