//! Servers with habits of their own: nginx, a JVM, gunicorn, and a static binary with nothing around it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::common::{Ended, Run, TempDir, tool};
use crate::engine::{Container, docker_with};
use crate::production::{
    STOP_LIMIT, TIMED_OUT_CHECKS, assert_no_zombie, assert_only_portero,
    assert_reaps_timed_out_checks, assert_runs_as, assert_stops,
};
use crate::{http, images};

#[test]
fn nginx_finishes_what_it_is_sending_when_sigterm_becomes_sigquit() {
    let image = images::app("nginx");
    let container = Container::run(&image, &[], &[]);
    assert_runs_as(&container, 33);
    let mut stream = TcpStream::connect(format!("{}:8080", container.address())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    write!(stream, "GET /slow HTTP/1.0\r\n\r\n").unwrap();
    let mut head = [0; 256];
    let first = stream.read(&mut head).unwrap();
    let reader = thread::spawn(move || {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).map(|_| rest.len())
    });
    let (took, code) = container.stop();
    let head = String::from_utf8_lossy(&head[..first]).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.unwrap_or_else(|| panic!("{head}")).parse().unwrap();
    let header = head.find("\r\n\r\n").unwrap() + 4;
    let received = first - header + reader.join().unwrap().unwrap();
    assert_eq!(
        (received, code),
        (length, 0),
        "after {took:?}{}",
        container.report()
    );

    let idle = Container::run(&image, &TIMED_OUT_CHECKS, &[]);
    assert_reaps_timed_out_checks(&idle);
    assert_stops(&idle, 0);
    assert_only_portero(&image);
}

#[test]
fn an_exit_code_of_143_after_a_stop_is_mapped_to_0() {
    let container = Container::run(&images::app("jvm"), &[], &[]);
    container.until_said("started");
    assert_stops(&container, 0);
}

#[test]
fn a_hung_gunicorn_worker_is_killed_after_the_stop_timeout_and_not_after_dockers() {
    let container = Container::run(&images::app("gunicorn"), &[], &[]);
    assert_runs_as(&container, 1000);
    let mut hanging = TcpStream::connect(format!("{}:8000", container.address())).unwrap();
    write!(hanging, "GET /hang HTTP/1.0\r\n\r\n").unwrap();
    container.until_said("hanging");
    let (took, code) = container.stop();
    assert_eq!(code, 137, "{}", container.report());
    let range = Duration::from_secs(2)..Duration::from_secs(8);
    assert!(range.contains(&took), "{took:?}{}", container.report());
    assert!(
        container
            .logs()
            .contains("not ended within the stop timeout of 2s: killed gunicorn"),
        "{}",
        container.report()
    );
}

fn static_image() -> String {
    let context = TempDir::new();
    images::copy(&images::source("apps").join("static"), context.path());
    Run::program(tool("cc"))
        .args(["-static", "-O1", "-o"])
        .args([context.join("server"), context.join("server.c")])
        .finish()
        .assert_exit(0);
    images::build("app-static", &context, &[])
}

#[test]
fn a_static_application_needs_nothing_else_in_the_image() {
    let image = static_image();
    // As it is; locked down under an arbitrary user; with the engine's own init as PID 1.
    let arbitrary: &[&str] = &[
        "--user",
        "1234567:0",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    ];
    let init: &[&str] = &["--init"];
    let table = [(&[][..], 65532), (arbitrary, 1_234_567), (init, 65532)];
    for (options, uid) in table {
        let container = Container::run(&image, options, &[]);
        assert_runs_as(&container, uid);
        assert!(http::get(&container, 8080, "/").ends_with("ok\n"));
        let stop = container.stop();
        assert!(stop.0 < STOP_LIMIT && stop.1 == 0, "{stop:?} {options:?}");
    }
    let archive = TempDir::new();
    let created = docker_with(&["create", &image]).stdout;
    let path = archive.join("image.tar");
    docker_with(&["export", "--output", path.to_str().unwrap(), created.trim()]).assert_exit(0);
    docker_with(&["rm", created.trim()]).assert_exit(0);
    let listed = Run::program(tool("tar")).arg("-tf").arg(path).finish();
    let mut files: Vec<&str> = listed.stdout.lines().collect();
    // Docker itself puts these into every container.
    files.retain(|file| {
        !["dev/", "etc/", "proc/", "sys/", ".dockerenv"]
            .iter()
            .any(|own| file.starts_with(own))
    });
    assert_eq!(files, ["portero", "server"]);
}

#[test]
fn checks_that_the_engine_kills_leave_nothing_in_a_scratch_image() {
    // A server that accepts and says nothing: the check hangs, and Docker kills it.
    let image = static_image();
    let context = TempDir::new();
    context.file(
        "Dockerfile",
        &format!(
            "FROM {image}\nHEALTHCHECK --interval=20ms --timeout=50ms --retries=1000 \
             CMD [\"/portero\", \"healthcheck\", \"--timeout\", \"none\", \"http://127.0.0.1:9/\", \"file:///never\"]\n"
        ),
    );
    let image = images::build("app-static-hanging", &context, &[]);
    let container = Container::run(&image, &[], &[]);
    container.until("20 failed checks", || {
        let streak = container.inspect("{{.State.Health.FailingStreak}}");
        (streak.parse::<u32>().unwrap() >= 20).then_some(())
    });
    assert_no_zombie(&container);
    assert_eq!(container.stop().1, 0);
}

#[test]
fn nothing_is_asked_of_a_shell() {
    let image = static_image();
    let finished = docker_with(&["run", "--rm", &image, "/missing"]);
    assert_eq!(finished.ended, Ended::Code(127), "{finished}");
    let refused = docker_with(&["run", "--rm", "--user", "0", &image, "/"]);
    assert_eq!(refused.ended, Ended::Code(126), "{refused}");
}
