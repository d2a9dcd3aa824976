//! The health check: one line, 0 or 1, and never longer than its limit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use common::server::{http_answer, unused_port};
use common::{Finished, Run, Server};

fn healthcheck() -> Run {
    Run::portero().arg("healthcheck")
}

#[track_caller]
fn assert_healthy(finished: &Finished) {
    finished.assert_exit(0).assert_stderr("");
    let one = finished.stdout.lines().count() == 1 && finished.stdout.len() < 200;
    assert!(
        one && finished.stdout.starts_with("healthy: "),
        "expected one healthy line{finished}"
    );
}

#[track_caller]
fn assert_unhealthy(finished: &Finished) {
    finished.assert_exit(1).assert_stdout("");
    let one = finished.stderr.lines().count() == 1 && finished.stderr.len() < 200;
    assert!(
        one && finished.stderr.starts_with("unhealthy: "),
        "expected one unhealthy line{finished}"
    );
}

#[test]
fn the_statuses_from_200_to_399_are_healthy() {
    for status in [200, 204, 301, 399, 400, 401, 404, 500, 503, 599] {
        let server = Server::http(status, "body");
        let finished = healthcheck()
            .arg(format!("http://{}/up?x=1", server.address()))
            .finish();
        if status < 400 {
            assert_healthy(&finished)
        } else {
            assert_unhealthy(&finished)
        }
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(
            said.contains(&status.to_string()) && said.contains(&server.address().to_string()),
            "{finished}"
        );
        assert!(
            server.requests()[0].starts_with("GET /up?x=1 HTTP/1.1\r\n"),
            "{:?}",
            server.requests()
        );
    }
}

#[test]
fn the_default_target_is_health_on_the_port_of_the_environment() {
    let server = Server::http(200, "");
    let port = server.port().to_string();
    let other = unused_port().to_string();
    let tried: [(&[(&str, &str)], &[&str]); 5] = [
        (&[("PORT", &port)], &[]),
        (&[("PORTERO_DEFAULT_PORT", &port)], &[]),
        (&[("PORT", ""), ("PORTERO_DEFAULT_PORT", &port)], &[]),
        (&[("PORT", &port), ("PORTERO_DEFAULT_PORT", &other)], &[]),
        (&[("PORT", &other)], &["--port", &port]),
    ];
    for (environment, options) in tried {
        let run = environment
            .iter()
            .fold(healthcheck().args(options), |run, (name, value)| {
                run.env(name, value)
            });
        let finished = run.finish();
        assert_healthy(&finished);
        let line = format!("healthy: GET 127.0.0.1:{port}/health 200 in ");
        assert!(finished.stdout.starts_with(&line), "not {line:?}{finished}");
    }
    assert_healthy(
        &healthcheck()
            .env("PORT", &port)
            .args(["--path", "/live"])
            .finish(),
    );
    assert!(
        server.requests().last().unwrap().starts_with("GET /live "),
        "{:?}",
        server.requests()
    );
    assert!(
        server.requests()[0].starts_with("GET /health "),
        "{:?}",
        server.requests()
    );
}

#[test]
fn the_default_target_is_tried_on_ipv6_when_ipv4_is_refused() {
    let server = Server::answering_on("[::1]:0", http_answer(200, ""));
    assert_healthy(
        &healthcheck()
            .env("PORT", server.port().to_string())
            .finish(),
    );
}

#[test]
fn the_target_may_come_from_the_environment() {
    let server = Server::http(200, "");
    let target = format!("http://{}/", server.address());
    assert_healthy(&healthcheck().env("PORTERO_HEALTH_TARGET", &target).finish());
    assert_healthy(
        &healthcheck()
            .env("PORTERO_HEALTH_TARGET", "TARGET")
            .env("TARGET", &target)
            .finish(),
    );
}

#[test]
fn a_port_that_accepts_is_healthy_and_one_that_refuses_is_not() {
    let server = Server::silent();
    assert_healthy(
        &healthcheck()
            .arg(format!("tcp://{}", server.address()))
            .finish(),
    );
    assert_healthy(&healthcheck().arg(server.address().to_string()).finish());
    for scheme in ["tcp", "http"] {
        assert_unhealthy(
            &healthcheck()
                .arg(format!("{scheme}://127.0.0.1:{}", unused_port()))
                .finish(),
        );
    }
}

