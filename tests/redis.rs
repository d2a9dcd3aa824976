//! Redis as a target, against a real server: the same answers for the health check and for a wait.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use common::verdict::{Healthy, Unhealthy, UnhealthyAtTheLimit, assert_verdict};
use common::{
    DEADLINE, Finished, Process, Redis, Run, Server, poll_until, rows, side_by_side, unescaped,
};
use nix::sys::signal::Signal;

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
        let waited = wait(&url("127.0.0.1", ""), "3s", &[]).exits(125);
        waited.assert_stderr_contains("certificate refused");
    });
    let missing = url("127.0.0.1", "?ssl_ca_certs=/nonexistent/ca.crt");
    let why = "can't read /nonexistent/ca.crt: no such file or directory (ENOENT)";
    let started = Instant::now();
    wait(&missing, "60s", &[])
        .exits(125)
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
    late.exits(0).assert_stderr_contains("is ready after");
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
    waiting.exits(0).assert_stderr_contains("is ready after");
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
    let away = |url: &str, why: &str| (url.to_owned(), 124, why.to_owned());
    let mut wrong = vec![
        away("redis+unix:///run/nowhere.sock", "ENOENT"),
        away(
            "redis://127.0.0.1:1,127.0.0.1:2",
            "connection refused (ECONNREFUSED)",
        ),
    ];
    for scheme in ["redis+unix", "redis+socket"] {
        let url = |password: &str| format!("{scheme}://:{password}@{socket}?virtual_host=0");
        assert_ready(&url(ENCODED), &[]);
        wrong.push((url("wrong"), 125, "(WRONGPASS)".to_owned()));
    }
    for hosts in [
        format!("127.0.0.1:1,127.0.0.1:{port}"),
        format!("127.0.0.1:{port},127.0.0.1:1"),
    ] {
        assert_ready(&format!("redis://:{ENCODED}@{hosts}/0"), &[]);
        let why = format!("127.0.0.1:{port}: it refuses the user or the password (WRONGPASS)");
        wrong.push((format!("redis://:wrong@{hosts}/0"), 125, why));
    }
    side_by_side(wrong, |(url, code, why)| {
        assert_not_ready(&url, &[], code, &why)
    });
}

/// What is made of it, what is said of it, and a server's answers to PING, or to AUTH and PING: `no` is what no waiting
/// changes.
const ANSWERS: &str = r"
    not yet  it is still loading its data (LOADING)  -  -LOADING Redis is loading the dataset in memory
    not yet  it is busy with a script (BUSY)      -  -BUSY Redis is busy running a script.
    not yet  MASTERDOWN Link with MASTER is down  -  -MASTERDOWN Link with MASTER is down
    not yet  MISCONF Redis can't persist          -  -MISCONF Redis\0can't persist
    not yet  ERR max number of clients reached    -  -ERR max number of clients reached
    no       it wants a password, and the URL has none (NOAUTH)         -  -NOAUTH Authentication required.
    no       this user may not PING (NOPERM)                            -  -NOPERM this user has no permissions
    no       it is in protected mode, for want of a password (DENIED)   -  -DENIED Redis is running in protected mode
    not yet  it does not speak the Redis protocol  -  +OK
    not yet  it does not speak the Redis protocol  -  --
    not yet  it does not speak the Redis protocol  -  -err in lower case
    not yet  it does not speak the Redis protocol  -  :1
    not yet  it does not speak the Redis protocol  -  $4\r\nPONG
    not yet  it does not speak the Redis protocol  -  HTTP/1.1 400 Bad Request
    no       it refuses the user or the password (WRONGPASS)        hunter2  -WRONGPASS invalid username-password pair
    no       it refuses the password (ERR invalid password)         hunter2  -ERR invalid password
    no       the URL has a password, and the server wants none  hunter2  -ERR Client sent AUTH, but no password is set
    not yet  it has no connection left (max number of clients reached)  hunter2  -ERR max number of clients reached
    not yet  it is still loading its data (LOADING)     hunter2  -LOADING
    not yet  it is still loading its data (LOADING)     hunter2  +OK\r\n-LOADING
    no       it refuses the login (NOAUTH)              hunter2  +OK\r\n-NOAUTH Authentication required.
    no       it refuses the login (ERR)                 hunter2  -ERR unknown command `AUTH`, with args: `hunter2`
    not yet  it does not know PING (ERR unknown command)  hunter2  +OK\r\n-ERR unknown command `AUTH`, args: `hunter2`
    not yet  ERR what is ***                            hunter2  +OK\r\n-ERR what is hunter2
    not yet  it does not speak the Redis protocol       hunter2  *2\r\n$4\r\nAUTH\r\n$7\r\nhunter2
    no       it refuses the login (***)                 HUNTER   -HUNTER
    not yet  ***                                        HUNTER   +OK\r\n-HUNTER
