//! Redis as a target, against a real server: the same answers for the health check and for a wait.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::type_complexity,
    missing_docs
)]

mod common;

use std::thread;
use std::time::Instant;

use common::{DEADLINE, Finished, Process, Redis, Run, poll_until};

const PASSWORD: &str = "p@ss:w/rd";
/// The same as a URL has it.
const ENCODED: &str = "p%40ss%3Aw%2Frd";

fn healthcheck(url: &str, options: &[&str]) -> Finished {
    Run::portero()
        .args(["healthcheck", "--timeout", "10s"])
        .args(options)
        .arg("REDIS_URL")
        .env("REDIS_URL", url)
        .finish()
}

fn wait(url: &str, limit: &str, options: &[&str]) -> Process {
    Run::portero()
        .args(["wait", "--wait-timeout", limit])
        .args(options)
        .arg("REDIS_URL")
        .env("REDIS_URL", url)
        .start()
}

#[track_caller]
fn assert_ready(url: &str, options: &[&str]) {
    let finished = healthcheck(url, options);
    finished.assert_exit(0).assert_stderr("");
    let line = finished.stdout.lines().count() == 1
        && finished.stdout.starts_with("healthy: REDIS_URL (redis");
    assert!(line && finished.stdout.contains(" PONG in "), "{finished}");
    let waited = wait(url, "30s", options).wait();
    waited
        .assert_exit(0)
        .assert_stderr_contains("is ready after");
    for finished in [finished, waited] {
        finished
            .assert_never_says(PASSWORD)
            .assert_never_says(ENCODED);
    }
}

/// The wait's exit code tells *not yet* (124) from *it answers, and says no* (125).
#[track_caller]
fn assert_not_ready(url: &str, options: &[&str], code: i32, why: &str) {
    // It ends at its limit; what says no does so from the first try on.
    let waited = wait(url, "3s", options);
    let finished = healthcheck(url, options);
    finished
        .assert_exit(1)
        .assert_stdout("")
        .assert_one_line_of("unhealthy: REDIS_URL (redis")
        .assert_stderr_contains(why);
    assert!(finished.stderr.len() < 200, "{finished}");
    let waited = waited.wait();
    waited.assert_exit(code).assert_stderr_contains(why);
    for finished in [finished, waited] {
        finished
            .assert_never_says(PASSWORD)
            .assert_never_says(ENCODED);
    }
}

#[test]
fn a_server_without_a_password_is_ready() {
    let server = Redis::start(&[]);
    let port = server.port();
    for url in [
        format!("redis://127.0.0.1:{port}"),
        format!("redis://localhost:{port}/0"),
        format!("redis://user@localhost:{port}/15?client_name=app"),
        format!("REDIS://127.0.0.1:{port}/"),
        format!("valkey://127.0.0.1:{port}/0"),
    ] {
        assert_ready(&url, &[]);
    }
    let with_password = format!("redis://:{ENCODED}@127.0.0.1:{port}/0");
    assert_not_ready(
        &with_password,
        &[],
        125,
        "the URL has a password, and the server wants none",
    );
    let secure = format!("rediss://127.0.0.1:{port}");
    let finished = Run::portero()
        .args(["healthcheck", "--timeout", "1s", "--insecure", &secure])
        .finish();
    finished
        .assert_exit(1)
        .assert_one_line_of("unhealthy: rediss://")
        .assert_stderr_contains("redis://)");
}

