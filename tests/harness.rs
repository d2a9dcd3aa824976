//! The harness itself keeps its promises: without this, a test that waits for nothing would look like one that passes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use common::{DEADLINE, Ended, Postgres, Run, Server, Terminal, poll_until, process};
use nix::sys::signal::Signal;

#[test]
fn exit_codes_and_output_of_a_namespace_are_those_of_its_pid_1() {
    for code in [0, 1, 7, 143, 255] {
        let script = format!("echo $$; echo error >&2; exit {code}");
        Run::program("/bin/sh")
            .args(["-c", &script])
            .pid1()
            .exits(code)
            .assert_stdout("1\n")
            .assert_stderr("error\n");
    }
}

#[test]
fn a_signal_from_outside_reaches_pid_1_of_the_namespace() {
    let mut shell = Run::program("/bin/bash")
        .line("-c \"trap 'exit 9' TERM; echo ready; while :; do read -t 0.1 <> <(:); done\"");
    for pid1 in [false, true] {
        let mut process = if pid1 {
            shell.clone().pid1()
        } else {
            shell.clone()
        }
        .start();
        process.until_stdout("ready");
        process.signal(Signal::SIGTERM);
        process.exits(9);
    }
    shell = shell.pid1();
    let mut process = shell.start();
    process.until_stdout("ready");
    process.signal(Signal::SIGKILL);
    assert_eq!(process.wait().ended, Ended::Signal(9));
}

#[test]
fn a_dropped_namespace_leaves_no_process_even_when_its_pid_1_changed_its_user() {
    let script = "sleep 1000 & sleep 1000 & echo ready; wait";
    let mut process = Run::program("/bin/sh")
        .args(["-c", script])
        .user(1000, 1000)
        .pid1()
        .start();
    process.until_stdout("ready");
    process.until(|process| process.processes().len() == 3, "three processes");
    let pids = process::tree(process.pid());
    assert_eq!(pids.len(), 3, "{process}");
    drop(process);
    for pid in pids {
        let gone = poll_until(DEADLINE, || {
            (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        });
        assert!(gone.is_some(), "{pid} is left");
    }
}

#[test]
fn a_server_starts_stops_and_starts_again() {
    let mut server = Postgres::start();
    let database = server.create_db();
    server.psql(&database, "CREATE TABLE kept (id int)");
    server.stop();
    assert!(
        TcpStream::connect(("127.0.0.1", server.port())).is_err(),
        "it still listens"
    );
    server.launch();
    assert_eq!(server.psql(&database, "SELECT count(*) FROM kept"), "0");
}

#[test]
fn a_server_with_tls_proves_itself_to_a_strict_client() {
    let server = Postgres::options()
        .tls()
        .max_connections(7)
        .hba("hostssl all all 127.0.0.1/32 scram-sha-256")
        .start();
    assert_eq!(server.psql("postgres", "SHOW max_connections"), "7");
    let url = format!(
        "{}?sslmode=verify-full&sslrootcert={}",
        server.url("postgres"),
        server.ca().display()
    );
    Run::program(common::tool("psql"))
        .arg(&url)
        .line("-XAtc 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'")
        .exits(0)
        .assert_stdout("t\n");
}

#[test]
fn raw_servers_answer_as_told_and_end_when_dropped() {
    use std::io::{Read, Write};
    let server = Server::http(204, "");
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert_eq!((server.connections(), server.requests().len()), (1, 1));

    let address = server.address();
    let silent = Server::silent();
    let mut held = TcpStream::connect(silent.address()).unwrap();
    drop((server, silent));
    assert_eq!(
        held.read(&mut [0; 1]).unwrap_or(0),
        0,
        "the connection outlived its server"
    );
    assert!(TcpStream::connect(address).is_err(), "it still listens");
}

#[test]
fn a_terminal_is_the_controlling_terminal_of_its_process() {
    let limit = Duration::from_secs(20);
    for run in [Run::program("/bin/bash"), Run::program("/bin/bash").pid1()] {
        let mut terminal = Terminal::start(run.args(["--norc", "-i"]).env("PS1", "prompt> "));
        terminal.expect("prompt> ", limit);
        terminal.send("echo $((6 * 7)); sleep 1000\n");
        terminal.expect("42\r\n", limit);
        terminal.until_foreground("sleep");
        terminal.send("\x1a");
        terminal.expect("Stopped", limit);
        // The first one only warns when the job is not gone yet.
        terminal.send("kill -9 %1\nexit 5\nexit 5\n");
        assert_eq!(
            terminal.wait(limit),
            Ended::Code(5),
            "{}",
            terminal.screen()
        );
    }
}
