use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Instant;

use super::*;
use crate::environment::Environment;
use crate::net::tls::settings::Verification;
use crate::probe::ask;
use crate::probe::question::Question;
use crate::probe::target::Target;
use crate::probe::testing::{Server, refused_port, stay_silent};

const LONG: Duration = Duration::from_secs(10);

fn ask_of(text: &str, limit: Duration) -> Readiness {
    let target = Target::parse(OsStr::new(text), &Environment::default())
        .unwrap_or_else(|failure| panic!("{failure}"));
    ask(
        &target,
        &Question::of_wait(Verification::default()),
        Deadline::after(Some(limit)),
    )
}

fn not_yet(text: &str) -> Readiness {
    Readiness::NotYet(text.to_owned())
}

fn directory(name: &str) -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("portero-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{error}"));
    directory
}

#[test]
fn a_listening_port_is_ready_and_a_closed_one_is_not() {
    let (v4, v6, closed) = (
        Server::start(stay_silent),
        Server::start_v6(stay_silent),
        refused_port(),
    );
    let ready = Readiness::Ready(String::new());
    let table = [
        (format!("127.0.0.1:{}", v4.port()), ready.clone()),
        (format!("tcp://localhost:{}", v4.port()), ready.clone()),
        (format!("tcp://LOCALHOST:{}", v6.port()), ready.clone()),
        (format!("[::1]:{}", v6.port()), ready),
        (
            format!("127.0.0.1:{closed}"),
            not_yet("connection refused (ECONNREFUSED)"),
        ),
        (
            format!("localhost:{closed}"),
            not_yet("connection refused (ECONNREFUSED)"),
        ),
        (
            format!("[::1]:{closed}"),
            not_yet("connection refused (ECONNREFUSED)"),
        ),
    ];
    for (text, answer) in table {
        assert_eq!(ask_of(&text, LONG), answer, "{text}");
    }
}

#[test]
fn the_next_address_is_tried_when_one_refuses() {
    let server = Server::start(stay_silent);
    let refusing = SocketAddr::from((Ipv4Addr::LOCALHOST, refused_port()));
    let accepting = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    assert!(any_of(&[refusing, accepting], Deadline::after(Some(LONG))).is_ok());
    assert!(any_of(&[refusing, refusing], Deadline::after(Some(LONG))).is_err());
}

#[test]
fn a_full_queue_of_a_port_does_not_outlast_the_deadline() {
    let limit = Duration::from_millis(300);
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|error| panic!("{error}"));
    let address = listener
        .local_addr()
        .unwrap_or_else(|error| panic!("{error}"));
    // std's queue holds 128 on Linux, or 4096: filled until a connect no longer comes through.
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
        assert!(held.len() < 10_000, "the queue never fills");
    }
    let started = Instant::now();
    assert_eq!(
        ask_of(&address.to_string(), limit),
        not_yet("no answer within 300ms")
    );
    assert!(
        started.elapsed() < limit + LONG,
        "took {:?}",
        started.elapsed()
    );
}

#[test]
fn unix_sockets_are_asked_without_blocking() {
    let directory = directory("stream");
    let path = directory.join("app.sock");
    let text = format!("unix://{}", path.display());
    let missing = ask_of(&text, LONG);
    let listener = UnixListener::bind(&path);
    let there = ask_of(&text, LONG);
    // Nobody accepts: the queue fills, and a blocking connect would hang here for ever.
    let limit = Duration::from_millis(200);
    let mut held = Vec::new();
    let full = loop {
        match unix(&path, Deadline::after(Some(limit))) {
            Ok(stream) => held.push(stream),
            Err(readiness) => break readiness,
        }
        assert!(held.len() < 10_000, "the queue never fills");
    };
    drop(listener);
    let gone = ask_of(&text, LONG);
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::write(&path, "");
    let no_socket = ask_of(&text, LONG);
    let _ = std::fs::remove_dir_all(&directory);
    assert_eq!(missing, not_yet("no such file or directory (ENOENT)"));
    assert_eq!(there, Readiness::Ready(String::new()));
    assert_eq!(full, not_yet("no answer within 200ms"));
    assert_eq!(gone, not_yet("connection refused (ECONNREFUSED)"));
    assert_eq!(no_socket, not_yet("connection refused (ECONNREFUSED)"));
}

#[test]
fn a_file_is_ready_when_it_exists() {
    let directory = directory("file");
    let (path, link) = (directory.join("ready"), directory.join("link"));
    let _ = std::os::unix::fs::symlink(&path, &link);
    let before = (file(&path), file(&link));
    let _ = std::fs::write(&path, "");
    let after = (file(&path), file(&link));
    let below = file(&path.join("below"));
    let _ = std::fs::remove_dir_all(&directory);
    assert_eq!(
        before,
        (
            not_yet("no such file or directory (ENOENT)"),
            not_yet("no such file or directory (ENOENT)")
        )
    );
    assert_eq!(
        after,
        (
            Readiness::Ready(String::new()),
            Readiness::Ready(String::new())
        )
    );
    assert!(matches!(below, Readiness::NotYet(_)), "{below:?}");
}
