//! What is sent, over which kind of connection, and which statuses are wanted.

use crate::probe::question::Expectation;
use crate::probe::question::StatusSet;
use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

/// The request that `expectation` makes of the path `/a?b`.
fn request_of(userinfo: &str, expectation: Expectation) -> String {
    let (sender, receiver) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        let _ = sender.send(read_request(&mut stream));
        let _ = stream.write_all(OK.as_bytes());
    });
    let port = server.port();
    let answer = ask_with(
        &format!("http://{userinfo}127.0.0.1:{port}/a?b"),
        expectation,
        LONG,
    );
    let request = receiver.recv_timeout(LONG).unwrap_or_default();
    assert_eq!(answer, ready("200"), "{request}");
    request.replace(&port.to_string(), "PORT").to_lowercase()
}

#[test]
fn the_request_is_what_was_asked_for() {
    let plain = request_of("", Expectation::default());
    assert!(plain.starts_with("get /a?b http/1.1\r\n"), "{plain}");
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        "host: 127.0.0.1:port",
        &format!("user-agent: portero/{version}"),
        "connection: close",
    ] {
        assert_eq!(
            plain.matches(&format!("\r\n{line}\r\n")).count(),
            1,
            "{line}: {plain}"
        );
    }

    let headers = [
        ("Host", "shop.example"),
        ("X-Probe", "yes"),
        ("X-Long", &"v".repeat(9000)),
    ];
    let headers = headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let posted = request_of(
        "",
        Expectation {
            method: "POST".into(),
            headers,
            ..Expectation::default()
        },
    );
    assert!(posted.starts_with("post /a?b http/1.1\r\n"), "{posted}");
    for line in ["host: shop.example", "x-probe: yes", "content-length: 0"] {
        assert_eq!(
            posted.matches(&format!("\r\n{line}\r\n")).count(),
            1,
            "{line}: {posted}"
        );
    }
    assert_eq!(posted.matches("\r\nhost: ").count(), 1, "{posted}");

    for method in ["HEAD", "OPTIONS", "PURGE"] {
        let request = request_of(
            "",
            Expectation {
                method: method.into(),
                ..Expectation::default()
            },
        );
        assert!(request.starts_with(&method.to_lowercase()), "{request}");
    }
    let credentials = request_of("user:p%40ss@", Expectation::default());
    assert_eq!(
        credentials
            .matches("\r\nauthorization: basic dxnlcjpwqhnz\r\n")
            .count(),
        1,
        "{credentials}"
    );
}

#[test]
fn what_http_does_not_allow_is_refused_before_it_is_sent() {
    let with = |method: &str, name: &str, value: &str| Expectation {
        method: method.to_owned(),
        headers: vec![(name.to_owned(), value.to_owned())],
        ..Expectation::default()
    };
    assert!(with("GET", "X-Ok", "fine value").validate().is_ok());
    for bad in [
        with("G T", "X", "y"),
        with("", "X", "y"),
        with("GET", "X Y", "z"),
        with("GET", "", "z"),
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
    }
    let injected = with("GET", "X", "hunter2\r\nHost: evil").validate();
    assert!(injected.is_err_and(|failure| !failure.message.contains("hunter2")));
}

#[test]
fn a_unix_socket_serves_as_well() {
    let directory = std::env::temp_dir().join(format!("portero-http-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{error}"));
    let path = directory.join("app.sock");
    let listener = UnixListener::bind(&path).unwrap_or_else(|error| panic!("{error}"));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().ok()?;
        let request = read_request(&mut stream);
        let _ = stream.write_all(OK.as_bytes());
        Some(request)
    });
    let text = format!("http+unix://{}:/health?x", path.display());
    let answer = ask_with(&text, Expectation::default(), LONG);
    let request = server
        .join()
        .ok()
        .flatten()
        .unwrap_or_default()
        .to_lowercase();
    let gone = ask_with(&text, Expectation::default(), LONG);
    let _ = std::fs::remove_dir_all(&directory);
    let missing = ask_with(&text, Expectation::default(), LONG);
    assert_eq!(answer, ready("200"));
    assert!(
        request.starts_with("get /health?x http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\nhost: localhost\r\n"), "{request}");
    assert_eq!(gone, not_yet("connection refused (ECONNREFUSED)"));
    assert_eq!(missing, not_yet("no such file or directory (ENOENT)"));
}

#[test]
fn statuses_are_read_as_sets() {
    let set = StatusSet::parse(" 200-399,418  500\n").unwrap_or_else(|error| panic!("{error}"));
    for (status, member) in [
        (199, false),
        (200, true),
        (399, true),
        (400, false),
        (418, true),
        (500, true),
        (501, false),
    ] {
        assert_eq!(set.contains(status), member, "{status}");
    }
    for bad in [
        "",
        " ",
        ",",
        "20",
        "2000",
        "099",
        "399-200",
        "200-",
        "-200",
        "2xx",
        "+200",
        "200-300-400",
    ] {
        assert!(StatusSet::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn credentials_may_be_as_long_as_a_token() {
    for length in [900, 4096, 32_000] {
        let request = request_of(
            &format!("user:{}@", "t".repeat(length)),
            Expectation::default(),
        );
        let sent = request
            .lines()
            .find(|line| line.starts_with("authorization: basic "));
        assert!(sent.is_some_and(|line| line.len() > length), "{length}");
    }
}