#[test]
fn several_targets_must_all_pass() {
    let (web, port) = (Server::http(200, ""), Server::silent());
    let one = format!("http://{}/", web.address());
    let accepting = format!("tcp://{}", port.address());
    let finished = healthcheck().args([&one, &accepting]).finish();
    assert_healthy(&finished);
    let both = format!(
        "healthy: GET {}/ 200, {} in ",
        web.address(),
        port.address()
    );
    assert!(finished.stdout.starts_with(&both), "not {both:?}{finished}");
    let refused = format!("127.0.0.1:{}", unused_port());
    let finished = healthcheck().args([&one, &refused, &accepting]).finish();
    let why = "connection refused (ECONNREFUSED)";
    finished
        .assert_exit(1)
        .assert_stderr(&format!("unhealthy: {refused}: {why}\n"));
    // However long a name is, there is room for the reason.
    let long = format!("http://{refused}/{}", "long/".repeat(100));
    let finished = healthcheck().arg(long).finish();
    assert_unhealthy(&finished);
    assert!(finished.stderr.ends_with(&format!("{why}\n")), "{finished}");
    // Cut between characters.
    for shift in 0..2 {
        let odd = format!("file:///{}{}", "x".repeat(shift), "ä".repeat(400));
        let finished = healthcheck().arg(odd).finish();
        assert_unhealthy(&finished);
        finished.assert_never_says("\u{fffd}");
    }
}

#[test]
fn usage_errors_exit_1_with_one_line() {
    let ca = ["https://127.0.0.1:1/", "--ca-cert", "/nonexistent/ca.pem"];
    let table: [(&[&str], &[(&str, &str)], &str); 9] = [
        (&ca, &[], "/nonexistent/ca.pem"),
        (&["--method", "NO METHOD"], &[("PORT", "1")], "NO METHOD"),
        (&[], &[], "PORT"),
        (&[], &[("PORT", "80a")], "80a"),
        (&["--port", "0"], &[], "0"),
        (&["--nope"], &[("PORT", "1")], "--nope"),
        (&["--timeout", "soon"], &[("PORT", "1")], "soon"),
        (&["http://[::1/"], &[], "http"),
        (&["NO_SUCH_VARIABLE"], &[], "NO_SUCH_VARIABLE"),
    ];
    for (arguments, environment, named) in table {
        let run = environment
            .iter()
            .fold(healthcheck().args(arguments), |run, (name, value)| {
                run.env(name, value)
            });
        run.exits(1)
            .assert_one_line_of("unhealthy: ")
            .assert_stderr_contains(named)
            .assert_stdout("");
    }
}

/// None is accepted and ignored.
#[test]
fn each_option_of_the_request_does_what_it_says() {
    let server = Server::http(418, "all is well");
    let url = format!("http://{}/", server.address());
    let table: [(&[&str], bool, &str); 6] = [
        (&["--status", "418"], true, "GET / "),
        (&["--status", "200-299,401"], false, "GET / "),
        (&["--method", "HEAD", "--status", "418"], true, "HEAD / "),
        (
            &["--header", "X-Probe: yes", "--status", "418"],
            true,
            "X-Probe: yes",
        ),
        (
            &["--contains", "is well", "--status", "418"],
            true,
            "GET / ",
        ),
        (
            &["--contains", "is ill", "--status", "418"],
            false,
            "GET / ",
        ),
    ];
    for (options, healthy, request) in table {
        let finished = healthcheck().args(options).arg(&url).finish();
        if healthy {
            assert_healthy(&finished)
        } else {
            assert_unhealthy(&finished)
        }
        let head = server
            .requests()
            .last()
            .cloned()
            .unwrap_or_default()
            .to_lowercase();
        assert!(
            head.contains(&request.to_lowercase()),
            "the request lacks {request:?}: {head:?}{finished}"
        );
    }
}

#[test]
fn the_request_is_what_was_asked_for() {
    let server = Server::http(200, "");
    let sent = |userinfo: &str, options: &[&str], lines: &[&str]| {
        let url = format!("http://{userinfo}{}/a?b", server.address());
        assert_healthy(&healthcheck().args(options).arg(url).finish());
        let request = server.requests().pop().unwrap().to_lowercase();
        for line in lines {
            let count = request.lines().filter(|it| it == line).count();
            assert_eq!(count, 1, "{line}: {request}");
        }
        assert_eq!(request.matches("\r\nhost: ").count(), 1, "{request}");
        request
    };
    let host = format!("host: {}", server.address());
    let agent = format!("user-agent: portero/{}", env!("CARGO_PKG_VERSION"));
    let plain = ["get /a?b http/1.1", &host, &agent, "connection: close"];
    sent("", &[], &plain);
    let long = format!("X-Long: {}", "v".repeat(9000));
    let headers = "Host: shop.example\nX-Probe: yes";
    let post = ["--method", "POST", "--header", headers, "--header", &long];
    let lines = [
        "post /a?b http/1.1",
        "host: shop.example",
        "x-probe: yes",
        "content-length: 0",
    ];
    sent("", &post, &lines);
    for method in ["HEAD", "OPTIONS", "PURGE"] {
        let line = format!("{} /a?b http/1.1", method.to_lowercase());
        sent("", &["--method", method], &[&line]);
    }
    sent("user:p%40ss@", &[], &["authorization: basic dxnlcjpwqhnz"]);
    // Credentials may be as long as a token.
    for length in [900, 4096, 32_000] {
        let request = sent(&format!("user:{}@", "t".repeat(length)), &[], &[]);
        let line = request
            .lines()
            .find(|line| line.starts_with("authorization: basic "));
        assert!(line.is_some_and(|line| line.len() > length), "{length}");
    }
}
