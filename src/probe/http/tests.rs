use crate::probe::question::Expectation;
use crate::probe::question::StatusSet;
use std::ffi::OsStr;
use std::io::Write;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;
use crate::environment::Environment;
use crate::net::tls::settings::Verification;
use crate::probe::ask as ask_target;
use crate::probe::target::Target;
use crate::probe::testing::{Server, drip, read_request, refused_port, stay_silent};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn target(text: &str) -> Target {
    Target::parse(OsStr::new(text), &Environment::default())
        .unwrap_or_else(|failure| panic!("{failure}"))
}

fn ask_with(text: &str, expectation: Expectation, limit: Duration) -> Readiness {
    let question = Question::of_healthcheck(expectation, Verification::default());
    ask_target(&target(text), &question, Deadline::after(Some(limit)))
}

fn ask_plain(server: &Server, limit: Duration) -> Readiness {
    ask_with(
        &format!("http://127.0.0.1:{}/health", server.port()),
        Expectation::default(),
        limit,
    )
}

fn ready(text: &str) -> Readiness {
    Readiness::Ready(text.to_owned())
}

fn not_yet(text: &str) -> Readiness {
    Readiness::NotYet(text.to_owned())
}

/// Asks with that limit, and holds that it came back by then.
fn ask_within(limit: Duration, server: &Server, expectation: Expectation) -> Readiness {
    let started = Instant::now();
    let answer = ask_with(
        &format!("http://127.0.0.1:{}/", server.port()),
        expectation,
        limit,
    );
    assert!(
        started.elapsed() < limit + LONG / 2,
        "took {:?}: {answer:?}",
        started.elapsed()
    );
    answer
}

fn containing(text: &str) -> Expectation {
    Expectation {
        contains: Some(text.into()),
        ..Expectation::default()
    }
}

const CLOSED: &str =
    "it closed the connection without an answer (with TLS it is https://, of gRPC take tcp://)";

#[test]
fn the_status_decides() {
    let table = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            ready("200"),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", ready("204")),
        ("HTTP/1.0 200 OK\r\n\r\nold", ready("200")),
        ("HTTP/1.1 200\r\n\r\n", ready("200")),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
            ready("302"),
        ),
        ("HTTP/1.1 302 Found\r\n\r\n", ready("302")),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            ready("200"),
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            not_yet("status 404"),
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            not_yet("status 401"),
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            not_yet("status 503"),
        ),
        (
            "HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
            not_yet("status 600"),
        ),
        ("", not_yet(CLOSED)),
        ("HTTP/1.1 20", not_yet(CLOSED)),
    ];
    for (response, answer) in table {
        assert_eq!(
            ask_plain(&Server::answering(response), LONG),
            answer,
            "{response:?}"
        );
    }
}

#[test]
fn what_is_no_http_is_said_to_be_none() {
    for garbage in [
        "220 smtp.example ESMTP\r\n\r\n",
        "\0\u{1}\u{2}\u{3}\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        match ask_plain(&Server::answering(garbage), LONG) {
            Readiness::NotYet(reason) => {
                assert!(reason.starts_with("it does not speak HTTP: "), "{reason}");
            }
            other => panic!("{garbage:?}: {other:?}"),
        }
    }
}

#[test]
fn nobody_there_is_connection_refused() {
    let port = refused_port();
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let answer = ask_with(
            &format!("http://{host}:{port}/"),
            Expectation::default(),
            LONG,
        );
        assert_eq!(
            answer,
            not_yet("connection refused (ECONNREFUSED)"),
            "{host}"
        );
    }
}

#[test]
fn a_connection_that_is_closed_at_once_is_not_ready() {
    let answer = ask_plain(&Server::start(drop), LONG);
    assert!(matches!(answer, Readiness::NotYet(_)), "{answer:?}");
}