#[test]
fn passwords_and_acl_users_are_told_from_wrong_ones() {
    let server = Redis::start(&[
        &format!("requirepass {PASSWORD}"),
        &format!("user app on >{PASSWORD} ~* +@all"),
        &format!("user mute on >{PASSWORD} ~* +@all -ping"),
        &format!("user gone off >{PASSWORD} ~* +@all"),
    ]);
    let url = |userinfo: &str| format!("redis://{userinfo}127.0.0.1:{}/0", server.port());
    for userinfo in [":", "default:", "app:"] {
        assert_ready(&url(&format!("{userinfo}{ENCODED}@")), &[]);
    }
    let wants = "it wants a password, and the URL has none (NOAUTH)";
    let refuses = "it refuses the user or the password (WRONGPASS)";
    let cases = [
        (String::new(), wants),
        ("app@".to_owned(), wants),
        (":wrong@".to_owned(), refuses),
        ("app:wrong@".to_owned(), refuses),
        (format!("nobody:{ENCODED}@"), refuses),
        (format!("gone:{ENCODED}@"), refuses),
        (
            format!("mute:{ENCODED}@"),
            "this user may not PING (NOPERM)",
        ),
    ];
    // Side by side, as each wait takes its limit.
    thread::scope(|scope| {
        for (userinfo, why) in &cases {
            scope.spawn(|| assert_not_ready(&url(userinfo), &[], 125, why));
        }
    });
}

#[test]
fn tls_is_verified_as_for_https() {
    let server = Redis::start_with_tls(&[&format!("requirepass {PASSWORD}")]);
    let url =
        |host: &str, query: &str| format!("rediss://:{ENCODED}@{host}:{}/0{query}", server.port());
    let ca = server.ca();
    let ca = ca.to_str().unwrap();
    for host in ["127.0.0.1", "localhost"] {
        assert_ready(&url(host, ""), &["--ca-cert", ca]);
        assert_ready(&url(host, ""), &["--insecure"]);
        assert_ready(&url(host, "?ssl_cert_reqs=none"), &[]);
        let by_url = url(host, &format!("?ssl_ca_certs={ca}"));
        assert_ready(&by_url, &[]);
        assert_ready(&by_url.replace("rediss://", "valkeys://"), &[]);
    }
    // The health check believes loopback, the wait believes nobody.
    healthcheck(&url("127.0.0.1", ""), &[]).assert_exit(0);
    wait(&url("127.0.0.1", ""), "3s", &[])
        .wait()
        .assert_exit(125)
        .assert_stderr_contains("certificate refused");
    let other = Redis::start_with_tls(&[]);
    let other = other.ca();
    let options = ["--ca-cert", other.to_str().unwrap()];
    let strict = [
        "",
        "?ssl_cert_reqs=none",
        &format!("?ssl_ca_certs={ca}"),
        &format!("?ssl_ca_certs={ca}&ssl_cert_reqs=none"),
    ];
    thread::scope(|scope| {
        for query in strict {
            let url = url("127.0.0.1", query);
            scope.spawn(move || assert_not_ready(&url, &options, 125, "certificate refused"));
        }
    });
    let missing = url("127.0.0.1", "?ssl_ca_certs=/nonexistent/ca.crt");
    let why = "can't read /nonexistent/ca.crt: no such file or directory (ENOENT)";
    let started = Instant::now();
    wait(&missing, "60s", &[])
        .wait()
        .assert_exit(125)
        .assert_stderr_contains(why);
    assert!(started.elapsed() < DEADLINE, "it was waited for");

    let plain = format!("redis://:{ENCODED}@127.0.0.1:{}", server.port());
    let finished = healthcheck(&plain, &[]);
    finished
        .assert_exit(1)
        .assert_stderr_contains("rediss://")
        .assert_never_says(ENCODED);
}

