//! What is forwarded, to whom and as what, and what COMMAND inherits: the same as PID 1 and as a child subreaper.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::process::{children, tree};
use common::{Process, Run, TempDir, tool};
use nix::sys::signal::Signal;

/// Three processes say which signals they get, and from whom: COMMAND (`child`), one in its group (`grandchild`) and
/// one in a session of its own (`outsider`). They block all and wait, so that none is lost or comes twice by them.
const LISTENERS: &str = r"
import os, signal
every = signal.valid_signals()
signal.pthread_sigmask(signal.SIG_BLOCK, every)
role = 'child'
if os.fork() == 0:
    role = 'grandchild'
elif os.fork() == 0:
    role = 'outsider'
    os.setsid()
os.write(1, b'%s is %d.\n' % (role.encode(), os.getpid()))
while True:
    got = signal.sigwaitinfo(every - {signal.SIGCHLD})
    os.write(1, b'%s got %d from %d.\n' % (role.encode(), got.si_signo, got.si_pid))
";

/// The highest signal is taken last: when it has come, all that were sent before it have come too.
const MARK: i32 = 64;

fn listeners(run: Run, options: &[&str]) -> Process {
    let mut process = run
        .args(options)
        .args(["--", "python3", "-c", LISTENERS])
        .start();
    for role in ["child is", "grandchild is", "outsider is"] {
        process.until_stdout(role);
    }
    process
}

/// What one of them has got so far: `15 from 1.`, each.
fn received(process: &Process, role: &str) -> Vec<String> {
    let prefix = format!("\n{role} got ");
    // A line that is not whole yet does not count.
    let stdout = format!("\n{}", process.stdout());
    let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
    let lines = whole.match_indices(&prefix).filter_map(|(at, _)| {
        let line = &whole[at + prefix.len()..];
        line.split('\n').next().map(str::to_owned)
    });
    lines.collect()
}

/// Every signal that can be caught, less SIGCHLD; 32 and 33 belong to the C library.
fn forwarded_signals() -> impl Iterator<Item = i32> {
    (1..=31)
        .filter(|number| ![9, 17, 19].contains(number))
        .chain(34..=64)
}

/// Sends a signal, real-time ones included, to a process of the host's numbering.
fn kill(pid: i32, number: i32) {
    let ended = Run::program("/bin/sh")
        .args(["-c", &format!("kill -{number} {pid}")])
        .finish();
    ended.assert_exit(0);
}

/// Sends the mark to each listener, past portero, and waits for it: whatever portero sent has been told then.
fn mark(process: &mut Process, sender: i32) {
    let listeners: Vec<i32> = tree(process.pid()).into_iter().skip(1).collect();
    assert_eq!(listeners.len(), 3, "{process}");
    listeners.iter().for_each(|pid| kill(*pid, MARK));
    let (from_portero, from_here) = (format!("{MARK} from {sender}."), format!("{MARK} from "));
    process.until(
        |process| {
            ["child", "grandchild", "outsider"].iter().all(|role| {
                let got = received(process, role);
                got.iter()
                    .any(|line| line.starts_with(&from_here) && *line != from_portero)
            })
        },
        "the mark of each listener",
    );
}

/// What one of them has got from portero: the numbers, in order.
fn received_from(process: &Process, role: &str, sender: i32) -> Vec<i32> {
    let suffix = format!(" from {sender}.");
    let lines = received(process, role);
    let numbers = lines
        .iter()
        .filter_map(|line| line.strip_suffix(&suffix)?.parse().ok());
    numbers.collect()
}

