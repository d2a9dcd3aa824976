//! A log that nobody reads, full to the brim: what is due is done in its time, and the line is what is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{
    DEADLINE, Ended, Postgres, Process, Run, TempDir, Terminal, poll_until, portero, rows,
    side_by_side, words,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe, write};

/// Becomes what follows, with a stderr that has no room left and a reader that never reads. The second kind belongs to
/// somebody else, so that it can't be opened anew; the third is a socket.
const FULL: &str = r#"
import os, socket, sys
kind, command = sys.argv[1], sys.argv[2:]
if kind == "socket":
    ends = socket.socketpair()
    reader, writer = ends[0].fileno(), ends[1].fileno()
else:
    reader, writer = os.pipe()
if kind == "foreign":
    os.fchmod(writer, 0)
os.set_inheritable(reader, True)
os.set_blocking(writer, False)
for size in (4096, 1):
    try:
        while True:
            os.write(writer, b"x" * size)
    except BlockingIOError:
        pass
os.set_blocking(writer, True)
os.dup2(writer, 2)
os.execvp(command[0], command)
"#;

fn unread(run: Run, kind: &str) -> Run {
    run.via(["python3", "-c", FULL, kind])
}

/// What ends by itself: exit code and arguments. In one, something is left that listens to nothing.
const ENDS: &str = r#"
    7    -- sh -c 'exit 7'
    7    --wait file:///etc/passwd --no-lock --migrate true -- sh -c 'exit 7'
    127  -- /no/such/command
    124  --wait file:///no/such --wait-timeout 200ms -- true
    5    --no-lock --migrate "sh -c 'exit 5'" -- true
    6    --orphan-grace 200ms -- sh -c "(trap '' TERM; setsid sleep 1000) & exit 6"
    124  wait --wait-timeout 200ms file:///no/such
    1    healthcheck file:///no/such
    0    healthcheck file:///etc/passwd
"#;

/// The same with a lot to say, in both formats.
fn talkative(line: &str) -> [Vec<String>; 2] {
    ["-v", "-v --log-format json"].map(|options| {
        let mut line = words(line);
        let is_command = matches!(line[0].as_str(), "wait" | "migrate" | "healthcheck");
        let at = usize::from(is_command);
        line.splice(at..at, words(options));
        line
    })
}

#[test]
fn what_is_due_is_done_although_nobody_reads() {
    let lines = rows(ENDS).flat_map(|[code, line]| {
        let kinds = [["own", "socket"], ["foreign", "own"]];
        let lines = talkative(line).into_iter().zip(kinds);
        lines.map(move |(line, kinds)| (code.parse().unwrap(), line, kinds))
    });
    side_by_side(lines, |(code, line, kinds): (i32, _, _)| {
        for (run, kind) in [Run::as_pid1(), Run::portero()].into_iter().zip(kinds) {
            unread(run, kind).args(&line).exits(code);
        }
    });
}

/// Sends a stop once it is `ready`, and returns how it ended and how long that took.
fn stopped(mut process: Process, ready: impl FnOnce(&mut Process)) -> (Ended, Duration) {
    ready(&mut process);
    let started = Instant::now();
    process.signal(Signal::SIGTERM);
    let finished = process.wait();
    (finished.ended, started.elapsed())
}

/// Far below what a hang would be, and far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_stop_is_obeyed_although_nobody_reads() {
    let table = r#"
        137  --stop-timeout 200ms -- sh -c "trap '' TERM; echo ready; while :; do sleep 0.1; done"
        143  --no-lock --stop-timeout 200ms --migrate SCRIPT -- true
        143  --wait file:///no/such -- true
        143  wait file:///no/such
    "#;
    let script = "sh -c \"trap '' TERM; echo ready; while :; do sleep 0.1; done\"";
    let lines = rows(table).flat_map(|[code, line]| {
        let lines = talkative(line).into_iter().zip(["own", "foreign"]);
        lines.map(move |(line, kind)| (code.parse().unwrap(), line, kind))
    });
    side_by_side(lines, |(code, mut line, kind): (i32, Vec<String>, _)| {
        let migrate = line.iter_mut().find(|word| *word == "SCRIPT");
        migrate.into_iter().for_each(|word| *word = script.into());
        let process = unread(Run::as_pid1(), kind).args(&line).start();
        let waits = line.iter().any(|word| word == "file:///no/such");
        let (ended, took) = stopped(process, |process| {
            if waits {
                process.until_executed(portero());
                // Somewhere among its first lines.
                std::thread::sleep(Duration::from_millis(300));
            } else {
                process.until_stdout("ready");
            }
        });
        let ended_well = ended == Ended::Code(code) && took < SOON;
        assert!(ended_well, "{line:?}: {ended:?} {took:?}");
    });
}

#[test]
fn a_migration_whose_lock_is_lost_is_ended_although_nobody_reads() {
    let server = Postgres::start();
    let directory = TempDir::new();
    let started = directory.join("started");
    let script = format!("touch {}; exec sleep 1000", started.display());
    let mut process = unread(Run::as_pid1(), "own")
        .env("PORTERO_DATABASE", server.url("postgres"))
        .args(["migrate", "-v", "--", "sh", "-c", &script])
        .start();
    process.until(|_| started.exists(), "the migration");
    server.psql(
        "postgres",
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted",
    );
    process.exits(125);
}

#[test]
fn a_terminal_that_is_held_up_holds_up_nobody() {
    let line = "-v --wait file:///no/such --wait-timeout 1s -- true";
    let mut terminal = Terminal::start(Run::as_pid1().line(line));
    terminal.expect("waiting for", DEADLINE);
    // Ctrl-S.
    terminal.send("\x13");
    assert_eq!(terminal.wait(DEADLINE), Ended::Code(124));
}

/// A pipe without room: the end to read, and the one to write.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while write(&writer, &[b'x'; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

#[test]
fn the_first_line_that_has_room_again_says_how_many_were_lost() {
    side_by_side(["text", "json"], |format| {
        let (reader, writer) = full_pipe();
        let mut child = Command::new(portero())
            .args(["wait", "--log-format", format, "--wait-timeout"])
            .args(["none", "file:///no/such"])
            .env_clear()
            .stdin(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        // Its first two lines come at once and find no room.
        std::thread::sleep(Duration::from_secs(2));
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut file, mut buffer) = (std::fs::File::from(reader), [0; 4096]);
            while let Ok(count @ 1..) = file.read(&mut buffer) {
                let _ = sender.send(buffer[..count].to_vec());
            }
        });
        let mut said = Vec::new();
        let told = poll_until(DEADLINE, || {
            said.extend(receiver.try_iter().flatten());
            let text = String::from_utf8_lossy(&said).into_owned();
            text.contains("still waiting").then_some(text)
        });
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        child.wait().unwrap();
        let text = told.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&said)));
        let text = text.trim_start_matches('x');
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("2 lines were lost"), "{text}");
        assert!(lines[1].contains("still waiting"), "{text}");
        assert!(
            !text.contains("lost: nobody read them\nportero: waiting"),
            "{text}"
        );
    });
}
