//! The health check's options and variables, what it shares with `run`, and who it runs as.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::postgres::PASSWORD;
use common::server::http_answer;
use common::table::pairs;
use common::{DEADLINE, Postgres, Run, Server, TempDir, poll_until, rows, tool, unescaped};
use nix::sys::socket::{getsockopt, sockopt};

fn healthcheck() -> Run {
    Run::portero().args(["healthcheck", "--timeout", "20s"])
}

#[test]
fn every_option_has_a_variable_that_does_the_same_and_the_option_wins() {
    let server = Server::http(418, "all is well\n");
    let url = format!("http://{}/", server.address());
    // Options, variables, exit code, and what the request has.
    let table = r"
        -        STATUS=418 TARGET=URL                           0  GET /
        -        STATUS=418 PORT=PORT                            0  GET /health
        -        STATUS=418 PORT=PORT PATH=/up?deep=1            0  GET /up?deep=1
        URL      STATUS=418 METHOD=HEAD                          0  HEAD /
        URL      STATUS=418 'HEADER=X-A: 1\nHost: shop.example'  0  host: shop.example\r\n
        URL      STATUS=418 'CONTAINS=is well'                   0  -
        URL      STATUS=418 'CONTAINS=is ill'                    1  -
        URL      'STATUS=200-299, 400-499'                       0  -
        URL      -                                               1  -
        URL --status 200           STATUS=418                    1  -
        URL --status 418           STATUS=200                    0  -
        URL --method OPTIONS       STATUS=418 METHOD=HEAD        0  OPTIONS /
        URL --header 'X-B: 2'      STATUS=418 'HEADER=X-A: 1'    0  x-b: 2\r\n
    ";
    for [options, variables, code, request] in rows(table) {
        let run = healthcheck().line(options.replace("URL", &url));
        let variables = unescaped(variables).replace("URL", &url);
        let variables = variables.replace("=PORT", &format!("={}", server.port()));
        let variables = pairs(&variables).into_iter();
        let run = variables.fold(run, |run, (name, value)| {
            run.env(format!("PORTERO_HEALTH_{name}"), value)
        });
        let finished = run.finish();
        finished.assert_exit(code.parse().unwrap());
        let head = server.requests().last().cloned().unwrap_or_default();
        let request = unescaped(request).to_lowercase();
        assert!(
            head.to_lowercase().contains(&request),
            "no {request:?} in {head:?}{finished}"
        );
    }
    let heads = server.requests();
    let last = heads.last().unwrap().to_lowercase();
    assert!(
        !last.contains("x-a: 1"),
        "a list replaces the variable's: {last}"
    );
}

#[test]
fn the_text_must_be_in_the_first_64_kib_of_the_body() {
    let limit = 64 * 1024;
    for (before, healthy) in [(0, true), (limit - 5, true), (limit - 4, false)] {
        let server = Server::http(
            200,
            &format!("{}ready{}", "x".repeat(before), "y".repeat(9)),
        );
        let finished = healthcheck()
            .args(["--contains", "ready"])
            .arg(format!("http://{}/", server.address()))
            .finish();
        finished.assert_exit(i32::from(!healthy));
        if !healthy {
            finished.assert_stderr_contains("status 200, but the body lacks the expected text");
        }
    }
}

#[test]
fn all_targets_are_asked_at_once_and_those_that_fail_are_named() {
    let silent = [Server::silent(), Server::silent(), Server::silent()];
    let good = Server::http(200, "");
    let targets = silent.iter().chain([&good]);
    let targets: Vec<String> = targets
        .map(|server| format!("http://{}/", server.address()))
        .collect();
    let start = Instant::now();
    let finished = Run::portero()
        .args(["healthcheck", "--timeout", "1500ms"])
        .args(&targets)
        .finish();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1400), "{took:?}");
    // One after the other, the first would have taken all the time.
    for server in &silent {
        let asked = poll_until(DEADLINE, || (server.connections() == 1).then_some(()));
        assert!(asked.is_some(), "one after the other");
    }
    finished
        .assert_exit(1)
        .assert_one_line_of("unhealthy: ")
        .assert_stderr_contains(&silent[0].address().to_string())
        .assert_stderr_contains(&silent[1].address().to_string());
    assert!(
        !finished.stderr.contains(&good.address().to_string()),
        "{finished}"
    );
    for server in silent.iter().chain([&good]) {
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn localhost_is_either_loopback_address() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = Server::answering_on(address, http_answer(200, ""));
        for target in ["http://localhost:PORT/", "localhost:PORT"] {
            let target = target.replace("PORT", &server.port().to_string());
            healthcheck().arg(target).exits(0);
        }
    }
}