#[test]
fn every_signal_is_forwarded_once_to_command_alone_or_to_its_group_as_job_controls_always_are() {
    const TIMES: usize = 2;
    const JOB_CONTROL: [i32; 4] = [18, 20, 21, 22];
    for options in [&[][..], &["--signal-group"]] {
        let group = !options.is_empty();
        for (run, pid1) in [(Run::as_pid1(), true), (Run::portero(), false)] {
            let mut process = listeners(run, options);
            let sender = if pid1 { 1 } else { process.pid() };
            for number in forwarded_signals() {
                for time in 1..=TIMES {
                    process.signal_number(number);
                    let times = |process: &Process, role| {
                        let numbers = received_from(process, role, sender);
                        numbers.iter().filter(|got| **got == number).count()
                    };
                    process.until(
                        |process| {
                            times(process, "child") == time
                                && (!group && !JOB_CONTROL.contains(&number)
                                    || times(process, "grandchild") == time)
                        },
                        &format!("signal {number}, {options:?}"),
                    );
                }
            }
            mark(&mut process, sender);
            let is_for = |role: &str, number: &i32| match role {
                "child" => true,
                "grandchild" => group || JOB_CONTROL.contains(number),
                _ => false,
            };
            for role in ["child", "grandchild", "outsider"] {
                let expected: Vec<i32> = forwarded_signals()
                    .filter(|number| is_for(role, number))
                    .flat_map(|number| [number; TIMES])
                    .collect();
                let got = received_from(&process, role, sender);
                assert_eq!(got, expected, "{role}, {options:?}{process}");
            }
        }
    }
}

#[test]
fn signals_are_mapped_once_by_name_or_number_and_dropped_by_an_empty_one() {
    // What is sent, and what comes of it; 0 is nothing.
    let table: [(&[&str], &[(i32, i32)]); 8] = [
        (&[], &[(15, 15), (3, 3), (18, 18), (2, 2)]),
        (&["TERM=INT"], &[(15, 2), (3, 3), (2, 2)]),
        // Each is mapped once, so two can change places.
        (
            &["TERM=INT", "INT=TERM", "QUIT=QUIT"],
            &[(15, 2), (3, 3), (2, 15)],
        ),
        (&["1=31", "31=1"], &[(1, 31), (31, 1)]),
        (&["sigterm=SigQuit", "SIGHUP=12"], &[(15, 3), (1, 12)]),
        (
            &["TERM=QUIT", "INT=", "28="],
            &[(15, 3), (2, 0), (28, 0), (1, 1)],
        ),
        (
            &["RTMIN=RTMAX-1", "SIGRTMIN+3=USR1", "40=TSTP"],
            &[(34, 63), (37, 10), (40, 20)],
        ),
        // The last word on a signal counts. One that stops a process by default is mapped like any other.
        (&["TERM=QUIT", "TERM=HUP", "TSTP=INT"], &[(15, 1), (20, 2)]),
    ];
    for (maps, sequence) in table {
        let options: Vec<&str> = maps.iter().flat_map(|map| ["--map-signal", map]).collect();
        let by_variable = Run::portero().env("PORTERO_MAP_SIGNAL", maps.join(" "));
        for (run, options, pid1) in [
            (Run::as_pid1(), &options[..], true),
            (by_variable, &[], false),
        ] {
            let mut process = listeners(run, options);
            let sender = if pid1 { 1 } else { process.pid() };
            let mut expected = Vec::new();
            for (sent, got) in sequence {
                process.signal_number(*sent);
                // What is dropped shows by what comes next, or by the mark.
                if *got != 0 {
                    expected.push(*got);
                    process.until(
                        |process| received_from(process, "child", sender) == expected,
                        &format!("{expected:?} of {maps:?}"),
                    );
                }
            }
            mark(&mut process, sender);
            assert_eq!(
                received_from(&process, "child", sender),
                expected,
                "{maps:?}{process}"
            );
        }
    }
}

/// What a process can see of the state that it was started in.
const LOOK: &str = r#"
    grep -E '^(Sig(Blk|Ign)|ShdPnd|SigPnd|Umask|NoNewPrivs|Cap.*|Groups):' /proc/self/status
    cat /proc/self/limits /proc/self/oom_score_adj
    readlink /proc/self/cwd
    find /proc/self/fd -type l -printf '%f %l\n' | sed 's/\[[0-9]*\]//; s/proc.[0-9]*/proc/' | sort -n
