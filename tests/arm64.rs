//! The arm64 binary, cross-built, under an emulator of user programs: it starts, runs, reaps and probes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::path::Path;

use common::{Run, Server, tool};

/// portero for arm64, under qemu-user. What it starts runs as it is.
fn portero(arguments: &[&str]) -> Run {
    let binary = Path::new(env!("CARGO_BIN_EXE_portero"))
        .ancestors()
        .find(|path| path.join("x86_64-unknown-linux-musl").exists())
        .unwrap()
        .join("aarch64-unknown-linux-musl/release/portero");
    assert!(
        binary.is_file(),
        "{} is missing: tests/cross-build.sh makes it",
        binary.display()
    );
    Run::program(tool("qemu-aarch64-static"))
        .arg(binary)
        .args(arguments)
}

#[test]
fn it_starts() {
    portero(&["--version"])
        .exits(0)
        .assert_stdout(common::VERSION);
}

#[test]
fn it_runs_command_and_passes_its_exit_code_on() {
    for (arguments, code) in [
        (&["--", "sh", "-c", "exit 7"][..], 7),
        (&["--", "sh", "-c", "kill -KILL $$"], 137),
        (&["--", "/no/such"], 127),
        (&["--", "/etc/passwd"], 126),
        (&["--nope", "--", "true"], 125),
    ] {
        portero(arguments).exits(code);
    }
}

#[test]
fn as_pid_1_it_reaps_orphans_and_forwards_signals() {
    // The shell ends as soon as the orphan that it left to PID 1 has gone, zombies included.
    let script = "(sh -c 'echo $$ >&3; exec sleep 0.1' 3>&1 &) | { read pid; \
                  while [ -e /proc/$pid ]; do sleep 0.05; done; echo reaped; }; \
                  trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut process = portero(&["--", "sh", "-c", script]).pid1().start();
    process.until(|process| process.stdout().contains("ready"), "ready");
    assert!(process.stdout().contains("reaped"), "{process}");
    process.signal(nix::sys::signal::Signal::SIGTERM);
    process.exits(9);
}

#[test]
fn it_probes() {
    let server = Server::http(200, "well");
    let target = format!("http://{}/", server.address());
    portero(&["healthcheck", &target]).exits(0);
    let ill = Server::http(500, "ill");
    let target = format!("http://{}/", ill.address());
    portero(&["healthcheck", &target]).exits(1);
}