#[test]
fn secrets_and_defaults_are_resolved_as_for_command_and_never_shown() {
    let server = Server::start(|mut stream| {
        let mut head = [0; 4096];
        let length = stream.read(&mut head).unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
        let known = head.contains("\r\nauthorization: bearer hunter2\r\n")
            && head.contains("\r\nhost: shop.example.com\r\n");
        let status = if known { 200 } else { 401 };
        let _ = stream.write_all(http_answer(status, "").as_bytes());
    });
    let directory = TempDir::new();
    let file = directory.file("token", "hunter2\n");
    let run = || {
        Run::portero()
            .args(["healthcheck", "-v"])
            .env("PORTERO_SECRET", "TOKEN")
            .env("TOKEN_FILE", &file)
            .env("PORTERO_DEFAULT", "DOMAIN=example.com\nSITE=shop.${DOMAIN}")
            .env("PORTERO_DEFAULT_PORT", server.port().to_string())
    };
    let headers = "Authorization: Bearer ${TOKEN}\nHost: ${SITE}";
    let finished = run().env("PORTERO_HEALTH_HEADER", headers).finish();
    finished.assert_exit(0).assert_never_says("hunter2");
    let finished = run().finish();
    finished
        .assert_exit(1)
        .assert_stderr_contains("status 401")
        .assert_never_says("hunter2");

    // What is wrong with them is unhealthy, and says what.
    let gone = run().env("TOKEN_FILE", "/nonexistent/token");
    let gone = gone.env("PORTERO_HEALTH_HEADER", headers).finish();
    gone.assert_exit(1).assert_stderr_contains("TOKEN_FILE");
    let unset = run().env("PORTERO_HEALTH_HEADER", "X: ${NOBODY}").finish();
    unset.assert_exit(1).assert_stderr_contains("NOBODY");
}

#[test]
fn root_drops_to_the_configured_user_first() {
    let directory = TempDir::writable_by_all();
    let path = directory.join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    let (sender, peers) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let peer = getsockopt(&stream, sockopt::PeerCredentials).unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(http_answer(200, "").as_bytes());
            if sender.send((peer.uid(), peer.gid())).is_err() {
                return;
            }
        }
    });
    let probe = |user: Option<&str>, started_as: Option<(u32, u32)>| {
        let run = healthcheck().arg(format!("http+unix://{}:/up", path.display()));
        let run = user.map_or(run.clone(), |user| run.env("PORTERO_USER", user));
        let run = started_as.map_or(run.clone(), |(uid, gid)| run.user(uid, gid));
        run.exits(0).assert_stderr("");
        peers.recv_timeout(DEADLINE).unwrap()
    };
    assert_eq!(probe(Some("1234:5678"), None), (1234, 5678));
    assert_eq!(probe(Some("nobody"), None), (65534, 65534));
    assert_eq!(probe(None, None), (0, 0));
    // Under another user's id there is nothing to drop, and nothing to say.
    assert_eq!(probe(Some("1234:5678"), Some((4321, 8765))), (4321, 8765));
    assert_eq!(probe(Some("1234:5678"), Some((1234, 5678))), (1234, 5678));

    let private = TempDir::new();
    let file = private.file("ready", "");
    std::fs::set_permissions(private.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let run = || healthcheck().arg(format!("file://{}", file.display()));
    run().exits(0);
    run()
        .env("PORTERO_USER", "1234:5678")
        .exits(1)
        .assert_stderr_contains("permission denied (EACCES)");
    run()
        .env("PORTERO_USER", "no-such-user")
        .exits(1)
        .assert_one_line_of("unhealthy: --user: ");
}

#[test]
fn a_database_is_asked_by_a_login() {
    let database = Postgres::start();
    let url = database.url_with("postgres", "PASSWORD", "postgres");
    let check = |password: &str, name: &str| {
        let url = url.replace("PASSWORD", password);
        let url = url.strip_suffix("postgres").unwrap().to_owned() + name;
        healthcheck()
            .args(["-v", "DATABASE_URL"])
            .env("DATABASE_URL", url)
            .finish()
    };
    let finished = check(PASSWORD, "postgres");
    finished
        .assert_exit(0)
        .assert_stdout_contains("healthy: DATABASE_URL (postgres://")
        .assert_never_says(PASSWORD);
    for (password, name, why) in [
        ("hunter2", "postgres", "28P01"),
        (PASSWORD, "nowhere", "3D000"),
    ] {
        let finished = check(password, name);
        finished
            .assert_exit(1)
            .assert_stderr_contains("unhealthy: DATABASE_URL (postgres://")
            .assert_stderr_contains(why)
            .assert_never_says(password);
    }
    let silent = Server::silent();
    let start = Instant::now();
    let finished = Run::portero()
        .args(["healthcheck", "--timeout", "1s"])
        .arg(format!("postgres://u:hunter2@{}/d", silent.address()))
        .finish();
    finished
        .assert_exit(1)
        .assert_one_line_of("unhealthy: postgres://")
        .assert_never_says("hunter2");
    assert!(start.elapsed() < DEADLINE, "{finished}");
}

/// What a probe that runs every few seconds must not do: read files, start threads, set up a runtime or TLS (whose
/// first act is to ask for random bytes).
#[test]
fn a_plain_probe_opens_nothing_and_starts_nothing() {
    let directory = TempDir::new();
    let trace = directory.join("trace");
    let strace = tool("strace");
    let calls = "trace=open,openat,clone,clone3,fork,vfork,epoll_create1,eventfd2,getrandom,execve";
    let server = Server::http(200, "");
    healthcheck()
        .arg(format!("http://{}/", server.address()))
        .via([
            strace.to_str().unwrap(),
            "-f",
            "-o",
            trace.to_str().unwrap(),
            "-e",
            calls,
        ])
        .exits(0);
    let trace = std::fs::read_to_string(trace).unwrap();
    let unexpected: Vec<&str> = trace
        .lines()
        .filter(|line| !line.contains("execve(") && !line.contains("+++ exited with 0 +++"))
        .filter(|line| !line.contains("\"/dev/null\"") && !line.contains("\"/proc/self/fd/1\""))
        .collect();
    assert_eq!(unexpected, [""; 0]);
}
