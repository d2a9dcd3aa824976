//! Every kind of target, by itself and by the name of a variable: waited for side by side, told in text and as JSON.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::postgres::{PASSWORD, Postgres, certificates};
use common::server::{http_answer, unused_port};
use common::{Finished, Process, Run, Server, TempDir, tool};
use nix::sys::signal::Signal;

/// Answers one HTTP request after the other on a unix socket; it ends with the test.
fn http_on_socket(path: PathBuf) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(http_answer(204, "").as_bytes());
        }
    });
}

/// An https server with a certificate for 127.0.0.1 that `ca.crt` signed.
fn https(directory: &Path, port: u16) -> Process {
    let file = |name| directory.join(name).display().to_string();
    Run::program(tool("openssl"))
        .line("s_server -www -quiet -accept")
        .arg(format!("127.0.0.1:{port}"))
        .args(["-cert", &file("server.crt"), "-key", &file("server.key")])
        .start()
}

#[test]
fn every_kind_of_target_that_comes_late_is_waited_for_by_itself_and_by_a_variables_name() {
    let directory = TempDir::new();
    certificates(directory.path(), 0, 0);
    let [tcp, bare, web, secure] = std::array::from_fn(|_| unused_port());
    let path = |name: &str| directory.join(name).display().to_string();
    let mut database = Postgres::prepare();
    let targets = [
        ("TCP", format!("tcp://127.0.0.1:{tcp}")),
        ("BARE", format!("127.0.0.1:{bare}")),
        (
            "WEB",
            format!("http://127.0.0.1:{web}/up?token=s3cret-token"),
        ),
        ("SECURE", format!("https://127.0.0.1:{secure}/")),
        ("SOCKET", format!("unix://{}", path("a.sock"))),
        ("WEB_SOCKET", format!("http+unix://{}:/up", path("b.sock"))),
        ("FILE", format!("file://{}", path("ready"))),
        ("DATABASE_URL", database.url("postgres")),
    ];
    let mut run = Run::as_pid1()
        .line("wait --wait-timeout 60s --ca-cert")
        .arg(path("ca.crt"));
    for (name, target) in &targets {
        run = run.env(name, target).args([name, target.as_str()]);
    }
    let mut process = run.start();
    // Each says why it is waited for.
    process.until(
        |process| process.stderr().lines().count() > targets.len() * 2,
        "a line for each",
    );
    let _tcp = Server::accepting(&format!("127.0.0.1:{tcp}"));
    let _bare = Server::accepting(&format!("127.0.0.1:{bare}"));
    let _web = Server::answering_on(&format!("127.0.0.1:{web}"), http_answer(302, ""));
    let _secure = https(directory.path(), secure);
    let _socket = UnixListener::bind(path("a.sock")).unwrap();
    http_on_socket(directory.join("b.sock"));
    fs::write(path("ready"), "").unwrap();
    database.launch();
    let finished = process.wait();
    finished
        .assert_exit(0)
        .assert_never_says(PASSWORD)
        .assert_never_says("s3cret-token");
    for (name, _) in &targets {
        let ready = |line: &str| {
            line.starts_with(&format!("portero: {name} (")) && line.contains(") is ready after ")
        };
        assert!(
            finished.stderr.lines().any(ready),
            "{name} is never ready{finished}"
        );
    }
    let ready = finished.stderr.matches(" is ready after ").count();
    assert_eq!(ready, targets.len() * 2, "both ways of naming{finished}");
}

/// The lines of stderr, read by another program's parser, as `key=value` joined by `|`.
fn by_python(finished: &Finished) -> Vec<String> {
    let script = "import json, sys\nfor line in sys.stdin:\n  print('|'.join(f'{k}={v}' for k, v in json.loads(line).items()))";
    let mut child = Command::new(tool("python3"))
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(finished.stderr.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "not JSON{finished}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(String::from).collect()
}

#[test]
fn json_lines_say_the_same_as_data() {
    let port = unused_port();
    let ready = Server::accepting("127.0.0.1:0");
    let stranger = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 8]);
        let _ = stream.write_all(b"HTTP/1.1 400 \"Bad\" Request\r\n\r\n");
    });
    let (gone, there) = (format!("127.0.0.1:{port}"), ready.address().to_string());
    let database = format!("postgres://u:{PASSWORD}@{}/d", stranger.address());
    let finished = Run::portero()
        .line("wait --log-format json --wait-timeout 6s")
        .arg(&gone)
        .arg(&there)
        .arg("DB")
        .env("DB", database)
        .finish();
    finished.assert_exit(125).assert_never_says(PASSWORD);
    let lines = by_python(&finished);
    let has = |parts: &[&str]| {
        let found = lines
            .iter()
            .any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line has {parts:?}{finished}");
    };
    let (gone, there) = (format!("|target={gone}|"), format!("|target={there}|"));
    has(&[
        "|level=info|",
        "|message=waiting for 127",
        "|event=waiting|",
        "|limit_ms=6000",
    ]);
    has(&[
        "|event=not_yet|",
        &gone,
        "|reason=connection refused (ECONNREFUSED)|",
        "|elapsed_ms=",
    ]);
    has(&["|event=ready|", &there, "|elapsed_ms="]);
    has(&[
        "|level=warn|",
        "|event=refused|",
        "|target=DB (postgres://u@",
        "says \"HTTP/1.1 400 \\\"Bad\\\" Request\"",
        "|check=host and port of its URL",
    ]);
    has(&[
        "|event=still_waiting|",
        &gone,
        "|reason=connection refused",
        "|limit_ms=6000",
    ]);
    has(&["|level=error|", "|message=not ready after 6s: "]);
}

