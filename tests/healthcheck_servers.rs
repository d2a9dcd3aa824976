//! What the health check makes of servers that behave well, badly, or not at all: the right verdict, within its limit,
//! and one line that says why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use common::server::{head, http_answer, unused_port};
use common::verdict::{Healthy, Unhealthy, UnhealthyAtTheLimit, Verdict, assert_verdict};
use common::{Server, TempDir, rows, side_by_side, unescaped};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

/// Closes with a reset: what was not sent yet is forgotten (socket(7), SO_LINGER with 0).
fn reset(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(stream, sockopt::Linger, &linger).unwrap();
}

const AT_THE_LIMIT: Verdict = UnhealthyAtTheLimit("no answer within 1s");

/// The verdict on each server, which is asked once, with these options.
fn assert_verdicts(servers: Vec<(&str, Server, Verdict)>, options: &[&str]) {
    side_by_side(servers, |(what, server, verdict)| {
        let url = format!("http://{}/up", server.address());
        assert_verdict(what, verdict, &[options, &[url.as_str()]].concat());
        assert_eq!(server.connections(), 1, "{what}: asked again");
    });
}

/// What is said of each answer: a status `in` so long is healthy.
fn assert_answers(answers: &'static str, options: &[&str]) {
    let servers = rows(answers).map(|[said, answer]| {
        let healthy = said.ends_with(" in");
        let verdict = if healthy { Healthy } else { Unhealthy }(said);
        (answer, Server::answering(unescaped(answer)), verdict)
    });
    assert_verdicts(servers.collect(), options);
}

#[test]
fn the_answer_decides() {
    let answers = r"
        /up 200 in   HTTP/1.1 200\r\n\r\n
        /up 204 in   HTTP/1.1 204 No Content\r\n\r\n
        /up 200 in   HTTP/1.0 200 OK\r\n\r\nfine
        /up 301 in   HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n
        /up 302 in   HTTP/1.1 302 Found\r\nLocation: https://elsewhere.invalid/login\r\n\r\n
        /up 200 in   HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n
        : status 600                 HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n
        it closed the connection     -
        it closed the connection     HTTP/1.1 20
        it does not speak HTTP       220 mail.example.com ESMTP\r\n
        it does not speak HTTP       SSH-2.0-OpenSSH_9.2\r\n
        it does not speak HTTP       <html>HTTP/0.9</html>\n
        it does not speak HTTP       HTTP/1.1\r\n\r\n
        it does not speak HTTP       HTTP/1.1 2000 Much\r\n\r\n
        use https://   HTTP/1.1 400 Bad\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>
        use https://   HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n
        use https://   HTTP/1.1 400 \r\n\r\nBad Request\r\nThis combination of host and port requires TLS.\r\n
        use tcp://host:port   HTTP/1.1 400 Bad\r\n\r\nAn HTTP/1.x request was sent to an HTTP/2 only endpoint.
    ";
    assert_answers(answers, &[]);
    let whereto = r"
        : status 301, to /health/                      HTTP/1.1 301 Moved\r\nLocation: /health/\r\n\r\n
        : status 308, to https://shop.example/health…  HTTP/1.1 308\r\nLocation: https://shop.example/health?s3\r\n\r\n
        : status 301, to https://shop.example  HTTP/1.1 301 M\r\nLocation: https://user:s3cret@shop.example\r\n\r\n
        : status 301, to //shop.example/a@b            HTTP/1.1 301 Moved\r\nLocation: //shop.example/a@b\r\n\r\n
    ";
    assert_answers(whereto, &["--status", "200"]);
}

#[test]
fn a_headers_value_of_any_bytes_leaves_the_status_and_a_place_is_shown_with_them_escaped() {
    let servers = [
        ("Location: http://shop.example/caf\u{e9}", "/caf%C3%A9"),
        ("Location: /\u{202e}\u{2028}x", "/%E2%80%AE%E2%80%A8x"),
        ("X-Name: caf\u{e9}", "status 301"),
    ]
    .map(|(line, said)| (line.as_bytes().to_vec(), said))
    .into_iter()
    .chain([
        // ISO 8859-1, which RFC 9110, 5.5, calls obs-text.
        (
            b"Location: http://shop.example/caf\xe9?\x80".to_vec(),
            "to http://shop.example/caf%E9…",
        ),
        (b"X-Name: caf\xe9 \x80\xff".to_vec(), "status 301"),
    ]);
    let servers = servers.map(|(line, said)| {
        let answer = [
            b"HTTP/1.1 301 D\xe9m\xe9nag\xe9\r\n",
            &line[..],
            b"\r\n\r\n",
        ]
        .concat();
        (said, Server::answering(answer), Unhealthy(said))
    });
    assert_verdicts(servers.collect(), &["--status", "200"]);
}