#[test]
fn a_server_that_loads_its_data_or_runs_a_script_is_not_ready_yet() {
    let mut server = Redis::start(&["rdbcompression no", "busy-reply-threshold 20"]);
    let url = format!("redis://127.0.0.1:{}", server.port());

    let mut script = server.begin(&["EVAL", "while true do end", "0"]);
    let busy = poll_until(DEADLINE, || {
        server.command(&["PING"]).contains("BUSY").then_some(())
    });
    assert!(busy.is_some(), "it never got busy:\n{}", server.log());
    assert_not_ready(&url, &[], 124, "it is busy with a script (BUSY)");
    assert_eq!(server.command(&["SCRIPT", "KILL"]), "OK");
    script.wait().unwrap();

    server.command(&["DEBUG", "POPULATE", "20000"]);
    assert_eq!(server.command(&["SAVE"]), "OK");
    server.stop();
    server.set("key-load-delay 5000");
    server.set("loading-process-events-interval-bytes 1024");
    server.launch();
    assert_not_ready(&url, &[], 124, "it is still loading its data (LOADING)");
    let mut late = Run::portero()
        .args(["wait", "--wait-timeout", "60s", &url])
        .start();
    late.until_stderr("LOADING");
    assert_eq!(
        server.command(&["CONFIG", "SET", "key-load-delay", "0"]),
        "OK"
    );
    late.wait()
        .assert_exit(0)
        .assert_stderr_contains("is ready after");
}

#[test]
fn a_server_that_comes_late_is_waited_for() {
    let mut server = Redis::prepare(&[]);
    let url = format!("redis://127.0.0.1:{}", server.port());
    let mut waiting = Run::portero()
        .args(["wait", "--wait-timeout", "60s", &url])
        .start();
    waiting.until_stderr("connection refused");
    server.launch();
    waiting
        .wait()
        .assert_exit(0)
        .assert_stderr_contains("is ready after");
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_the_one_that_the_url_names() {
    let server = Redis::start_with_tls(&["tls-auth-clients yes"]);
    let file = |name: &str| server.ca().with_file_name(name).display().to_string();
    let url = |query: &str| format!("rediss://127.0.0.1:{}/0{query}", server.port());
    let (ca, certificate, key) = (file("ca.crt"), file("server.crt"), file("server.key"));
    let own = format!("?ssl_ca_certs={ca}&ssl_certfile={certificate}&ssl_keyfile={key}");
    assert_ready(&url(&own), &[]);
    let unverified = format!("?ssl_cert_reqs=none&ssl_certfile={certificate}&ssl_keyfile={key}");
    assert_ready(&url(&unverified), &[]);
    let why = "the server wants a client certificate, and none is given (ssl_certfile";
    assert_not_ready(&url(&format!("?ssl_ca_certs={ca}")), &[], 125, why);
    let other = format!("?ssl_certfile={ca}&ssl_keyfile={key}");
    healthcheck(&url(&other), &[])
        .assert_exit(1)
        .assert_stderr_contains("ssl_certfile and ssl_keyfile do not go together");
}

#[test]
fn a_socket_is_asked_like_a_port_and_of_several_hosts_one_that_answers_is_enough() {
    let server = Redis::start(&[&format!("requirepass {PASSWORD}")]);
    let (port, socket) = (server.port(), server.socket());
    let socket = socket.display();
    for scheme in ["redis+unix", "redis+socket"] {
        let url = |password: &str| format!("{scheme}://:{password}@{socket}?virtual_host=0");
        assert_ready(&url(ENCODED), &[]);
        assert_not_ready(&url("wrong"), &[], 125, "(WRONGPASS)");
    }
    assert_not_ready("redis+unix:///run/nowhere.sock", &[], 124, "ENOENT");
    for hosts in [
        format!("127.0.0.1:1,127.0.0.1:{port}"),
        format!("127.0.0.1:{port},127.0.0.1:1"),
    ] {
        assert_ready(&format!("redis://:{ENCODED}@{hosts}/0"), &[]);
        let wrong = format!("redis://:wrong@{hosts}/0");
        let why = format!("127.0.0.1:{port}: it refuses the user or the password (WRONGPASS)");
        assert_not_ready(&wrong, &[], 125, &why);
    }
    let away = "redis://127.0.0.1:1,127.0.0.1:2";
    assert_not_ready(away, &[], 124, "connection refused (ECONNREFUSED)");
}
