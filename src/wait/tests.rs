use std::ffi::OsStr;
use std::io::Write;
use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::*;
use crate::environment::Environment;
use crate::net::tls::settings::Verification;
use crate::probe::testing::{Server, read_request, refused_port, stay_silent};

/// Keeps every line of this process; tests find theirs by a port or a path.
struct Memory(Mutex<Vec<(Level, String)>>);

static MEMORY: Memory = Memory(Mutex::new(Vec::new()));

impl Log for Memory {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("portero")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata())
            && let Ok(mut lines) = self.0.lock()
        {
            lines.push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Lines at info or above that hold `part`.
fn lines(part: &str) -> Vec<(Level, String)> {
    let lines = MEMORY
        .0
        .lock()
        .map(|lines| lines.clone())
        .unwrap_or_default();
    lines
        .into_iter()
        .filter(|(level, line)| *level <= Level::Info && line.contains(part))
        .collect()
}

fn plan(targets: &[String], limit: Duration) -> WaitPlan {
    // The second test to come here finds it set, which is as well.
    let _ = log::set_logger(&MEMORY);
    log::set_max_level(LevelFilter::Info);
    let parse = |text: &String| {
        Target::parse(OsStr::new(text), &Environment::default())
            .unwrap_or_else(|failure| panic!("{failure}"))
    };
    WaitPlan {
        targets: targets.iter().map(parse).collect(),
        timeout: Some(limit),
        max_interval: Duration::from_millis(100),
        verification: Verification::default(),
        again: false,
    }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_secs(1);

#[test]
fn a_target_that_is_ready_costs_one_line() {
    let server = Server::start(stay_silent);
    let name = local(server.port());
    assert_eq!(run(&plan(std::slice::from_ref(&name), LONG)), Ok(()));
    let said = lines(&name);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].1.starts_with(&format!("{name} is ready after ")),
        "{said:?}"
    );
}

#[test]
fn nothing_to_wait_for_is_ready() {
    assert_eq!(run(&plan(&[], LONG)), Ok(()));
}

#[test]
fn a_server_that_comes_late_is_waited_for_and_each_reason_said_once() {
    let first = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |mut stream| {
        read_request(&mut stream);
        let count = first.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let status = ["503 Busy", "503 Busy", "500 Oops", "503 Busy"]
            .get(count)
            .unwrap_or(&"200 OK");
        let _ =
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    });
    let name = format!("http://127.0.0.1:{}/", server.port());
    assert_eq!(run(&plan(std::slice::from_ref(&name), LONG)), Ok(()));
    let said: Vec<_> = lines(&name).into_iter().map(|(_, line)| line).collect();
    assert_eq!(
        said[..3],
        [
            format!("waiting for {name} (up to 20s)"),
            format!("{name}: status 503"),
            format!("{name}: status 500")
        ]
    );
    assert!(
        said[3].starts_with(&format!("{name} is ready after ")),
        "{said:?}"
    );
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(server.accepted(), 5);
}

#[test]
fn the_limit_ends_the_wait_and_lists_who_is_missing() {
    let (there, silent) = (Server::start(stay_silent), Server::start(stay_silent));
    let (there, gone) = (local(there.port()), local(refused_port()));
    let hangs = format!("http://127.0.0.1:{}/", silent.port());
    let started = Instant::now();
    let failure = run(&plan(&[there.clone(), gone.clone(), hangs.clone()], SHORT)).err();
    assert!(
        started.elapsed() >= SHORT && started.elapsed() < SHORT + LONG,
        "took {:?}",
        started.elapsed()
    );
    let failure = failure.unwrap_or_else(|| panic!("all were ready"));
    assert_eq!(failure.exit, Exit::TimedOut);
    let start = format!(
        "not ready after 1s: {gone}: connection refused (ECONNREFUSED); {hangs}: no answer"
    );
    assert!(failure.message.starts_with(&start), "{failure}");
    assert!(!failure.message.contains(&there), "{failure}");
}

#[test]
fn a_target_that_says_no_is_told_apart() {
    // The stand-in for a login that is refused: TLS on a port that speaks none.
    let server = Server::start(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        stay_silent(stream);
    });
    let (name, gone) = (
        format!("https://127.0.0.1:{}/", server.port()),
        local(refused_port()),
    );
    let mut plan = plan(&[name.clone(), gone], SHORT);
    plan.verification.insecure = true;
    let failure = run(&plan).err().unwrap_or_else(|| panic!("it was ready"));
    assert_eq!(failure.exit, Exit::Failed);
    assert!(failure.message.contains("use http://"), "{failure}");
    let said = lines(&format!("{name}: "));
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, Level::Warn);
    assert!(
        said[0]
            .1
            .contains("waiting will hardly change that; check "),
        "{said:?}"
    );
}

#[test]
fn what_no_waiting_changes_fails_at_once() {
    let mut plan = plan(&["https://api.invalid/".to_owned()], LONG);
    plan.verification.ca_cert = Some("/nonexistent/ca.pem".into());
    let started = Instant::now();
    let failure = run(&plan).err().unwrap_or_else(|| panic!("it was ready"));
    assert_eq!(failure.exit, Exit::Failed);
    assert!(failure.message.contains("/nonexistent/ca.pem"), "{failure}");
    assert!(started.elapsed() < LONG / 2);
}

