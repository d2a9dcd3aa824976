//! The lock's dialogue with a server that goes silent after each of its messages in turn: it ends within its limits,
//! and says meanwhile what it waits for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::proxy::{Proxy, Way};
use common::{DEADLINE, Ended, Finished, Postgres, Run};

fn migrate(url: &str) -> Run {
    Run::portero()
        .env("DATABASE_URL", format!("{url}?sslmode=disable"))
        .line("migrate --database DATABASE_URL --migrate-once v1")
}

/// The messages up to the migration, on the connections after the one that waits for the database.
fn messages(server: &Postgres, url: &str) -> usize {
    let proxy = Proxy::start(server.port());
    proxy.silent_after(usize::MAX, 1);
    let url = proxy.url(url, server.port());
    let mut process = migrate(&url)
        .args(["--", "sh", "-c", "echo begin; exec sleep 1000"])
        .start();
    process.until_stdout("begin");
    proxy.messages()
}

fn silent_after(count: usize, url: &str, port: u16) -> (Finished, Duration) {
    let proxy = Proxy::start(port);
    proxy.silent_after(count, 1);
    let start = Instant::now();
    let finished = migrate(&proxy.url(url, port))
        // A lock of its own: what it was cut off from the server still has.
        .args(["--lock-name", &format!("lock{}", proxy.port())])
        .args(["--lock-timeout", "3s", "--", "echo", "ran"])
        .start()
        .wait_at_most(Duration::from_secs(60));
    (finished, start.elapsed())
}

/// The limit, and what the last try, at the very limit, may take, and a start.
const IN_TIME: Duration = Duration::from_millis(4700);

#[test]
fn a_server_that_goes_silent_after_any_message_of_the_dialogue_is_124_at_the_limit() {
    let server = Postgres::options().max_connections(200).start();
    let (url, port) = (&server.url(&server.create_db()), server.port());
    // The table is there from the first case on, as it is when they are counted.
    let first = migrate(url).args(["--lock-name", "first", "--", "true"]);
    first.exits(0);
    let all = messages(&server, url);
    assert!(all > 40, "only {all} messages");
    let mut late = Vec::new();
    let cases: Vec<usize> = (0..all).step_by(if all > 60 { 4 } else { 1 }).collect();
    for chunk in cases.chunks(30) {
        thread::scope(|scope| {
            let running: Vec<_> = chunk
                .iter()
                .map(|&count| (count, scope.spawn(move || silent_after(count, url, port))))
                .collect();
            for (count, running) in running {
                let (finished, took) = running.join().unwrap();
                finished.assert_stdout("");
                // The looks after the lock was got have 20 s of their own.
                if finished.ended == Ended::Code(125) {
                    finished.assert_stderr_contains("has not answered for 20 s");
                    continue;
                }
                assert_eq!(
                    finished.ended,
                    Ended::Code(124),
                    "after message {count}{finished}"
                );
                finished.assert_stderr_contains("no migration lock");
                assert!(took < Duration::from_secs(20), "{took:?}{finished}");
                if took > IN_TIME {
                    late.push(count);
                }
            }
        });
    }
    // Thirty at once may be late for want of a processor; alone none is.
    assert!(late.len() < 8, "late: {late:?}");
    late.retain(|&count| (0..3).all(|_| silent_after(count, url, port).1 > IN_TIME));
    assert!(late.is_empty(), "late: {late:?}");
}

#[test]
fn a_question_that_is_never_answered_is_asked_anew_on_another_connection_with_signs_of_life_by_the_clock()
 {
    let server = Postgres::start();
    let proxy = Proxy::start(server.port());
    let url = proxy.url(&server.url(&server.create_db()), server.port());
    // Amid the login.
    proxy.silent_after(8, 1);
    let mut process = migrate(&url).args(["--", "echo", "ran"]).start();
    process.until_stderr("waiting for the migration lock");
    process.until_stderr("still waiting for the migration lock");
    // The network is back, for new connections and old; what was asked before is lost.
    proxy.silent_after(usize::MAX, 1);
    process
        .wait_at_most(DEADLINE * 2)
        .assert_exit(0)
        .assert_stdout("ran\n")
        .assert_stderr_contains("(ETIMEDOUT)");
}

#[test]
fn a_slow_network_is_not_an_absent_one() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.port());
    let url = proxy.url(&server.url(&server.create_db()), server.port());
    for way in [Way::ToServer, Way::ToClient] {
        proxy.delay(way, Duration::from_millis(150));
    }
    migrate(&url)
        .args(["--", "echo", "ran"])
        .start()
        .wait_at_most(DEADLINE * 2)
        .assert_exit(0)
        .assert_stdout("ran\n");
}