#[test]
fn a_text_is_found_in_bodies_of_every_kind() {
    let answers = r#"
        /up 200 in  HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}
        /up 200 in  HTTP/1.0 200 OK\r\n\r\n"status":"ok"
        /up 200 in  HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"stat\r\n8\r\nus":"ok"\r\n0\r\n\r\n
        lacks the expected text  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno
        lacks the expected text  HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
        lacks the expected text  HTTP/1.1 204 No Content\r\n\r\n
    "#;
    let contains = ["--contains", r#""status":"ok""#];
    assert_answers(answers, &contains);
    let (ok, found) = ("HTTP/1.1 200 OK\r\n\r\n", r#"{"status":"ok"}"#);
    let many = format!(
        "HTTP/1.1 200 OK\r\n{0}transfer-Encoding: chunked\r\n{0}\r\nf\r\n{found}\r\n0\r\n\r\n",
        "X-A: 1\r\n".repeat(2000)
    );
    let lacking = "status 200, but the body lacks the expected text";
    let servers = vec![
        (
            "chunks behind many headers",
            Server::answering(many),
            Healthy("/up 200 in "),
        ),
        (
            "endless, with it",
            endless("HTTP/1.1 200 OK\r\n\r\n\"status\":\"ok\"", b"x"),
            Healthy("/up 200 in "),
        ),
        (
            "endless, without it",
            endless(ok, &[b'x'; 1024]),
            Unhealthy(lacking),
        ),
        (
            "slow",
            Server::endless(ok, b"x", Duration::from_millis(20)),
            AT_THE_LIMIT,
        ),
    ];
    assert_verdicts(servers, &contains);
}

fn endless(first: &'static str, again: &'static [u8]) -> Server {
    Server::endless(first, again, Duration::ZERO)
}

#[test]
fn servers_that_misbehave_are_told_apart() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let plain_400 = "HTTP/1.1 400 Bad Request\r\n\r\nno such host";
    let header = |lines: &str| Server::answering(format!("{OK}{lines}\r\n"));
    let drip = |text: String, pause| Server::dripping(text, Duration::from_millis(pause));
    let resets = Server::start(|mut stream| {
        head(&mut stream);
        reset(&stream);
        let _ = stream.shutdown(Shutdown::Read);
    });
    let (healthy, closed) = (
        Healthy("/up 200 in "),
        Unhealthy(
            "it closed the connection without an answer (with TLS it is https://, of gRPC take tcp://)",
        ),
    );
    let too_long = Unhealthy("more than 64 KiB of header");
    let (no_http, random) = (
        "it does not speak HTTP",
        b"\x9c\x07\xf3\x00\x1b[2J\xfe\r\n\x80\xd1q\r\n\r\n",
    );
    let http2 = b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80".to_vec();
    let servers = vec![
        ("silent", Server::silent(), AT_THE_LIMIT),
        (
            "drips a status",
            drip(format!("HTTP/1.1 200 {}", "O".repeat(1000)), 20),
            AT_THE_LIMIT,
        ),
        (
            "drips an answer",
            drip(http_answer(200, ""), 1000),
            AT_THE_LIMIT,
        ),
        (
            "drips headers",
            drip(format!("{OK}{}", "X-Y: z\r\n".repeat(1000)), 20),
            AT_THE_LIMIT,
        ),
        (
            "answers 1xx for ever",
            endless("", b"HTTP/1.1 102 Processing\r\n\r\n"),
            AT_THE_LIMIT,
        ),
        (
            "streams for ever",
            endless("HTTP/1.1 200 OK\r\n\r\n", b"all is well\n"),
            healthy,
        ),
        (
            "sends events for ever",
            endless(CHUNKED, b"5\r\ntick\n\r\n"),
            healthy,
        ),
        (
            "says no more in its body",
            Server::saying(format!("{CHUNKED}5\r\nhello\r\n")),
            healthy,
        ),
        (
            "sends a long header",
            header(&format!("Set-Cookie: {}\r\n", "c".repeat(30_000))),
            healthy,
        ),
        (
            "sends 150 headers",
            header(&"X-Y: z\r\n".repeat(150)),
            healthy,
        ),
        (
            "sends endless headers",
            endless(OK, b"X-Header: and another\r\n"),
            too_long,
        ),
        (
            "sends one endless header",
            endless("HTTP/1.1 200 OK\r\nX: ", b"and more and more"),
            too_long,
        ),
        (
            "says no more than no",
            Server::answering(plain_400),
            Unhealthy(": status 400\n"),
        ),
        (
            "sends random bytes",
            endless("", random),
            Unhealthy(no_http),
        ),
        ("closes at once", Server::closing(), closed),
        ("resets", resets, closed),
        (
            "answers HTTP/2",
            Server::answering(http2),
            Unhealthy("HTTP/2 alone on this port (gRPC?): use tcp://"),
        ),
    ];
    assert_verdicts(servers, &[]);
}

