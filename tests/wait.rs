//! Waiting: for what, until when, and what is said meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::postgres::PASSWORD;
use common::server::{head, http_answer, unused_port};
use common::{
    DEADLINE, Postgres, Run, Server, TempDir, poll_until, portero, process, side_by_side,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn a_database_that_comes_late_is_waited_for_and_then_command_starts() {
    let mut server = Postgres::prepare();
    let mut process = Run::as_pid1()
        .env("DATABASE_URL", server.url("postgres"))
        .args(["--database", "DATABASE_URL", "--", "echo", "started"])
        .start();
    process.until_stderr(&server.port().to_string());
    assert_eq!(process.stdout(), "", "COMMAND did not wait{process}");
    server.launch();
    process
        .exits(0)
        .assert_stdout("started\n")
        .assert_never_says(PASSWORD);
}

#[test]
fn the_urls_of_applications_are_understood() {
    let server = Postgres::options().tls().start();
    let rest = server.url("postgres");
    let rest = rest.strip_prefix("postgres://").unwrap();
    for scheme in
        "postgres postgresql postgresql+asyncpg postgresql+psycopg2 postgresql+psycopg".split(' ')
    {
        let url = format!("{scheme}://{rest}");
        Run::portero()
            .args(["wait", "--wait-timeout", "10s", "DATABASE_URL"])
            .env("DATABASE_URL", url)
            .exits(0);
    }
    let socket = server
        .socket_directory()
        .display()
        .to_string()
        .replace('/', "%2F");
    for tail in [
        "sslmode=disable",
        "sslmode=prefer",
        "sslmode=require",
        "schema=public&connection_limit=5&pgbouncer=true",
    ] {
        let url = format!("{}?{tail}", server.url("postgres"));
        Run::portero()
            .args(["wait", "--wait-timeout", "10s", &url])
            .exits(0)
            .assert_never_says(PASSWORD);
    }
    let by_socket = format!("postgres://postgres@{socket}:{}/postgres", server.port());
    Run::portero()
        .args(["wait", "--wait-timeout", "10s", &by_socket])
        .exits(0);
}

#[test]
fn a_database_that_says_no_ends_with_125_at_the_limit_and_says_why() {
    let server = Postgres::start();
    server.psql(
        "postgres",
        "CREATE ROLE \"na@me\" LOGIN PASSWORD 'p@ss:w/rd'",
    );
    let odd = server.url_with("na%40me", "p%40ss%3Aw%2Frd", "postgres");
    Run::portero()
        .args(["wait", "--wait-timeout", "10s", &odd])
        .exits(0)
        .assert_never_says("p@ss:w/rd");

    let table = [
        (
            server.url_with("postgres", "wr0ng-secret", "postgres"),
            "28P01",
        ),
        (
            server.url_with("nobody_here", "wr0ng-secret", "postgres"),
            "28P01",
        ),
        (server.url("no_such_database"), "3D000"),
        (format!("{}?sslmode=require", server.url("postgres")), "TLS"),
    ];
    side_by_side(table, |(url, why)| {
        let run = Run::portero().line("wait --wait-timeout 3s --database URL");
        let finished = run.env("URL", url).finish();
        finished
            .assert_exit(125)
            .assert_stderr_contains(why)
            .assert_never_says("wr0ng-secret")
            .assert_never_says(PASSWORD);
        let ours = |line: &str| line.starts_with("portero: ");
        assert!(finished.stderr.lines().all(ours), "another form{finished}");
    });
}

#[test]
fn a_role_that_appears_late_is_waited_for() {
    let server = Postgres::start();
    let url = server.url_with("late", "l4te-secret", "postgres");
    let mut process = Run::portero()
        .args(["wait", "--wait-timeout", "30s", "URL"])
        .env("URL", url)
        .start();
    process.until_stderr("28P01");
    server.psql("postgres", "CREATE ROLE late LOGIN PASSWORD 'l4te-secret'");
    process.exits(0).assert_never_says("l4te-secret");
}

#[test]
fn a_database_that_is_created_late_is_waited_for() {
    let server = Postgres::start();
    let mut process = Run::portero()
        .args(["wait", "--wait-timeout", "30s", "URL"])
        .env("URL", server.url("late"))
        .start();
    process.until_stderr("3D000");
    server.psql("postgres", "CREATE DATABASE late");
    process.exits(0);
}

#[test]
fn what_is_not_there_yet_ends_with_124_at_the_limit() {
    let silent = Server::silent();
    let closing = Server::closing();
    let sick = Server::http(503, "no");
    let refused = unused_port();
    let targets = [
        format!("tcp://127.0.0.1:{refused}"),
        format!("127.0.0.1:{refused}"),
        format!("http://127.0.0.1:{refused}/"),
        format!("postgres://u:p4ssw0rd@127.0.0.1:{refused}/d"),
        format!(
            "postgres://u:p4ssw0rd@{}/d?sslmode=disable",
            silent.address()
        ),
        format!(
            "postgres://u:p4ssw0rd@{}/d?sslmode=disable",
            closing.address()
        ),
        format!("http://{}/", silent.address()),
        format!("http://{}/", closing.address()),
        format!("http://{}/", sick.address()),
        "tcp://no-such-host.invalid:80".into(),
    ];
    side_by_side(targets, |target| {
        let finished = wait("700ms", &[&target]).finish();
        finished
            .assert_exit(124)
            .assert_stdout("")
            .assert_never_says("p4ssw0rd");
        let place = target.rsplit(['@', '/']).find(|part| part.contains(':'));
        finished.assert_stderr_contains(place.unwrap());
    });
}

#[test]
fn a_starting_server_is_not_yet_and_not_a_refusal() {
    let fatal = |code: &str, message: &str| {
        let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
        let mut answer = vec![b'E'];
        answer.extend(u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
        answer.extend(fields.as_bytes());
        answer
    };
    for (code, message) in [
        ("57P03", "the database system is starting up"),
        ("53300", "sorry, too many clients already"),
    ] {
        let answer = fatal(code, message);
        let server = Server::start(move |mut stream| {
            // The startup message says its length first.
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_ok() {
                let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
                let _ = stream.read_exact(&mut rest);
                let _ = stream.write_all(&answer);
            }
        });
        let url = format!(
            "postgres://u:p4ssw0rd@{}/d?sslmode=disable",
            server.address()
        );
        let finished = Run::portero()
            .args(["wait", "--wait-timeout", "700ms", &url])
            .finish();
        finished
            .assert_exit(124)
            .assert_stderr_contains(code)
            .assert_never_says("p4ssw0rd");
    }
}

#[test]
fn tcp_and_http_targets_that_come_late_are_waited_for_side_by_side() {
    let (tcp, http) = (unused_port(), unused_port());
    let (tcp_address, http_address) = (format!("127.0.0.1:{tcp}"), format!("127.0.0.1:{http}"));
    let mut process = Run::as_pid1()
        .args([
            "--wait",
            &format!("tcp://{tcp_address}"),
            "--wait",
            &format!("http://{http_address}/up"),
        ])
        .args(["--", "echo", "started"])
        .start();
    process
        .until_stderr(&tcp_address)
        .until_stderr(&http_address);
    // The last one named comes first.
    let web = Server::answering_on(&http_address, http_answer(302, ""));
    process.until(|_| !web.requests().is_empty(), "a request");
    assert_eq!(process.stdout(), "", "COMMAND did not wait{process}");
    let _port = Server::accepting(&tcp_address);
    process.exits(0).assert_stdout("started\n");
    assert!(
        web.requests()[0].starts_with("GET /up HTTP/1.1\r\n"),
        "{:?}",
        web.requests()
    );
}

#[test]
fn targets_of_the_environment_are_split_at_white_space() {
    let (one, two) = (
        Server::accepting("127.0.0.1:0"),
        Server::accepting("127.0.0.1:0"),
    );
    let list = format!(" tcp://{}\n  {} ", one.address(), two.address());
    Run::portero()
        .env("PORTERO_WAIT", list)
        .arg("wait")
        .exits(0);
    // The kernel accepts before the server counts.
    let both = poll_until(DEADLINE, || {
        (one.connections() > 0 && two.connections() > 0).then_some(())
    });
    assert!(both.is_some(), "one was left out");
}

#[test]
fn one_target_that_is_not_ready_is_enough_and_command_is_not_started() {
    let ready = Server::accepting("127.0.0.1:0");
    let missing = format!("tcp://127.0.0.1:{}", unused_port());
    Run::as_pid1()
        .args([
            "--wait",
            &format!("tcp://{}", ready.address()),
            "--wait",
            &missing,
            "--wait-timeout",
            "700ms",
        ])
        .args(["--", "echo", "started"])
        .exits(124)
        .assert_stdout("");
}

fn wait(limit: &str, targets: &[&str]) -> Run {
    let line = Run::portero().line("wait --wait-timeout");
    line.arg(limit).args(targets)
}

#[test]
fn a_target_that_is_ready_at_once_costs_one_line() {
    let server = Server::silent();
    let name = server.address().to_string();
    // On a machine that is busy it may take a moment, and then the wait is announced.
    let one = poll_until(DEADLINE, || {
        let finished = wait("20s", &[&name]).finish();
        finished.assert_exit(0);
        let line = format!("portero: {name} is ready after ");
        let ready = finished.stderr.starts_with(&line);
        (ready && finished.stderr.lines().count() == 1).then_some(())
    });
    assert!(one.is_some(), "always more than one line");
}

/// Answers the first requests with these statuses, one each, and the others with the last.
fn statuses(statuses: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(move |mut stream| {
        head(&mut stream);
        let status = statuses(asked.fetch_add(1, Ordering::SeqCst));
        let _ = stream.write_all(http_answer(status, "").as_bytes());
    })
}

#[test]
fn each_reason_is_said_once_and_not_many_of_those_that_never_repeat() {
    let server = statuses(|asked| *[503, 503, 500, 503].get(asked).unwrap_or(&200));
    let name = format!("http://{}/", server.address());
    let finished = wait("20s", &[&name]).finish();
    finished.assert_exit(0);
    let lines: Vec<_> = finished.stderr.lines().collect();
    let said = [
        format!("portero: waiting for {name} (up to 20s)"),
        format!("portero: {name}: status 503"),
        format!("portero: {name}: status 500"),
    ];
    assert_eq!(lines[..3], said, "{finished}");
    let last = format!("portero: {name} is ready after ");
    assert!(
        lines.len() == 4 && lines[3].starts_with(&last),
        "{finished}"
    );
    assert_eq!(server.connections(), 5);

    let server = statuses(|asked| 400 + u16::try_from(asked % 200).unwrap());
    let name = format!("http://{}/", server.address());
    let run = wait("none", &[&name]).line("--wait-max-interval 10ms");
    let mut process = run.start();
    process.until(|_| server.connections() > 60, "many answers");
    process.signal(Signal::SIGTERM);
    let said = process.wait().stderr.matches(": status ").count();
    assert_eq!(said, 20);
}

#[test]
fn the_limit_ends_the_wait_and_lists_who_is_missing() {
    let (ready, silent) = (Server::silent(), Server::silent());
    let (ready, gone) = (
        ready.address().to_string(),
        format!("127.0.0.1:{}", unused_port()),
    );
    let hangs = format!("http://{}/", silent.address());
    let finished = wait("1s", &[&ready, &gone, &hangs]).finish();
    let missing = format!(
        "portero: not ready after 1s: {gone}: connection refused (ECONNREFUSED); {hangs}: no answer"
    );
    finished.assert_exit(124).assert_stderr_contains(&missing);
}

#[test]
fn a_target_that_says_no_is_told_apart() {
    let plain = Server::saying("HTTP/1.1 400 Bad Request\r\n\r\n");
    let name = format!("https://{}/", plain.address());
    let gone = format!("127.0.0.1:{}", unused_port());
    let finished = wait("1s", &["--insecure", &name, &gone]).finish();
    finished.assert_exit(125);
    let no = "it answers, and says no: waiting will hardly change that; check ";
    let line = format!(
        "\nportero: warning: {name}: it does not speak TLS on this port: use http://; {no}"
    );
    assert_eq!(finished.stderr.matches(&line).count(), 1, "{finished}");
    assert_eq!(finished.stderr.matches(no).count(), 1, "{finished}");
}

#[test]
fn wait_as_pid_1_ends_by_a_stop_signal() {
    let target = format!("127.0.0.1:{}", unused_port());
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        for run in [Run::as_pid1(), Run::portero()] {
            let mut process = run.args(["wait", &target]).start();
            process.until_stderr(&target);
            process.signal(signal);
            process.exits(code);
        }
    }
}

#[test]
fn a_wait_whose_init_is_killed_below_another_one_ends_too() {
    let directory = TempDir::new();
    let line = format!(
        "{} --wait file://{} -- true & while :; do sleep 1000; done",
        portero().display(),
        directory.join("missing").display()
    );
    let mut shell = Run::program("/bin/sh").pid1().args(["-c", &line]).start();
    shell.until_stderr("waiting for");
    let with = |second: &str| {
        let line = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline"));
        let is_it = |line: String| line.split('\0').nth(1) == Some(second);
        let mut pids = process::tree(shell.pid_if_any());
        pids.retain(|pid| line(pid).is_ok_and(is_it));
        pids
    };
    assert_eq!(with("wait").len(), 1, "{shell}");
    kill(Pid::from_raw(with("--wait")[0]), Signal::SIGKILL).unwrap();
    let gone = poll_until(DEADLINE, || with("wait").is_empty().then_some(()));
    assert!(gone.is_some(), "{shell}");
}

#[test]
fn a_long_wait_gives_a_sign_of_life_with_its_limit() {
    let target = format!("127.0.0.1:{}", unused_port());
    let mut process = wait("77s", &[&target, "file:///no/such"]).start();
    for (name, why) in [
        (target.as_str(), "connection refused (ECONNREFUSED)"),
        ("file:///no/such", "no such file or directory (ENOENT)"),
    ] {
        let sign = format!("still waiting for {name} (5");
        process.until_stderr(&sign);
        process.until_stderr(&format!("s of 77s): {why}\n"));
    }
}

/// Longer than a first try may take, so that only a later one gets its answer.
const SLOW: Duration = Duration::from_secs(6);

#[test]
fn a_service_that_takes_6_s_to_answer_becomes_ready_within_the_limit() {
    let slow_http = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        thread::sleep(SLOW);
        let _ = stream.write_all(http_answer(200, "").as_bytes());
    });
    let postgres = Postgres::start();
    let port = postgres.port();
    let slow_proxy = Server::start(move |stream| {
        let behind = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // The first answer is held back; what comes later passes at once.
        let (mut from, mut to) = (stream.try_clone().unwrap(), behind.try_clone().unwrap());
        let there = thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut from, mut to) = (behind, stream);
        let mut first = [0; 4096];
        let length = from.read(&mut first).unwrap_or(0);
        thread::sleep(SLOW);
        let _ = to.write_all(&first[..length]);
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = there.join();
    });
    let url = postgres.url("postgres");
    let url = url.replace(&format!(":{port}/"), &format!(":{}/", slow_proxy.port()));
    let finished = Run::portero()
        .args(["wait", "--wait-timeout", "90s", "URL"])
        .arg(format!("http://{}/", slow_http.address()))
        .env("URL", url)
        .start()
        .wait_at_most(Duration::from_secs(90));
    finished.assert_exit(0).assert_never_says(PASSWORD);
    let lines = finished.stderr.matches(" is ready after ").count();
    assert_eq!(lines, 2, "each is told once{finished}");
}