"#;

#[test]
fn command_inherits_what_portero_was_given_to_the_letter() {
    let directory = TempDir::new();
    directory.file("file", "some text\n");
    let env = tool("env").to_str().unwrap().to_owned();
    // Redirections and limits, done by a shell that then becomes what follows.
    let shell = |setup: &str| {
        vec![
            "bash".into(),
            "-c".into(),
            format!("{setup}; exec \"$0\" \"$@\""),
        ]
    };
    let hostile: Vec<Vec<String>> = vec![
        vec![],
        vec![env.clone(), "--ignore-signal".into()],
        vec![env.clone(), "--block-signal".into()],
        vec![
            env.clone(),
            "--ignore-signal=HUP,INT,PIPE,SEGV,TTOU,CHLD".into(),
            "--block-signal=TERM,ILL,TTIN,CHLD,RTMIN,RTMAX".into(),
        ],
        shell("exec 5<file 7<>file 1000>/dev/null"),
        shell("exec <&-"),
        shell("exec <&- 2>&- 3</dev/zero"),
        shell("umask 27; ulimit -n 99; ulimit -c 0; ulimit -u 4000; cd /usr/lib"),
    ];
    for state in &hostile {
        for pid1 in [true, false] {
            let start = |run: Run| {
                let run = if pid1 { run.pid1() } else { run };
                run.via(state).cwd(directory.path()).finish()
            };
            let bare = start(Run::program("/bin/sh").args(["-c", LOOK]));
            bare.assert_exit(0);
            assert!(bare.stdout.contains("SigBlk"), "{bare}");
            for options in [&[][..], &["--signal-group"], &["--exec"]] {
                let run = Run::portero()
                    .args(options)
                    .args(["--", "/bin/sh", "-c", LOOK]);
                let finished = start(run);
                finished.assert_exit(0);
                assert_eq!(
                    finished.stdout, bare.stdout,
                    "{state:?} {options:?}{finished}{bare}"
                );
            }
        }
    }
}

#[test]
fn an_ignored_or_blocked_signal_is_forwarded_all_the_same() {
    for state in ["--ignore-signal", "--block-signal"] {
        let run = Run::as_pid1().via([tool("env").to_str().unwrap(), state]);
        let mut process = listeners(run, &[]);
        for number in [1, 2, 15, 20, 34] {
            process.signal_number(number);
            process.until(
                |process| received_from(process, "child", 1).contains(&number),
                &format!("signal {number} with {state}"),
            );
        }
    }
}

#[test]
fn nohup_works() {
    let mut process = Run::as_pid1()
        .via(["nohup"])
        .args(["--", "sh", "-c", "echo ready; exec sleep 1000"])
        .start();
    process.until_stdout("ready");
    process.signal(Signal::SIGHUP);
    process.signal(Signal::SIGTERM);
    process.exits(143);
}

#[test]
fn portero_pins_no_directory_and_opens_nothing_of_its_own() {
    for run in [Run::as_pid1(), Run::portero()] {
        let directory = TempDir::new();
        let mut process = run
            .cwd(directory.path())
            .args(["--", "sh", "-c", "echo ready; exec sleep 1000"])
            .start();
        process.until_stdout("ready");
        let pid = process.pid();
        // It moves when COMMAND runs already.
        process.until(
            |_| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == Path::new("/")),
            "the move to /",
        );
        let command = children(pid)[0];
        let cwd = fs::read_link(format!("/proc/{command}/cwd")).unwrap();
        assert_eq!(cwd, directory.path(), "{process}");
        let descriptors = |pid: i32| {
            let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
            let links = entries.flatten().map(|entry| {
                let link = fs::read_link(entry.path()).unwrap();
                (entry.file_name(), link)
            });
            links.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(descriptors(pid), descriptors(command), "{process}");
    }
}
