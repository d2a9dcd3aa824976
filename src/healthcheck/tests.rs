use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;

use super::*;
use crate::environment::Environment;
use crate::net::tls::settings::Verification;
use crate::probe::question::Expectation;
use crate::probe::testing::{Server, refused_port, stay_silent};

fn plan(targets: &[&str]) -> ProbePlan {
    let parse = |text: &&str| {
        Target::parse(OsStr::new(text), &Environment::default())
            .unwrap_or_else(|failure| panic!("{failure}"))
    };
    ProbePlan {
        targets: targets.iter().map(parse).collect(),
        timeout: Some(Duration::from_millis(400)),
        expectation: Expectation::default(),
        verification: Verification::default(),
        live: false,
    }
}

fn reported(plan: &ProbePlan) -> Result<String, String> {
    probe(plan, Deadline::after(plan.timeout))
        .and_then(|answers| report(plan, &answers, Duration::from_millis(3)))
}

#[test]
fn a_healthy_server_is_reported_in_one_line() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let port = server.port();
    let mut plan = plan(&[]);
    plan.targets =
        vec![Target::own_http(port, "/health").unwrap_or_else(|failure| panic!("{failure}"))];
    assert_eq!(
        reported(&plan),
        Ok(format!("GET 127.0.0.1:{port}/health 200 in 3ms"))
    );
    assert_eq!(run(&plan, Instant::now()), Exit::Success);
}

#[test]
fn an_unhealthy_target_says_why() {
    let busy = Server::answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let (port, gone) = (busy.port(), refused_port());
    let http = plan(&[&format!("http://127.0.0.1:{port}/")]);
    assert_eq!(
        reported(&http),
        Err(format!("GET 127.0.0.1:{port}/: status 503"))
    );
    assert_eq!(run(&http, Instant::now()), Exit::Unhealthy);
    let tcp = plan(&[&format!("127.0.0.1:{gone}")]);
    assert_eq!(
        reported(&tcp),
        Err(format!(
            "127.0.0.1:{gone}: connection refused (ECONNREFUSED)"
        ))
    );
}

#[test]
fn several_targets_are_probed_at_once_and_all_must_pass() {
    let (first, second) = (Server::start(stay_silent), Server::start(stay_silent));
    let (a, b) = (
        format!("127.0.0.1:{}", first.port()),
        format!("127.0.0.1:{}", second.port()),
    );
    assert_eq!(reported(&plan(&[&a, &b])), Ok(format!("{a}, {b} in 3ms")));
    let (slow_a, slow_b) = (format!("http://{a}/"), format!("http://{b}/"));
    let answer = reported(&plan(&[&slow_a, &slow_b, &b]));
    assert_eq!(
        answer,
        Err(format!(
            "GET {a}/: no answer within 400ms; GET {b}/: no answer within 400ms"
        ))
    );
    // One after the other, the first would have taken all the time.
    let end = Instant::now() + Duration::from_secs(10);
    while (first.accepted(), second.accepted()) != (2, 3) {
        assert!(Instant::now() < end, "one after the other");
        thread::yield_now();
    }
}

#[test]
fn whatever_goes_wrong_is_unhealthy() {
    assert_eq!(run(&plan(&[]), Instant::now()), Exit::Unhealthy);
    let mut bad = plan(&["http://127.0.0.1:1/"]);
    bad.expectation.method = "NO METHOD".to_owned();
    assert_eq!(run(&bad, Instant::now()), Exit::Unhealthy);
    let mut unreadable = plan(&["https://127.0.0.1:1/"]);
    unreadable.verification.ca_cert = Some("/nonexistent/ca.pem".into());
    assert_eq!(run(&unreadable, Instant::now()), Exit::Unhealthy);
}

#[test]
fn the_line_has_less_than_200_bytes() {
    for text in ["short", &"ä\n".repeat(400)] {
        let line = line("unhealthy", text);
        assert!(line.len() < 200, "{}", line.len());
        assert!(
            line.starts_with("unhealthy: ") && line.ends_with('\n') && line.lines().count() == 1,
            "{line:?}"
        );
    }
}

#[test]
fn a_line_that_is_too_long_lacks_its_middle() {
    for filling in ["x", "é", "€"] {
        let text = format!("db: {} (28000); what to do", filling.repeat(300));
        let line = line("unhealthy", &text);
        let whole = line.starts_with("unhealthy: db: ") && line.ends_with(" (28000); what to do\n");
        assert!(whole && (190..200).contains(&line.len()), "{line}");
    }
}

#[test]
fn a_long_name_leaves_room_for_the_reason() {
    let name = format!(
        "http://127.0.0.1:{}/{}",
        refused_port(),
        "long/".repeat(100)
    );
    let said = reported(&plan(&[&name])).err().unwrap_or_default();
    assert!(
        said.ends_with("connection refused (ECONNREFUSED)") && said.len() < 190,
        "{said}"
    );
}

#[test]
fn a_reader_that_has_gone_or_reads_nothing_changes_nothing() {
    let (reader, writer) = io::pipe().unwrap_or_else(|error| panic!("{error}"));
    write(writer.as_fd(), "healthy\n");
    let mut filler = &writer;
    sys::without_sigpipe(|| {
        nix::fcntl::fcntl(&writer, nix::fcntl::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        while io::Write::write(&mut filler, &[b'x'; 4096]).is_ok() {}
        nix::fcntl::fcntl(&writer, nix::fcntl::F_SETFL(nix::fcntl::OFlag::empty()))?;
        Ok(())
    });
    let start = Instant::now();
    write(writer.as_fd(), "healthy\n");
    assert!(start.elapsed() < Duration::from_secs(10));
    drop(reader);
    write(writer.as_fd(), "healthy\n");
}
