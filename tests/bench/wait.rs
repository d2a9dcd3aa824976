//! How soon readiness is noticed in the first five seconds of a wait: portero beside the loops of usual entrypoints,
//! which sleep a second between two tries (`until pg_isready; do sleep 1; done`, wait-for-it.sh).
//!
//! `cargo bench --bench wait` starts servers at moments swept over the five seconds, all waiters at once, and prints a
//! table; nothing passes or fails. PostgreSQL is ready when its log says so. Then it counts what each asks for in a
//! minute that never gets ready.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::print_stdout,
    missing_docs
)]

#[path = "../common/mod.rs"]
mod common;

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::postgres::{Postgres, programs};
use common::server::unused_port;
use common::{Run, portero, retries, tool};

/// Servers of each kind.
const RUNS: u32 = 25;
const SPAN: Duration = Duration::from_secs(5);

fn main() {
    let mut table = Vec::new();
    for (what, measure) in [
        (
            "PostgreSQL",
            postgres as fn(Duration) -> Vec<(&'static str, f64)>,
        ),
        ("a TCP port", tcp_port),
    ] {
        let mut waiters: Vec<(&str, Vec<f64>)> = Vec::new();
        for run in 0..RUNS {
            for (index, (name, delay)) in measure(SPAN * run / RUNS).into_iter().enumerate() {
                if waiters.len() == index {
                    waiters.push((name, Vec::new()));
                }
                waiters[index].1.push(delay);
            }
        }
        table.push((what, waiters));
    }
    println!(
        "\n| from ready to noticed, ms | median | 9 of 10 within | worst |\n|---|---:|---:|---:|"
    );
    for (what, waiters) in table {
        for (name, mut delays) in waiters {
            delays.sort_by(f64::total_cmp);
            let at = |share: f64| delays[((delays.len() - 1) as f64 * share).round() as usize];
            println!(
                "| {what}: {name} | {:.0} | {:.0} | {:.0} |",
                at(0.5),
                at(0.9),
                at(1.0)
            );
        }
    }
    gentleness();
}

/// How long what never gets ready is waited for.
const MINUTE: Duration = Duration::from_secs(60);

/// What is asked for in a minute, all waiters side by side.
fn gentleness() {
    let wait = |target: &str| Run::portero().args(["wait", "--wait-timeout", "none", target]);
    let shell = |test: String| {
        let script = format!("until {test}; do sleep 1; done");
        Run::program("bash").args(["-c", &script])
    };
    let connect = move |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap();
        shell(format!("(echo > /dev/tcp/{host}/{port}) 2>/dev/null"))
    };
    let log_in = move |url: &str| {
        let psql = programs().join("psql");
        shell(format!(
            "{} -c 'SELECT 1' '{url}' 2>/dev/null",
            psql.display()
        ))
    };
    let counts = [
        (
            "connections that are refused",
            thread::spawn(move || retries::refused(wait, MINUTE)),
            thread::spawn(move || retries::refused(connect, MINUTE)),
        ),
        (
            "questions for a name that does not exist",
            thread::spawn(move || retries::look_ups(wait, MINUTE)),
            thread::spawn(move || retries::look_ups(connect, MINUTE)),
        ),
        (
            "logins with a wrong password",
            thread::spawn(move || retries::logins(wait, MINUTE)),
            thread::spawn(move || retries::logins(log_in, MINUTE)),
        ),
    ];
    println!("\n| in a minute | `portero wait` | bash, sleep 1 |\n|---|---:|---:|");
    for (what, own, other) in counts {
        println!(
            "| {what} | {} | {} |",
            own.join().unwrap(),
            other.join().unwrap()
        );
    }
}

/// A server that is started this long after the waiters.
fn postgres(delay: Duration) -> Vec<(&'static str, f64)> {
    let mut server = Postgres::options()
        .setting("log_line_prefix = '%n '")
        .prepare();
    let port = server.port();
    let pg_isready = format!(
        "until {} -q -h 127.0.0.1 -p {port}; do sleep 1; done",
        programs().join("pg_isready").display()
    );
    let url = server.url("postgres");
    let waiters = [
        (
            "portero wait, a login",
            wait([portero().into(), "wait".into(), url.into()]),
        ),
        ("pg_isready, sleep 1", shell(&pg_isready)),
        ("bash /dev/tcp, sleep 1", shell(&tcp_loop(port))),
    ];
    thread::sleep(delay);
    let ready = "database system is ready to accept connections";
    server.launch_until_log(ready);
    let log = server.log();
    let line = log.lines().find(|line| line.contains(ready)).unwrap();
    let ready = line.split(' ').next().unwrap().parse::<f64>().unwrap() * 1e3;
    since(ready, waiters)
}

/// A listener that is there this long after the waiters.
fn tcp_port(delay: Duration) -> Vec<(&'static str, f64)> {
    let port = unused_port();
    let target = format!("127.0.0.1:{port}");
    let waiters = [
        (
            "portero wait",
            wait([portero().into(), "wait".into(), target.clone().into()]),
        ),
        ("bash /dev/tcp, sleep 1", shell(&tcp_loop(port))),
    ];
    thread::sleep(delay);
    let listener = TcpListener::bind(&target).unwrap();
    let delays = since(now(), waiters);
    drop(listener);
    delays
}

/// The way of wait-for-it.sh.
fn tcp_loop(port: u16) -> String {
    format!("until (echo > /dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 1; done")
}

fn shell(script: &str) -> JoinHandle<f64> {
    wait([tool("bash").into(), "-c".into(), script.into()])
}

/// When the command has ended well.
fn wait(line: [OsString; 3]) -> JoinHandle<f64> {
    thread::spawn(move || {
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{line:?}");
        now()
    })
}

/// Milliseconds from `ready` to the end of each; a waiter that was content before that has less than none.
fn since<const N: usize>(
    ready: f64,
    waiters: [(&'static str, JoinHandle<f64>); N],
) -> Vec<(&'static str, f64)> {
    let delay = |(name, waiter): (_, JoinHandle<f64>)| (name, waiter.join().unwrap() - ready);
    waiters.into_iter().map(delay).collect()
}

/// Milliseconds of the Unix epoch.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
        * 1e3
}