#[test]
fn a_long_wait_shows_that_it_is_alive() {
    let plan = plan(
        &["db:5432".to_owned(), "file:///ready".to_owned()],
        Duration::from_mins(1),
    );
    let mut tracker = Tracker::new(&plan);
    tracker.hear(0, Readiness::NotYet("connection refused".to_owned()));
    tracker.show_life(Duration::from_secs(15));
    let said = lines("(15s of 60s)");
    let said: Vec<_> = said.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(
        said,
        [
            "still waiting for db:5432 (15s of 60s): connection refused",
            "still waiting for file:///ready (15s of 60s): no answer"
        ]
    );
}

#[test]
fn reasons_that_never_repeat_do_not_flood_the_log() {
    let plan = plan(&["flood:1".to_owned()], LONG);
    let mut tracker = Tracker::new(&plan);
    for number in 0..1000 {
        tracker.hear(0, Readiness::NotYet(format!("reason {number}")));
    }
    assert_eq!(lines("flood:1: reason").len(), REASONS);
}

#[test]
fn pauses_grow_by_half_up_to_the_longest_and_are_a_second_where_asking_does_harm() {
    let not_yet = Readiness::NotYet("connection refused".to_owned());
    let mut pauses = Pauses::new(Duration::from_secs(1));
    let mut expected = Duration::from_millis(50);
    for _ in 0..20 {
        let pause = pauses.after(&not_yet);
        assert!(pause >= expected / 2 && pause <= expected, "{pause:?}");
        expected = (expected * 3 / 2).min(Duration::from_secs(1));
    }
    let gentle = [
        Readiness::Refused("wrong password".to_owned()),
        Readiness::NotYet("can't resolve db: no such host".to_owned()),
    ];
    for answer in gentle {
        for longest in [Duration::from_millis(10), Duration::from_secs(1)] {
            let pause = Pauses::new(longest).after(&answer);
            assert_eq!(pause, Duration::from_secs(1), "{answer:?}");
        }
        let mut pauses = Pauses::new(Duration::from_secs(20));
        let longest = (0..20).map(|_| pauses.after(&answer)).max();
        assert!(longest > Some(Duration::from_secs(9)), "{longest:?}");
    }
}

#[test]
fn a_try_that_was_cut_off_is_followed_by_one_twice_as_long_up_to_what_is_left() {
    let seconds = Duration::from_secs;
    let mut tries = Tries::new(Some(seconds(60)));
    let table = [(0, 5), (5, 10), (15, 20), (35, 25), (59, 5)];
    for (elapsed, limit) in table {
        let granted = tries.limit(seconds(elapsed));
        assert_eq!(granted, seconds(limit), "after {elapsed} s");
        tries.note(granted, granted);
    }
    tries.note(seconds(20), Duration::from_millis(3));
    assert_eq!(tries.limit(seconds(1)), seconds(5), "after an answer");
    assert_eq!(
        Tries::new(Some(seconds(2))).limit(seconds(0)),
        Duration::from_millis(1800)
    );
    let mut tries = Tries::new(None);
    for _ in 0..20 {
        let limit = tries.limit(seconds(0));
        tries.note(limit, limit);
    }
    assert_eq!(tries.limit(seconds(0)), seconds(300));
}

#[test]
fn a_refusal_is_told_with_what_to_check() {
    let (postgres, redis, http) = ("postgres://u@db/d", "rediss://h", "https://h/");
    let table = [
        (postgres, "no (28P01)", "user and password of its URL"),
        (
            postgres,
            "connection requires a valid client certificate (28000)",
            "sslcert and sslkey of its URL",
        ),
        (
            postgres,
            "Tenant or user not found (XX000)",
            "the project's name with the user's",
        ),
        (
            postgres,
            "Endpoint ID is not specified (08P01)",
            "the endpoint's name",
        ),
        (
            postgres,
            "No pool configured (58000)",
            "the pooler has none of these",
        ),
        (
            postgres,
            "require_auth: the server asks",
            "require_auth of its URL",
        ),
        (
            postgres,
            "the server asks for OAUTHBEARER",
            "portero knows passwords and client certificates",
        ),
        (postgres, "no entry (28000)", "user and sslmode of its URL"),
        (postgres, "no such database (3D000)", "that it was created"),
        (postgres, "denied (42501)", "GRANT CONNECT ON DATABASE"),
        (
            postgres,
            "unsupported startup parameter",
            "the URL's options parameter",
        ),
        (
            postgres,
            "certificate refused",
            "sslmode and sslrootcert of its URL",
        ),
        (postgres, "is not PostgreSQL", "host and port of its URL"),
        (
            postgres,
            "anything",
            "user, password, database and sslmode of its URL",
        ),
        (redis, "anything", "the URL's scheme, user and password"),
        (http, "anything", "the server's certificate and --ca-cert"),
    ];
    for (url, reason, expected) in table {
        let target = Target::parse(OsStr::new(url), &Environment::default());
        let target = target.unwrap_or_else(|failure| panic!("{failure}"));
        let check = what_to_check(&target, reason);
        assert!(check.contains(expected), "{reason}: {check}");
    }
}