#[test]
fn what_no_waiting_can_change_is_said_at_once() {
    let directory = TempDir::new();
    let garbage = directory.file("garbage.pem", "no certificate");
    let garbage = garbage.display();
    let long = "x".repeat(120);
    let table: [(&[&str], &str); 14] = [
        (&["db"], "the variable db is unset or empty"),
        (&["db:0"], "no valid port"),
        (&["gopher://db"], "has no port"),
        (
            &["https://db/", "--ca-cert", "/nonexistent/ca.pem"],
            "/nonexistent/ca.pem",
        ),
        (
            &["https://db/", "--ca-cert", &format!("{garbage}")],
            "garbage.pem",
        ),
        (
            &["postgres://u@db/d?sslmode=verify-full&sslrootcert=/nonexistent/root.crt"],
            "/nonexistent/root.crt",
        ),
        (&["postgres://u@db/d?sslmode=maybe"], "sslmode"),
        (&[&format!("unix:///{long}")], "107 bytes"),
        (&[&format!("http+unix:///{long}:/up")], "107 bytes"),
        (
            &[&format!("postgres://u@%2F{long}/d")],
            "its socket has a path of 135 bytes, and the kernel takes 107",
        ),
        (
            &["localhost:8000/health"],
            "has a path and no scheme: write http://localhost:8000/health",
        ),
        (
            &["grpc://api:50051/x"],
            "gRPC is asked by its port alone: write tcp://api:50051",
        ),
        (
            &["mongodb+srv://u:p4ss@cluster.example/d"],
            "each by itself: write tcp://HOST:PORT",
        ),
        (&["tcp://db"], "has no port; write HOST:PORT"),
    ];
    for (arguments, why) in table {
        let finished = Run::portero()
            .args(["wait", "--wait-timeout", "1h"])
            .args(arguments)
            .finish();
        finished.assert_exit(125).assert_one_error_line();
        finished
            .assert_stderr_contains(why)
            .assert_never_says("p4ss");
    }
}

#[test]
fn a_target_is_told_ready_once_in_a_run() {
    let server = Postgres::start();
    let run = Run::as_pid1()
        .env("DATABASE_URL", server.url("postgres"))
        .line("--database DATABASE_URL --migrate true -- echo started")
        .finish();
    run.assert_exit(0).assert_stdout("started\n");
    let lines = run.stderr.matches(" is ready after ").count();
    assert_eq!(lines, 1, "{run}");
    // By itself it tells, too.
    let alone = Run::portero()
        .env("DATABASE_URL", server.url("postgres"))
        .args(["migrate", "--database", "DATABASE_URL", "--", "true"])
        .finish();
    alone
        .assert_exit(0)
        .assert_stderr_contains(" is ready after ");
}
