//! What holds for every text that could be given as a target, and for every password.
//!
//! `PROPTEST_CASES=10000000 cargo test --release properties` is the long form.

#![allow(clippy::format_collect, clippy::format_push_string)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;

/// Generous: a parser that takes longer for less than a kilobyte is not linear.
const LONGEST: Duration = Duration::from_millis(100);

/// In every piece of a password, so that showing any of it is noticed.
const MARK: &str = "S3CRET";

/// What URLs are made of, and what breaks them.
const PIECES: &str = "postgres://|postgresql+asyncpg://| |jdbc:postgresql:|r2dbc:pool:postgresql://|psql:|http://|\
    https://|http+unix://|tcp://|unix://|file://|redis://|rediss://|://|@|:|/|//|?|#|%|%4|%40|%00|%ff|[|]|[::1]|,|&|=|\
    host=|Host=|;Database=|Server=|dbname=|amqp://|;amqp://|nats://|jdbc:sqlserver://|tcp(|)|{|}|;|hostaddr=|port=|user=|password=|sslmode=|ssl=true|service=|unix_sock=/.s.PGSQL.|db|5432|65536|\"|'|\n|\
    é";

fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    Config {
        cases: cases.unwrap_or(1000),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Any bytes, or pieces of URLs in any order with any text between them.
fn any_target() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(PIECES.split('|').collect::<Vec<_>>())
            .prop_map(|piece| piece.as_bytes().to_vec()),
        2 => "[a-zA-Z0-9._-]{0,6}".prop_map(String::into_bytes),
        1 => prop::collection::vec(1..=255_u8, 0..4),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(Duration::ZERO, Duration::from)
}

/// What a parser made of it, as it may come to be printed.
fn printed(target: &Result<Target, Failure>) -> String {
    match target {
        Ok(target) => format!("{target} {target:?}"),
        Err(failure) => failure.message.clone(),
    }
}

/// Marks with any characters between them.
fn password() -> impl Strategy<Value = String> {
    let between = prop_oneof![
        3 => "[@:/?#%&=,;\\[\\]+ '\"]{1,3}",
        1 => "[^\\x00]{0,4}",
        1 => prop::sample::select(&["%40", "%", "?a=", "@db", "://", ":5432", "?x=1&"][..]).prop_map(String::from),
    ];
    prop::collection::vec(between, 0..4).prop_map(|between| {
        format!(
            "{MARK}{}",
            between
                .iter()
                .map(|text| format!("{text}{MARK}"))
                .collect::<String>()
        )
    })
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn parse(text: &str, env: &Environment) -> Result<Target, Failure> {
    let env = env
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain([(OsString::from("URL"), OsString::from(text))]);
    Target::parse(OsStr::new("URL"), &env.collect())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_understood_or_refused_soon(bytes in any_target()) {
        let text = OsString::from_vec(bytes);
        let env = [("URL", text.as_os_str())].into_iter().collect();
        let before = cpu_time();
        let targets = [
            Target::parse(&text, &Environment::default()),
            Target::parse(OsStr::new("URL"), &env),
        ];
        let took = cpu_time().saturating_sub(before);
        for target in targets {
            let shown = printed(&target);
            prop_assert!(target.is_ok() || !shown.contains('\n'), "{shown:?}");
        }
        prop_assert!(took < LONGEST, "took {took:?}");
    }

    #[test]
    fn no_password_in_a_database_url_is_ever_shown(password in password()) {
        let none = Environment::default();
        let env: Environment = [("PGPASSWORD", password.as_str())].into_iter().collect();
        let encoded = encoded(&password);
        // To the letter, as people write it; a NUL can't be in a variable.
        let in_userinfo = format!("postgres://app:{password}@db:5432/shop?sslmode=require");
        let in_http = format!("http://user:{password}@api/health?token={password}");
        // By the book what follows the first `@` is a host then, and shown.
        let behind = password.split_once('@').map_or("", |(_, behind)| behind);
        let is_cut = behind.contains(['/', '?', '#', ';']);
        let by_the_book = |url: String| if is_cut { String::new() } else { url };
        let in_http = by_the_book(in_http);
        let in_amqp = by_the_book(format!("amqp://app:{password}@mq/v"));
        let in_redis = by_the_book(format!("redis://app:{password}@cache/0"));
        for (url, env, must_be_understood) in [
            (in_userinfo, &none, false),
            (in_http, &none, false),
            (format!("postgres://app:{encoded}@db/shop"), &none, true),
            (format!("postgres://db/shop?user=app&password={encoded}"), &none, true),
            (format!("postgres://db/shop?user=app&password={password}"), &none, false),
            (format!("jdbc:postgresql://db/shop?password={password}&user=app"), &none, false),
            (format!("host=db dbname=shop user=app password={password}"), &none, false),
            (format!("Host=db;Database=shop;Username=app;Password={password}"), &none, false),
            (in_amqp, &none, false),
            (format!("amqp://app:{encoded}@mq,b:5672/v"), &none, true),
            (in_redis, &none, false),
            (format!("redis://cache/0?password={encoded}"), &none, true),
            ("postgres://app@db/shop".to_owned(), &env, true),
            (format!("http://user:{encoded}@api/health?token={encoded}"), &none, true),
        ] {
            let target = parse(&url, env);
            let shown = printed(&target);
            prop_assert!(!shown.contains(MARK), "{url} is shown as {shown}");
            prop_assert!(target.is_ok() || !must_be_understood, "{url}: {shown}");
        }
    }
}