";

#[test]
fn answers_of_every_version_are_told_apart_and_never_shown() {
    let rows = rows(ANSWERS).map(|[kind, said, password, answer]| {
        let answer = if answer == "--" { "-" } else { answer };
        let server = Server::saying(unescaped(answer) + "\r\n");
        let name = format!("redis://{}", server.address());
        let (start, end) = match kind {
            "no" => ("portero: warning: ", "; it answers, and says no: "),
            _ => ("portero: ", "\n"),
        };
        let userinfo = if password.is_empty() {
            String::new()
        } else {
            format!(":{password}@")
        };
        let url = name.replace("//", &format!("//{userinfo}"));
        (server, url, format!("{start}{name}: {said}{end}"))
    });
    let rows: Vec<_> = rows.collect();
    let mut waiting = Run::portero()
        .line("wait --wait-timeout none")
        .args(rows.iter().map(|(_, url, _)| url))
        .start();
    for (_, _, line) in &rows {
        waiting.until_stderr(line);
    }
    waiting.signal(Signal::SIGTERM);
    let finished = waiting.wait();
    finished
        .assert_never_says("hunter2")
        .assert_never_says("HUNTER");
}

#[test]
fn what_is_sent_is_a_login_and_a_ping_of_any_bytes() {
    let table = r"
        -              *1\r\n$4\r\nPING\r\n
        :p%0d%0aw@     *2\r\n$4\r\nAUTH\r\n$4\r\np\r\nw\r\n*1\r\n$4\r\nPING\r\n
        us%C3%A9r:pw@  *3\r\n$4\r\nAUTH\r\n$5\r\nusér\r\n$2\r\npw\r\n*1\r\n$4\r\nPING\r\n
        user@          *1\r\n$4\r\nPING\r\n
    ";
    for [userinfo, request] in rows(table) {
        let request = unescaped(request);
        let server = Server::start(move |mut stream| {
            let mut bytes = vec![0; request.len()];
            let _ = stream.read_exact(&mut bytes);
            let answer = match String::from_utf8_lossy(&bytes) {
                heard if heard != request => format!("-ERR heard {heard:?}\r\n"),
                heard if heard.contains("AUTH") => "+OK\r\n+PONG\r\n".to_owned(),
                _ => "+PONG\r\n".to_owned(),
            };
            // In pieces, as a network may deliver it.
            for byte in answer.bytes() {
                let _ = stream.write_all(&[byte]);
            }
        });
        let url = format!("redis://{userinfo}{}/0", server.address());
        assert_verdict(userinfo, Healthy(" PONG in "), &[&url]);
    }
}

#[test]
fn no_behaviour_of_a_server_outlasts_the_limit() {
    let plus = || Server::dripping_at_once("+".repeat(1000), Duration::from_millis(20));
    let endless = || Server::saying("+".repeat(100_000));
    let (no_redis, no_tls) = (
        Unhealthy("it does not speak the Redis protocol"),
        Unhealthy("it does not speak TLS on this port: use redis://"),
    );
    let closed = Unhealthy("it closed the connection without an answer");
    let silence = UnhealthyAtTheLimit("no answer");
    let servers = [
        ("redis", Server::silent(), silence),
        ("rediss", Server::silent(), silence),
        ("redis", plus(), silence),
        ("rediss", plus(), no_tls),
        ("redis", endless(), no_redis),
        ("rediss", endless(), no_tls),
        ("redis", Server::closing(), closed),
        ("rediss", Server::closing(), closed),
        ("redis", Server::saying(b"\xfe\x00\x13\x37"), no_redis),
        (
            "rediss",
            Server::saying(b"\xfe\x00\x13\x37\x00\x00"),
            no_tls,
        ),
        (
            "redis",
            Server::start(|mut stream| drop(stream.write_all(b"+PO"))),
            no_redis,
        ),
        // What Redis says when the handshake happens to hold the end of a line.
        (
            "rediss",
            Server::saying(*b"-ERR unknown command\r\n"),
            no_tls,
        ),
        (
            "redis",
            Server::saying([21, 3, 3, 0, 2, 2, 70]),
            Unhealthy("it speaks TLS on this port: use rediss://"),
        ),
    ];
    side_by_side(servers, |(scheme, server, verdict)| {
        let url = format!("{scheme}://:hunter2@{}/0", server.address());
        assert_verdict(scheme, verdict, &["--insecure", &url]);
    });
}
