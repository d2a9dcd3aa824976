//! Standard streams that nobody reads any more, or that are not there at all: nobody's reason to end, and COMMAND gets
//! them as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::fs;
use std::process::Stdio;

use common::process::field;
use common::{Run, Server, TempDir, both_places, rows, side_by_side};
use nix::sys::signal::Signal;

/// Becomes what follows, with a stream (its number comes first) that is a pipe whose reader has gone. Python ignores
/// SIGPIPE; that is taken back.
const WITHOUT_READER: &str = r"
import os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
reader, writer = os.pipe()
os.dup2(writer, int(sys.argv[1]))
os.close(reader)
os.close(writer)
os.execvp(sys.argv[2], sys.argv[2:])
";

fn without_reader(run: Run, stream: &str) -> Run {
    run.via(["python3", "-c", WITHOUT_READER, stream])
}

#[test]
fn a_log_that_nobody_reads_ends_nothing_and_changes_no_exit_code() {
    // What runs before COMMAND has a lot to say.
    let table = "
        7    -v -- sh -c 'exit 7'
        7    -v --wait file:///etc/passwd --no-lock --migrate true -- sh -c 'exit 7'
        127  -- /no/such/command
        125  --no-such-option
        124  --wait file:///no/such --wait-timeout 200ms -- true
        124  wait --wait-timeout 200ms file:///no/such
        5    migrate --no-lock -- sh -c 'exit 5'
        1    healthcheck file:///no/such
    ";
    side_by_side(rows(table), |[code, line]| {
        for run in both_places() {
            let finished = without_reader(run, "2").line(line).finish();
            finished.assert_exit(code.parse().unwrap());
        }
    });
    for arguments in [["--help", "--"], ["--version", "--"], ["--dry-run", "true"]] {
        without_reader(Run::portero(), "1").args(arguments).exits(0);
    }
}

#[test]
fn command_has_the_default_sigpipe() {
    for run in both_places() {
        let finished = without_reader(run, "2")
            .line("-v --wait file:///etc/passwd -- cat /proc/self/status")
            .finish();
        finished.assert_exit(0);
        for set in ["SigPnd", "ShdPnd", "SigBlk", "SigIgn"] {
            let set = field(&finished.stdout, set).unwrap();
            let bits = u64::from_str_radix(&set, 16).unwrap();
            assert_eq!(bits & 1 << (libc::SIGPIPE - 1), 0, "{finished}");
        }
    }
    for run in both_places() {
        without_reader(run, "1")
            .args(["--", "cat", "/proc/self/status"])
            .exits(141);
    }
}

/// Leaves a child behind that prints every signal that it gets, and ends at USR2.
const LISTENING_LEFTOVER: &str = r"
import os, signal, sys
every = signal.valid_signals()
signal.pthread_sigmask(signal.SIG_BLOCK, every)
if os.fork() != 0:
    sys.exit(6)
os.setsid()
os.write(1, b'ready\n')
number = 0
while number != signal.SIGUSR2:
    number = signal.sigwaitinfo(every).si_signo
    os.write(1, b'<%d>\n' % number)
";

#[test]
fn the_sigpipe_of_the_log_is_not_forwarded() {
    for run in both_places() {
        // At this level portero says that something is left, and later that a signal came to nobody.
        let mut process = without_reader(run, "2")
            .line("-v --orphan-grace 1h -- python3 -c")
            .arg(LISTENING_LEFTOVER)
            .start();
        process.until_stdout("ready").until_stdout("<15>");
        process.signal(Signal::SIGUSR2);
        process.exits(6).assert_stdout("ready\n<15>\n<12>\n");
    }
}

#[test]
fn a_sigpipe_that_somebody_sends_is_forwarded() {
    for run in both_places() {
        let mut process = without_reader(run, "2")
            .line("-v -- sh -c \"trap 'exit 9' PIPE; echo ready; while :; do sleep 0.1; done\"")
            .start();
        process.until_stdout("ready");
        process.signal(Signal::SIGPIPE);
        process.exits(9);
    }
}

/// All standard streams closed, then becomes what follows.
const CLOSED: [&str; 3] = ["/bin/sh", "-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"];

#[test]
fn no_connection_takes_the_number_of_a_closed_stream() {
    // It accepts and says nothing, so that the connection stays.
    let server = Server::silent();
    let target = format!("http://{}/", server.address());
    let wait: &[&str] = &["wait", &target];
    let check: &[&str] = &["healthcheck", "--timeout", "none", &target];
    // A health check knows no other codes than 0 and 1.
    for (arguments, code) in [(wait, 143), (check, 1)] {
        for run in both_places() {
            let mut process = run.via(CLOSED).args(arguments).start();
            let pid = process.pid();
            let link = |fd: &str| fs::read_link(format!("/proc/{pid}/fd/{fd}"));
            let connected = || {
                let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
                let mut names = open.flatten().map(|entry| entry.file_name());
                names.find(|name| {
                    link(name.to_str().unwrap())
                        .is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
                })
            };
            process.until(|_| connected().is_some(), "a connection");
            for stream in ["0", "1", "2"] {
                let to = link(stream).unwrap();
                assert_eq!(
                    to.to_str(),
                    Some("/dev/null"),
                    "{stream} {arguments:?}{process}"
                );
            }
            process.signal(Signal::SIGTERM);
            process.exits(code);
        }
    }
}

#[test]
fn command_gets_closed_streams_closed_after_all_that_came_before_it() {
    let directory = TempDir::new();
    let server = Server::accepting("127.0.0.1:0");
    let target = format!("tcp://{}", server.address());
    let look = r"
import os, sys
there = []
for fd in range(100):
    try:
        os.fstat(fd)
        there.append(fd)
    except OSError:
        pass
with open(sys.argv[1], 'w') as file:
    file.write('open: %s' % there)
";
    // The shell that closes them keeps a descriptor of its own open.
    let bare = directory.join("bare");
    Run::program("python3")
        .via(CLOSED)
        .args(["-c", look])
        .arg(&bare)
        .exits(0);
    let expected = fs::read_to_string(&bare).unwrap();
    assert!(expected.starts_with("open: [") && !expected.starts_with("open: [0"));
    for (index, run) in both_places().into_iter().enumerate() {
        let answer = directory.join(index.to_string());
        run.via(CLOSED)
            .args(["--wait", &target, "--no-lock", "--migrate", "true"])
            .args(["--", "python3", "-c", look])
            .arg(&answer)
            .start_with(Stdio::null())
            .exits(0);
        assert_eq!(fs::read_to_string(&answer).unwrap(), expected);
    }
}
