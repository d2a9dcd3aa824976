//! What the health check makes of servers that behave well, badly, or not at all: the right verdict, within its limit,
//! and one line that says why.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::type_complexity,
    missing_docs
)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use common::server::{http_answer, unused_port};
use common::verdict::{Healthy, Unhealthy, UnhealthyAtTheLimit, Verdict, assert_verdict};
use common::{Server, TempDir};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

fn request_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads a request, says `first`, and then `again` for as long as anybody listens.
fn endless(first: &'static str, again: &'static [u8]) -> Server {
    Server::start(move |mut stream| {
        request_head(&mut stream);
        let _ = stream.write_all(first.as_bytes());
        while stream.write_all(again).is_ok() {}
    })
}

/// Closes with a reset: what was not sent yet is forgotten (socket(7), SO_LINGER with 0).
fn reset(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(stream, sockopt::Linger, &linger).unwrap();
}

#[test]
fn http_servers_that_misbehave_are_told_apart() {
    let second = Duration::from_secs(1);
    let servers: [(&str, Server, Verdict); 22] = [
        (
            "says nothing",
            Server::silent(),
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "drips a byte a second",
            Server::dripping(http_answer(200, ""), second),
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "drips headers",
            Server::dripping(
                format!("HTTP/1.1 200 OK\r\n{}", "X-Y: z\r\n".repeat(1000)),
                Duration::from_millis(20),
            ),
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "streams for ever after a 200",
            endless("HTTP/1.1 200 OK\r\n\r\n", b"all is well\n"),
            Healthy(" 200 in "),
        ),
        (
            "sends events for ever",
            endless(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"5\r\ntick\n\r\n",
            ),
            Healthy(" 200 in "),
        ),
        (
            "sends endless headers",
            endless("HTTP/1.1 200 OK\r\n", b"X-Header: and another\r\n"),
            Unhealthy("more than 64 KiB of header"),
        ),
        (
            "sends 150 headers",
            Server::answering(format!(
                "HTTP/1.1 200 OK\r\n{}\r\n",
                "X-Y: z\r\n".repeat(150)
            )),
            Healthy(" 200 in "),
        ),
        (
            "speaks TLS and says so in the clear",
            Server::answering(http_answer(
                400,
                "The plain HTTP request was sent to HTTPS port",
            )),
            Unhealthy("use https://"),
        ),
        (
            "sends one endless header",
            endless("HTTP/1.1 200 OK\r\nX-Header: ", b"and more and more"),
            Unhealthy("more than 64 KiB of header"),
        ),
        (
            "sends random bytes",
            endless("", b"\x9c\x07\xf3\x00\x1b[2J\xfe\r\n\x80\xd1q\r\n\r\n"),
            Unhealthy("it does not speak HTTP"),
        ),
        (
            "speaks something else",
            Server::answering("220 mail.example.com ESMTP\r\n"),
            Unhealthy("it does not speak HTTP"),
        ),
        (
            "closes at once",
            Server::closing(),
            Unhealthy("it closed the connection"),
        ),
        (
            "closes without an answer",
            Server::answering(""),
            Unhealthy("it closed the connection"),
        ),
        (
            "closes in its status line",
            Server::answering("HTTP/1.1 20"),
            Unhealthy("it closed the connection"),
        ),
        (
            "resets",
            Server::start(|mut stream| {
                request_head(&mut stream);
                reset(&stream);
                let _ = stream.shutdown(Shutdown::Read);
            }),
            Unhealthy("it closed the connection"),
        ),
        (
            "redirects to another host",
            Server::answering(
                "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.invalid/login\r\nContent-Length: 0\r\n\r\n",
            ),
            Healthy(" 302 in "),
        ),
        (
            "redirects without saying whereto",
            Server::answering("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"),
            Healthy(" 301 in "),
        ),
        (
            "answers 1xx first",
            Server::answering(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ),
            Healthy(" 200 in "),
        ),
        (
            "answers 1xx for ever",
            endless("", b"HTTP/1.1 102 Processing\r\n\r\n"),
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "answers HTTP/1.0",
            Server::answering("HTTP/1.0 200 OK\r\n\r\nfine"),
            Healthy(" 200 in "),
        ),
        (
            "answers HTTP/0.9",
            Server::answering("<html>fine</html>\n"),
            Unhealthy("it does not speak HTTP"),
        ),
        (
            "answers HTTP/2",
            Server::answering(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80".to_vec()),
            Unhealthy("HTTP/2 alone on this port (gRPC?): use tcp://"),
        ),
    ];
    for (what, server, verdict) in &servers {
        let url = format!("http://{}/up", server.address());
        assert_verdict(what, *verdict, &[&url]);
        assert_eq!(server.connections(), 1, "{what}: asked again");
    }
}

#[test]
fn a_server_that_needs_its_host_gets_the_one_that_is_given() {
    let server = Server::start(|mut stream| {
        let head = request_head(&mut stream);
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
        format!("tcp://127.0.0.1:{closed}"),
    ] {
        let verdict = Unhealthy("connection refused (ECONNREFUSED)");
        assert_verdict("closed", verdict, &[&url]);
    }
    let nobody_accepts = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody_accepts.local_addr().unwrap();
    let verdict = UnhealthyAtTheLimit("no answer within 1s");
    let url = format!("http://{address}/");
    assert_verdict("nobody accepts", verdict, &[&url]);
    assert_verdict(
        "nobody accepts",
        Healthy(""),
        &[&format!("tcp://{address}")],
    );

    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&full, Backlog::new(0).unwrap()).unwrap();
    let address = full.local_addr().unwrap();
    let queue: Vec<TcpStream> = std::iter::from_fn(|| {
        TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()
    })
    .collect();
    assert!(!queue.is_empty() && queue.len() < 10);
    for scheme in ["http", "https", "tcp"] {
        let url = format!("{scheme}://{address}");
        assert_verdict("full", verdict, &[&url]);
    }
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
    let at_limit = UnhealthyAtTheLimit("no answer within 1s");
    assert_verdict("silent", at_limit, &[&http]);
    assert_verdict("silent", Healthy("app.sock"), &[&unix]);
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    // The queue holds the two connections that nobody took.
    for url in [&http, &unix] {
        assert_verdict("full", at_limit, &[url]);
    }
    drop(listener);
    for url in [&http, &unix] {
        let dead = Unhealthy("connection refused (ECONNREFUSED)");
        assert_verdict("dead", dead, &[url]);
    }
}

#[test]
fn a_redirect_that_is_not_wanted_tells_whereto() {
    for (status, location, said) in [
        (301, "/health/", "status 301, to /health/"),
        (
            308,
            "https://shop.example/health?t=s3cret",
            "status 308, to https://shop.example/health…",
        ),
    ] {
        let server = Server::answering(format!(
            "HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ));
        let url = format!("http://{}/health", server.address());
        assert_verdict(location, Unhealthy(said), &["--status", "200", &url]);
    }
}
