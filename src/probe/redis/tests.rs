use std::ffi::OsStr;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::environment::Environment;
use crate::net::tls::settings::Verification;
use crate::probe::ask as ask_target;
use crate::probe::target::Target;
use crate::probe::testing::{Server, drip, stay_silent};

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

fn ask_at(scheme: &str, userinfo: &str, server: &Server, limit: Duration) -> Readiness {
    let text = format!("{scheme}://{userinfo}127.0.0.1:{}/0", server.port());
    let target = Target::parse(OsStr::new(&text), &Environment::default())
        .unwrap_or_else(|failure| panic!("{failure}"));
    let question = Question::of_wait(Verification {
        insecure: true,
        ..Verification::default()
    });
    ask_target(&target, &question, Deadline::after(Some(limit)))
}

/// Says these bytes at once, whatever is asked.
fn saying(bytes: &[u8]) -> Server {
    let bytes = bytes.to_vec();
    Server::start(move |mut stream| {
        let _ = stream.write_all(&bytes);
        stay_silent(stream);
    })
}

#[test]
fn what_is_sent_is_a_login_and_a_ping_of_any_bytes() {
    let table = [
        ("", "*1\r\n$4\r\nPING\r\n"),
        (
            ":p%0d%0aw@",
            "*2\r\n$4\r\nAUTH\r\n$4\r\np\r\nw\r\n*1\r\n$4\r\nPING\r\n",
        ),
        (
            "us%C3%A9r:pw@",
            "*3\r\n$4\r\nAUTH\r\n$5\r\nusér\r\n$2\r\npw\r\n*1\r\n$4\r\nPING\r\n",
        ),
        ("user@", "*1\r\n$4\r\nPING\r\n"),
    ];
    for (userinfo, request) in table {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (ear, length) = (Arc::clone(&heard), request.len());
        let server = Server::start(move |mut stream| {
            let mut bytes = vec![0; length];
            let _ = stream.read_exact(&mut bytes);
            *ear.lock().unwrap() = bytes;
            // In pieces, as a network may deliver it.
            let answer: &[u8] = if length > 14 {
                b"+OK\r\n+PONG\r\n"
            } else {
                b"+PONG\r\n"
            };
            for byte in answer {
                let _ = stream.write_all(&[*byte]);
            }
        });
        let answer = ask_at("redis", userinfo, &server, LONG);
        assert_eq!(answer, Readiness::Ready("PONG".to_owned()), "{userinfo}");
        assert_eq!(*heard.lock().unwrap(), request.as_bytes(), "{userinfo}");
    }
}

fn not_yet(text: &str) -> Readiness {
    Readiness::NotYet(text.to_owned())
}

fn refused(text: &str) -> Readiness {
    Readiness::Refused(text.to_owned())
}

fn assert_answers(table: &[(&str, &str, Readiness)]) {
    for (userinfo, said, expected) in table {
        let server = saying(format!("{said}\r\n").as_bytes());
        let answer = ask_at("redis", userinfo, &server, LONG);
        assert_eq!(answer, *expected, "{userinfo} {said:?}");
    }
}

#[test]
fn answers_to_a_ping_are_told_apart() {
    let no_redis = not_redis();
    assert_answers(&[
        (
            "",
            "-LOADING Redis is loading the dataset in memory",
            not_yet("it is still loading its data (LOADING)"),
        ),
        (
            "",
            "-BUSY Redis is busy running a script.",
            not_yet("it is busy with a script (BUSY)"),
        ),
        (
            "",
            "-MASTERDOWN Link with MASTER is down",
            not_yet("MASTERDOWN Link with MASTER is down"),
        ),
        (
            "",
            "-MISCONF Redis\u{7}can't persist",
            not_yet("MISCONF Redis can't persist"),
        ),
        (
            "",
            "-ERR max number of clients reached",
            not_yet("ERR max number of clients reached"),
        ),
        (
            "",
            "-NOAUTH Authentication required.",
            refused("it wants a password, and the URL has none (NOAUTH)"),
        ),
        (
            "",
            "-NOPERM this user has no permissions",
            refused("this user may not PING (NOPERM)"),
        ),
        (
            "",
            "-DENIED Redis is running in protected mode",
            refused("it is in protected mode, for want of a password (DENIED)"),
        ),
        ("", "+OK", no_redis.clone()),
        ("", "-", no_redis.clone()),
        ("", "-err in lower case", no_redis.clone()),
        ("", ":1", no_redis.clone()),
        ("", "$4\r\nPONG", no_redis.clone()),
        ("", "HTTP/1.1 400 Bad Request", no_redis.clone()),
    ]);
}