#[test]
fn no_behaviour_of_a_server_outlasts_the_deadline() {
    let pace = Duration::from_millis(20);
    let servers = [
        ("silent", Server::start(stay_silent)),
        (
            "drip of a status line",
            Server::start(move |mut stream| drip(&mut stream, b"H", pace)),
        ),
        (
            "drip of a header",
            Server::start(move |mut stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
                drip(&mut stream, b"x", pace);
            }),
        ),
        (
            "endless header line",
            Server::start(|mut stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
                drip(&mut stream, &[b'x'; 512], Duration::ZERO);
            }),
        ),
        (
            "endless headers",
            Server::start(|mut stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
                drip(&mut stream, b"X: y\r\n", Duration::ZERO);
            }),
        ),
        (
            "endless interim answers",
            Server::start(|mut stream| {
                drip(
                    &mut stream,
                    b"HTTP/1.1 102 Processing\r\n\r\n",
                    Duration::ZERO,
                );
            }),
        ),
    ];
    for (name, server) in servers {
        let answer = ask_within(SHORT, &server, Expectation::default());
        assert!(matches!(answer, Readiness::NotYet(_)), "{name}: {answer:?}");
    }
}

#[test]
fn a_silent_server_has_given_no_answer_in_time() {
    let answer = ask_within(SHORT, &Server::start(stay_silent), Expectation::default());
    assert_eq!(answer, not_yet("no answer within 300ms"));
}

#[test]
fn a_stream_behind_a_200_is_healthy_at_once() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let server = Server::start(move |mut stream| {
            let _ = stream.write_all(head.as_bytes());
            drip(&mut stream, b"3\r\nabc\r\n", Duration::ZERO);
        });
        assert_eq!(
            ask_within(LONG, &server, Expectation::default()),
            ready("200"),
            "{head:?}"
        );
    }
}

#[test]
fn the_text_is_found_in_bodies_of_every_kind() {
    let table = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}",
            true,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\n\r\n\"status\":\"ok\"", true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\"stat\r\n8\r\nus\":\"ok\"\r\n0\r\n\r\n",
            true,
        ),
    ];
    for (response, found) in table {
        let server = Server::answering(response);
        let answer = ask_with(
            &format!("http://127.0.0.1:{}/", server.port()),
            containing("\"status\":\"ok\""),
            LONG,
        );
        let wanted = if found { ready("200") } else { answer.clone() };
        assert_eq!(answer, wanted, "{response:?}");
        assert_eq!(
            matches!(answer, Readiness::Ready(_)),
            found,
            "{response:?}: {answer:?}"
        );
    }
}

#[test]
fn an_endless_body_is_searched_to_64_kib_and_no_further() {
    let server = Server::start(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nneedle ");
        drip(&mut stream, &[b'x'; 1024], Duration::ZERO);
    });
    assert_eq!(
        ask_within(LONG, &server, containing("needle")),
        ready("200")
    );
    let lacking = not_yet("status 200, but the body lacks the expected text");
    assert_eq!(ask_within(LONG, &server, containing("absent")), lacking);
    let slow = Server::start(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        drip(&mut stream, b"x", Duration::from_millis(20));
    });
    assert_eq!(
        ask_within(SHORT, &slow, containing("absent")),
        not_yet("no answer within 300ms")
    );
}

#[test]
fn a_large_header_is_read_to_its_end() {
    let cookie = "c".repeat(30_000);
    let server = Server::answering(format!(
        "HTTP/1.1 200 OK\r\nSet-Cookie: {cookie}\r\nContent-Length: 0\r\n\r\n"
    ));
    assert_eq!(ask_plain(&server, LONG), ready("200"));
}