#[test]
fn wait_as_pid_1_ends_at_once_also_amid_a_try_that_hangs() {
    let silent = Server::silent();
    for target in [
        format!("postgres://u:{PASSWORD}@{}/d", silent.address()),
        format!("http://{}/", silent.address()),
        format!("postgres://u:{PASSWORD}@never.invalid/d"),
    ] {
        let before = silent.connections();
        let mut process = Run::as_pid1()
            .args(["wait", "URL"])
            .env("URL", &target)
            .start();
        process.until_stderr("waiting for URL (");
        process.until(
            |_| target.contains("never") || silent.connections() > before,
            "a try",
        );
        let start = Instant::now();
        process.signal(Signal::SIGTERM);
        process.exits(143).assert_never_says(PASSWORD);
        let took = start.elapsed();
        // A try would last five seconds.
        assert!(took < Duration::from_secs(4), "{target}: took {took:?}");
    }
}

#[test]
fn without_a_user_anywhere_the_remedy_is_said_at_once() {
    let start = Instant::now();
    Run::portero()
        .args(["wait", "postgres://127.0.0.1:1/d"])
        .user(61_234, 61_234)
        .exits(125)
        .assert_stderr_contains("put a user into the URL or set PGUSER")
        .assert_one_error_line();
    assert!(start.elapsed() < Duration::from_secs(20), "it waited");
}

#[test]
fn commas_between_targets_are_refused_and_those_between_hosts_are_not() {
    let lists = [
        "http://127.0.0.1:1/a,http://127.0.0.1:1/b",
        "http://127.0.0.1:1,https://127.0.0.1:1",
        "file:///proc,file:///dev",
        "file:///proc,tcp://127.0.0.1:1",
        "unix:///a,unix:///b",
        "tcp://127.0.0.1:1,tcp://127.0.0.1:2",
        "postgres://app@127.0.0.1:1/x,postgres://app@127.0.0.1:1/y",
        "postgres://app@a/x,postgresql+asyncpg://app@a/y",
        "redis://127.0.0.1:1/0,redis://127.0.0.1:2/0",
        "http+unix:///a.sock:/x,http+unix:///b.sock:/x",
    ];
    for list in lists {
        let runs = [
            Run::portero().args(["wait", "--dry-run", list]),
            Run::portero().args(["--dry-run", "--wait", list, "--", "true"]),
            Run::portero()
                .args(["wait", "--dry-run", "URL"])
                .env("URL", list),
        ];
        for run in runs {
            run.exits(125)
                .assert_one_error_line()
                .assert_stderr_contains("write white space there, as in 'http://a http://b'");
        }
        let check = Run::portero().args(["healthcheck", list]).exits(1);
        check.assert_stderr_contains("write white space there");
    }
    let one = [
        "postgres://app@a,b/x",
        "postgres://app@a:1,b:2/x?options=-c%20a=b,c",
        "redis://a,b:2/0",
        "nats://a:4222,nats://b:4222",
        "mongodb://a,b:2/x",
        "http://a/x?next=b,http://c",
        "http://a/x,y",
        "file:///a,b",
    ];
    for target in one {
        Run::portero().args(["wait", "--dry-run", target]).exits(0);
    }
}

#[test]
fn a_broker_is_ready_when_one_of_its_hosts_accepts_and_its_port_is_said_to_be_all_that_is_asked() {
    let (gone, there) = (unused_port(), Server::accepting("127.0.0.1:0"));
    let url = format!(
        "amqp://user:{PASSWORD}@127.0.0.1:{gone},{}/v",
        there.address()
    );
    let shown = format!(
        "BROKER (only the port of amqp://127.0.0.1:{gone},{})",
        there.address()
    );
    Run::portero()
        .args(["wait", "BROKER"])
        .env("BROKER", &url)
        .exits(0)
        .assert_stderr_contains(&format!("{shown} is ready after "))
        .assert_never_says(PASSWORD);
    Run::portero()
        .args(["healthcheck", "BROKER"])
        .env("BROKER", &url)
        .exits(0)
        .assert_stdout_contains("healthy: BROKER (only the port of amqp://");
    let other = unused_port();
    Run::portero()
        .line("wait --wait-timeout 300ms BROKER")
        .env(
            "BROKER",
            format!("nats://127.0.0.1:{gone},nats://127.0.0.1:{other}"),
        )
        .exits(124)
        .assert_stderr_contains(&format!(
            "127.0.0.1:{gone}: connection refused (ECONNREFUSED); 127.0.0.1:{other}: "
        ));
}

#[test]
fn without_the_lock_the_database_is_any_target_and_for_a_file_nobody_waits() {
    let there = Server::accepting("127.0.0.1:0");
    let table = [
        (
            format!("mysql://u:{PASSWORD}@{}/d", there.address()),
            "only the port of mysql://",
        ),
        ("sqlite:////data/app.db".to_owned(), ""),
    ];
    for (url, said) in table {
        let run = || {
            Run::portero()
                .env("PORTERO_DATABASE", "DATABASE_URL")
                .env("DATABASE_URL", &url)
        };
        let migrated = run()
            .args([
                "--no-lock",
                "--migrate",
                "echo migrated",
                "--",
                "echo",
                "started",
            ])
            .exits(0);
        migrated.assert_stdout("migrated\nstarted\n");
        migrated
            .assert_stderr_contains(said)
            .assert_never_says(PASSWORD);
        let waited = run().arg("wait").exits(0);
        waited.assert_stderr_contains(said);
        run()
            .args(["--migrate", "echo migrated", "--", "echo", "started"])
            .exits(125)
            .assert_stdout("")
            .assert_stderr_contains(
                "only Postgres can hold the migration lock: with --no-lock --database takes any",
            )
            .assert_never_says(PASSWORD);
    }
}