#[test]
fn answers_to_a_login_are_told_apart_and_never_shown() {
    assert_answers(&[
        (
            ":hunter2@",
            "-WRONGPASS invalid username-password pair",
            refused("it refuses the user or the password (WRONGPASS)"),
        ),
        (
            ":hunter2@",
            "-ERR invalid password",
            refused("it refuses the password (ERR invalid password)"),
        ),
        (
            ":hunter2@",
            "-ERR Client sent AUTH, but no password is set",
            refused("the URL has a password, and the server wants none"),
        ),
        (
            ":hunter2@",
            "-ERR max number of clients reached",
            not_yet("it has no connection left (max number of clients reached)"),
        ),
        (
            ":hunter2@",
            "-LOADING",
            not_yet("it is still loading its data (LOADING)"),
        ),
        (
            ":hunter2@",
            "+OK\r\n-LOADING",
            not_yet("it is still loading its data (LOADING)"),
        ),
        (
            ":hunter2@",
            "+OK\r\n-NOAUTH Authentication required.",
            refused("it refuses the login (NOAUTH)"),
        ),
        (
            ":hunter2@",
            "-ERR unknown command `AUTH`, with args beginning with: `hunter2`",
            refused("it refuses the login (ERR)"),
        ),
        (
            ":hunter2@",
            "+OK\r\n-ERR unknown command `AUTH`, with args beginning with: `hunter2`",
            not_yet("it does not know PING (ERR unknown command)"),
        ),
        (
            ":hunter2@",
            "+OK\r\n-ERR what is hunter2",
            not_yet("it answers with an error"),
        ),
        (
            ":hunter2@",
            "*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2",
            not_redis(),
        ),
        (":HUNTER@", "-HUNTER", refused("it refuses the login")),
        (
            ":HUNTER@",
            "+OK\r\n-HUNTER",
            not_yet("it answers with an error"),
        ),
    ]);
}

#[test]
fn no_behaviour_of_a_server_outlasts_the_deadline() {
    let pace = Duration::from_millis(20);
    let servers = [
        ("silent", Server::start(stay_silent)),
        (
            "drip",
            Server::start(move |mut stream| drip(&mut stream, b"+", pace)),
        ),
        (
            "endless line",
            Server::start(|mut stream| drip(&mut stream, &[b'+'; 512], Duration::ZERO)),
        ),
        ("closing", Server::start(drop)),
        ("noise", saying(&[0xfe, 0x00, 0x13, 0x37])),
        (
            "half an answer",
            Server::start(|mut stream| drop(stream.write_all(b"+PO"))),
        ),
    ];
    for (name, server) in servers {
        for scheme in ["redis", "rediss"] {
            let started = Instant::now();
            let answer = ask_at(scheme, ":hunter2@", &server, SHORT);
            assert!(
                !matches!(answer, Readiness::Ready(_)),
                "{name} {scheme}: {answer:?}"
            );
            assert!(
                started.elapsed() < SHORT + LONG,
                "{name} {scheme}: {answer:?} took {:?}",
                started.elapsed()
            );
        }
    }
}

#[test]
fn a_scheme_that_does_not_match_is_told() {
    let alert = saying(&[21, 3, 3, 0, 2, 2, 70]);
    let answer = ask_at("redis", "", &alert, LONG);
    assert_eq!(answer, speaks_tls());
    // What Redis says when the handshake happens to hold the end of a line.
    let plain = saying(b"-ERR unknown command\r\n");
    let answer = ask_at("rediss", "", &plain, LONG);
    let told = "it does not speak TLS on this port: use redis://";
    assert_eq!(answer, Readiness::Refused(told.to_owned()));
}