#[test]
fn the_own_server_is_found_on_either_loopback_address() {
    let question = Question::of_healthcheck(Expectation::default(), Verification::default());
    for (server, answer) in [
        (Server::answering(OK), "200"),
        (
            Server::start_v6(|mut stream| {
                read_request(&mut stream);
                let _ = stream.write_all(OK.as_bytes());
            }),
            "200 from [::1]",
        ),
    ] {
        let own = Target::own_http(server.port(), "/health")
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(
            ask_target(&own, &question, Deadline::after(Some(LONG))),
            ready(answer)
        );
        let localhost = format!("http://localhost:{}/", server.port());
        assert_eq!(
            ask_with(&localhost, Expectation::default(), LONG),
            ready("200")
        );
    }
}

#[test]
fn a_probe_of_an_address_starts_no_thread() {
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    // Counted on the server's side of the connection, while the probe waits for its answer; other tests run beside
    // this one, so the property is that of some try and not of each.
    let (sender, receiver) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        read_request(&mut stream);
        let _ = sender.send(threads());
        let _ = stream.write_all(OK.as_bytes());
    });
    let deadline = Instant::now() + LONG;
    loop {
        let before = threads();
        assert_eq!(ask_plain(&server, LONG), ready("200"));
        let during = receiver.recv_timeout(LONG).unwrap_or(usize::MAX);
        // The server's own thread for the connection is the one that is more.
        if during <= before + 1 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{during} threads during a probe, {before} before"
        );
    }
}

mod https;
mod request;

#[test]
fn an_answer_that_tells_its_reason_is_passed_on() {
    let tls = Readiness::Refused("it speaks TLS on this port: use https://".to_owned());
    let http2 = Readiness::Refused(
        "it speaks HTTP/2 alone on this port (gRPC?): use tcp://host:port".to_owned(),
    );
    let table = [
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>",
            tls.clone(),
        ),
        (
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            tls.clone(),
        ),
        (
            "HTTP/1.1 400 \r\n\r\nBad Request\r\nThis combination of host and port requires TLS.\r\n",
            tls,
        ),
        (
            "HTTP/1.1 400 Bad Request\r\n\r\nAn HTTP/1.x request was sent to an HTTP/2 only endpoint.",
            http2.clone(),
        ),
        (
            "HTTP/1.1 400 Bad Request\r\n\r\nno such host",
            not_yet("status 400"),
        ),
        ("\0\0\u{12}\u{4}\0\0\0\0\0\0\u{3}\0\0\0\u{64}", http2),
    ];
    for (response, answer) in table {
        let server = Server::answering(response);
        assert_eq!(ask_plain(&server, LONG), answer, "{response:?}");
    }
    let table = [
        ("/health/", "to /health/"),
        (
            "https://shop.example/health?token=s3cret",
            "to https://shop.example/health…",
        ),
        (
            "https://user:s3cret@shop.example",
            "to https://shop.example",
        ),
        ("//shop.example/a@b", "to //shop.example/a@b"),
    ];
    for (location, shown) in table {
        let response = format!("HTTP/1.1 301 Moved\r\nLocation: {location}\r\n\r\n");
        let expectation = Expectation {
            status: StatusSet::parse("200").unwrap(),
            ..Expectation::default()
        };
        let server = Server::answering(response);
        let url = format!("http://127.0.0.1:{}/", server.port());
        let answer = ask_with(&url, expectation, LONG);
        assert_eq!(answer, not_yet(&format!("status 301, {shown}")));
    }
}

#[test]
fn a_header_of_any_number_of_lines_is_http() {
    for count in [60, 127, 150, 2000] {
        let fields = |letter: &str| format!("X-{letter}: 1\r\n").repeat(count);
        let response = format!(
            "HTTP/1.1 200 OK\r\n{}transfer-Encoding: chunked\r\n{}\r\n3\r\nhea\r\n4\r\nlthy\r\n0\r\n\r\n",
            fields("A"),
            fields("B"),
        );
        let server = Server::answering(response);
        let url = format!("http://127.0.0.1:{}/", server.port());
        assert_eq!(
            ask_with(&url, containing("healthy"), LONG),
            ready("200"),
            "{count}"
        );
    }
}