#[test]
fn a_server_that_needs_its_host_gets_the_one_that_is_given() {
    let server = Server::start(|mut stream| {
        let head = head(&mut stream);
        let hosts: Vec<&str> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
            .map(|(_, host)| host)
            .collect();
        let status = if hosts == ["shop.example.com"] {
            200
        } else {
            400
        };
        let _ = stream.write_all(http_answer(status, "").as_bytes());
    });
    let url = format!("http://{}/", server.address());
    assert_verdict("no Host", Unhealthy("status 400"), &[&url]);
    let header = ["--header", "host: shop.example.com", &url];
    assert_verdict("Host", Healthy(" 200 in "), &header);
}

#[test]
fn ports_that_are_closed_or_full_or_nobody_accepts_at_are_told_apart() {
    let closed = unused_port();
    for url in [
        format!("http://127.0.0.1:{closed}/"),
        format!("https://127.0.0.1:{closed}/"),
        format!("http://localhost:{closed}/"),
        format!("http://[::1]:{closed}/"),
        format!("[::1]:{closed}"),
        format!("tcp://127.0.0.1:{closed}"),
    ] {
        let verdict = Unhealthy("connection refused (ECONNREFUSED)");
        assert_verdict("closed", verdict, &[&url]);
    }
    let nobody_accepts = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody_accepts.local_addr().unwrap();
    let (http, tcp) = (format!("http://{address}/"), format!("tcp://{address}"));
    assert_verdict("nobody accepts", AT_THE_LIMIT, &[&http]);
    assert_verdict("nobody accepts", Healthy(""), &[&tcp]);

    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&full, Backlog::new(0).unwrap()).unwrap();
    let address = full.local_addr().unwrap();
    let queue: Vec<TcpStream> = std::iter::from_fn(|| {
        TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()
    })
    .collect();
    assert!(!queue.is_empty() && queue.len() < 10);
    side_by_side(["http", "https", "tcp"], |scheme| {
        assert_verdict("full", AT_THE_LIMIT, &[&format!("{scheme}://{address}")]);
    });
}

#[test]
fn sockets_that_are_missing_or_full_or_silent_are_told_apart() {
    let directory = TempDir::new();
    let path = directory.join("app.sock");
    let (http, unix) = (
        format!("http+unix://{}:/up", path.display()),
        format!("unix://{}", path.display()),
    );
    for url in [&http, &unix] {
        let missing = Unhealthy("no such file or directory (ENOENT)");
        assert_verdict("missing", missing, &[url]);
    }
    let listener = UnixListener::bind(&path).unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let request = head(&mut stream).to_lowercase();
            let _ = stream.write_all(http_answer(200, "").as_bytes());
            request
        });
        assert_verdict("there", Healthy(" 200 in "), &[&http]);
        let request = server.join().unwrap();
        assert!(request.starts_with("get /up http/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nhost: localhost\r\n"), "{request}");
    });
    assert_verdict("silent", AT_THE_LIMIT, &[&http]);
    assert_verdict("silent", Healthy("app.sock"), &[&unix]);
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    // The queue holds the two connections that nobody took.
    side_by_side([&http, &unix], |url| {
        assert_verdict("full", AT_THE_LIMIT, &[url])
    });
    drop(listener);
    let dead = Unhealthy("connection refused (ECONNREFUSED)");
    for url in [&http, &unix] {
        assert_verdict("dead", dead, &[url]);
    }
    fs::remove_file(&path).unwrap();
    directory.file("app.sock", "");
    assert_verdict("no socket", dead, &[&unix]);
}

#[test]
fn a_file_is_ready_when_it_exists() {
    let directory = TempDir::new();
    symlink("ready", directory.join("link")).unwrap();
    let url = |name: &str| format!("file://{}", directory.join(name).display());
    for name in ["ready", "link"] {
        let missing = Unhealthy("no such file or directory (ENOENT)");
        assert_verdict(name, missing, &[&url(name)]);
    }
    directory.file("ready", "");
    for name in ["ready", "link"] {
        assert_verdict(name, Healthy("file://"), &[&url(name)]);
    }
    assert_verdict("below", Unhealthy("(ENOTDIR)"), &[&url("ready/below")]);
}
