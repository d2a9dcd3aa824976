//! By any other name: a link to portero called `tini`, `dumb-init` or `gosu` beside the tool itself, in one table: the
//! same exit code, the same output of COMMAND, the same signals for the same processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use common::{Ended, Finished, Process, Run, TempDir, portero, tool};
use nix::sys::signal::Signal;

/// The tool itself, and portero by its name.
struct Pair {
    real: PathBuf,
    link: PathBuf,
    _directory: TempDir,
}

impl Pair {
    fn of(name: &str) -> Self {
        let directory = TempDir::new();
        let link = directory.join(name);
        symlink(portero(), &link).unwrap();
        Self {
            real: tool(name),
            link,
            _directory: directory,
        }
    }

    fn both(&self) -> [Run; 2] {
        [&self.real, &self.link].map(Run::program)
    }
}

/// portero by a name of which no tool is installed.
fn by_name(name: &str) -> (Run, TempDir) {
    let directory = TempDir::new();
    let link = directory.join(name);
    symlink(portero(), &link).unwrap();
    (Run::program(link), directory)
}

#[track_caller]
fn assert_alike(runs: [Run; 2], what: &str) -> [Finished; 2] {
    let [mut real, own] = runs.map(Run::finish);
    // tini's log at -v goes to stdout, each line begins with its level.
    let is_log = |line: &&str| line.starts_with('[');
    let said = real.stdout.split_inclusive('\n');
    real.stdout = said.filter(|line| !is_log(line)).collect();
    assert!(
        real.ended == own.ended && real.stdout == own.stdout,
        "{what}: the tool:{real}\nportero:{own}"
    );
    [real, own]
}

/// Command lines that end alike, with the same output of COMMAND. tini with glibc's getopt(3) takes options behind
/// COMMAND, too, where no `--` is before it; with musl's, and here, they are COMMAND's.
const ALIKE: &[(&str, &[&str])] = &[
    (
        "tini",
        &[
            "true",
            "-- echo a b",
            "-s -- echo a",
            "-vvv -w -g -- echo a",
            "-gsv -- echo -n",
            "-p SIGTERM -- echo a",
            "-pSIGKILL echo a",
            "-e 3 -- sh -c 'exit 3'",
            "-e3 -e 4 -- sh -c 'exit 4'",
            "-e 3 -- sh -c 'exit 5'",
            "-e 0 false",
            "-- sh -c 'kill -9 $$'",
            "-- sh -c 'kill -15 $$'",
            "",
            "--",
            "-x true",
            "-e",
            "-e 256 true",
            "-e x true",
            "-e -1 true",
            "-p FOO true",
            "-p SIGRTMIN true",
            "''",
            "nosuch",
            "/etc/passwd",
            "/etc",
        ],
    ),
    (
        "dumb-init",
        &[
            "true",
            "-- echo a b",
            "echo -c",
            "-c echo a",
            "-vc -- echo a",
            "--single-child --verbose echo a",
            "--sing --verb echo a",
            "-r 15:3 --rewrite 1:0 --rewrite=2:15 -r10:12 echo a",
            "sh -c 'exit 3'",
            "sh -c 'kill -9 $$'",
            "",
            "--",
            "-x true",
            "--nosuch true",
            "--verbose=1 true",
            "-r",
            "-r 15 true",
            "-r TERM:QUIT true",
            "-r 9:15 -r 17:0 -r 19:15 echo a",
            "-r 15:3x -r ' 15: 3' echo a",
            "-r 0:5 true",
            "-r 64:15 true",
            "-r 15:33 true",
            "''",
            "--ver true",
            "nosuch",
            "/etc/passwd",
        ],
    ),
    (
        "gosu",
        &[
            "nobody true",
            "nobody sh -c 'exit 3'",
            "nobody sh -c 'kill -9 $$'",
            "1: true",
            "nobody nosuch",
            "nobody ''",
            "'${NOPE}' true",
            "nobody:'${NOPE:-root}' true",
            "nobody echo '${X}'",
            "nobody /etc/passwd",
            "nosuch true",
            "nobody:nosuch true",
            "nobody",
            "",
        ],
    ),
];

#[test]
fn each_command_line_of_a_tool_ends_as_with_the_tool() {
    for (name, lines) in ALIKE {
        let pair = Pair::of(name);
        for line in *lines {
            let runs = pair.both().map(|run| run.line(line));
            let [_, own] = assert_alike(runs, &format!("{name} {line}"));
            // A line of portero's own, or none.
            assert!(
                own.stderr.lines().all(|line| line.starts_with("portero: ")),
                "{name} {line}{own}"
            );
        }
    }
}

#[test]
fn help_and_version_say_whose_place_portero_takes() {
    let table = [
        ("tini", "--version", "-h"),
        ("tini-static", "--version", "-h"),
        ("dumb-init", "--version", "--help"),
        ("dumb-init", "-V", "-h"),
        ("gosu", "--version", "--help"),
        ("gosu", "-v", "-h"),
        ("su-exec", "--version", "--help"),
    ];
    for (name, version, help) in table {
        let plain = name.trim_end_matches("-static");
        for option in [version, help] {
            let (run, _directory) = by_name(name);
            let said = run.arg(option).exits(0);
            said.assert_stdout_contains(&format!("{plain} (portero "));
        }
    }
    let (run, _directory) = by_name("tini");
    run.arg("-l").exits(0).assert_stdout_contains("MIT");
}

/// What COMMAND finds of its identity.
const IDENTITY: &str =
    "id; echo \"$HOME,$USER,$LOGNAME\"; grep -E '^(NoNewPrivs|Cap...)' /proc/self/status";

#[test]
fn a_dropper_leaves_the_identity_that_gosu_leaves() {
    let pair = Pair::of("gosu");
    for spec in [
        "nobody",
        "nobody:root",
        "nobody:7",
        "1:7",
        "12345:6",
        "root",
        "0",
        "daemon:daemon",
        "65534",
    ] {
        let run = |run: Run| {
            run.env("HOME", "/root")
                .env("USER", "somebody")
                .args([spec, "sh", "-c", IDENTITY])
        };
        let [_, own] = assert_alike(pair.both().map(run), spec);
        let (run, _directory) = by_name("su-exec");
        let run = run.env("HOME", "/root").env("USER", "somebody");
        run.args([spec, "sh", "-c", IDENTITY])
            .exits(0)
            .assert_stdout(&own.stdout);
    }
}

#[test]
fn a_dropper_refuses_what_would_be_root_by_accident_and_says_what_works() {
    let table = [
        ("", "user, user:group, uid or uid:gid"),
        (":", "user, user:group, uid or uid:gid"),
        ("4294967296", "0 to 2147483647"),
        ("-1", "neither a name nor an id"),
        ("12345", "say 12345:GID"),
    ];
    for name in ["gosu", "su-exec"] {
        for (spec, remedy) in table {
            let (run, _directory) = by_name(name);
            run.args([spec, "id"])
                .exits(1)
                .assert_stdout("")
                .assert_one_error_line()
                .assert_stderr_contains(remedy);
        }
    }
}

#[test]
fn a_dropper_that_is_not_root_goes_on_as_itself_and_as_nobody_else() {
    for name in ["gosu", "su-exec"] {
        let (run, _directory) = by_name(name);
        run.user(1234, 1234)
            .args(["nobody", "id"])
            .exits(1)
            .assert_stdout("")
            .assert_stderr_contains("uid 1234, which can't become 'nobody'");
        let (run, _directory) = by_name(name);
        run.user(1234, 1234)
            .args(["1234:1234", "id", "-u"])
            .exits(0)
            .assert_stdout("1234\n");
    }
}

#[test]
fn a_dropper_with_the_setuid_bit_makes_nobody_root() {
    let directory = TempDir::new();
    let own = directory.join("gosu");
    fs::copy(portero(), &own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o4755)).unwrap();
    Run::program(&own)
        .user(1234, 1234)
        .args(["root", "id", "-u"])
        .exits(1)
        .assert_stdout("")
        .assert_stderr_contains("setuid");
}

#[test]
fn what_may_be_a_secret_is_not_shown_under_any_name() {
    let lines = [
        ("tini", "-e s3cretvalue true"),
        ("tini", "-p s3cretvalue true"),
        ("dumb-init", "-r s3cretvalue true"),
        ("gosu", "postgres://u:s3cretvalue@h/db true"),
    ];
    for (name, line) in lines {
        let (run, _directory) = by_name(name);
        run.env("TOKEN", "s3cretvalue")
            .env("PORTERO_SECRET", "TOKEN")
            .line(line)
            .exits(1)
            .assert_never_says("s3cretvalue");
    }
}

#[test]
fn a_dropper_heeds_variables_of_identity_and_output_alone_and_hands_the_others_on() {
    for name in ["gosu", "su-exec"] {
        let (run, _directory) = by_name(name);
        let given = TempDir::new();
        let path = given.file("given", "");
        let finished = run
            .env("PORTERO_MIGRATE", "echo migrated")
            .env("PORTERO_NO_LOCK", "1")
            .env("PORTERO_WAIT", "nothing")
            .env("PORTERO_SECRET", "TOKEN")
            .env("TOKEN_FILE", "/nonexistent")
            .env("PORTERO_DEFAULT_PORT", "none")
            .env("PORTERO_NOSUCH", "x")
            .env("PORTERO_USER", "root")
            .env("PORTERO_CHOWN", &path)
            .env("PORTERO_LOG_LEVEL", "warn")
            .args([
                "nobody",
                "sh",
                "-c",
                "id -u; echo $PORTERO_MIGRATE; stat -c %u \"$0\"",
            ])
            .arg(&path)
            .exits(0);
        finished
            .assert_stdout("65534\necho migrated\n65534\n")
            .assert_stderr("");
    }
}

/// COMMAND, which waits a moment for its child's word when it is told to end, and a child in its group.
const FAMILY: &str = r#"cd "$0"; sh -c 'trap "echo child TERM; : > told; exit 0" TERM; trap "echo child USR1" USR1
: > ready; while :; do sleep 0.05; done' &
trap 'echo command USR1' USR1
trap 'echo command TERM; i=0; while [ $i -lt 20 ] && ! [ -e told ]; do i=$((i + 1)); sleep 0.05; done; exit 5' TERM
while ! [ -e ready ]; do sleep 0.05; done; echo ready; while :; do wait; done"#;

/// That family as PID 1's, with SIGTERM on its way.
fn told_to_end(run: Run, options: &str, variables: &[(&str, &str)]) -> (Process, TempDir) {
    let directory = TempDir::new();
    let run = run
        .line(options)
        .args(["sh", "-c", FAMILY])
        .arg(directory.path());
    let set = |run: Run, (name, value): &(&str, &str)| run.env(name, value);
    let mut process = variables.iter().fold(run, set).pid1().start();
    process.until_stdout("ready\n");
    process.signal(Signal::SIGTERM);
    (process, directory)
}

#[test]
fn signals_go_to_whom_the_tool_sends_them() {
    let table: [(&str, &str, &[(&str, &str)]); 10] = [
        ("tini", "--", &[]),
        ("tini", "-g --", &[]),
        ("tini", "--", &[("TINI_KILL_PROCESS_GROUP", "1")]),
        ("tini", "-s --", &[("TINI_SUBREAPER", "")]),
        ("tini", "--", &[("TINI_VERBOSITY", "0")]),
        ("dumb-init", "--", &[]),
        ("dumb-init", "-c --", &[]),
        ("dumb-init", "--", &[("DUMB_INIT_SETSID", "0")]),
        ("dumb-init", "-r 15:10 -r 1:15 --", &[]),
        ("dumb-init", "-r 10:0 --", &[]),
    ];
    for (name, options, variables) in table {
        let pair = Pair::of(name);
        let said = pair.both().map(|run| {
            let (mut process, _directory) = told_to_end(run, options, variables);
            // A TERM that became a USR1 ends nobody.
            if options.contains("15:10") {
                process
                    .until_stdout("command USR1")
                    .until_stdout("child USR1");
                process.signal(Signal::SIGHUP);
            }
            let finished = process.wait();
            let mut lines: Vec<String> = finished.stdout.lines().map(String::from).collect();
            lines.sort();
            (lines, finished.ended)
        });
        assert_eq!(said[0], said[1], "{name} {options} {variables:?}");
        assert_eq!(said[1].1, Ended::Code(5), "{name} {options} {variables:?}");
    }
}

#[test]
fn what_the_name_implies_gives_way_to_variables_and_these_to_options() {
    let table: [(&str, &str, &[(&str, &str)], bool); 6] = [
        (
            "dumb-init",
            "--",
            &[
                ("PORTERO_SIGNAL_GROUP", "0"),
                ("PORTERO_ORPHAN_GRACE", "none"),
            ],
            false,
        ),
        ("dumb-init", "--", &[("PORTERO_SIGNAL_GROUP", "1")], true),
        ("tini", "--", &[("PORTERO_SIGNAL_GROUP", "1")], true),
        ("tini", "-g --", &[("PORTERO_SIGNAL_GROUP", "0")], true),
        ("tini", "--", &[("PORTERO_ORPHAN_GRACE", "10s")], true),
        ("tini", "--", &[], false),
    ];
    for (name, options, variables, child_is_told) in table {
        let (run, _link) = by_name(name);
        let (process, _directory) = told_to_end(run, options, variables);
        let finished = process.exits(5);
        assert_eq!(
            finished.stdout.contains("child TERM"),
            child_is_told,
            "{name} {options} {variables:?}{finished}"
        );
    }
}

#[test]
fn tinis_parent_death_signal_is_passed_on_when_its_parent_dies() {
    let script = "trap 'echo told; exit 0' USR1; echo ready; while :; do sleep 0.05; done";
    // The shell must have something left to do, or it becomes tini.
    let parent = "\"$0\" -p SIGUSR1 -- sh -c \"$1\"; true";
    let pair = Pair::of("tini");
    for program in [&pair.real, &pair.link] {
        let mut process = Run::program("sh")
            .args(["-c", parent])
            .arg(program)
            .arg(script)
            .start();
        process.until_stdout("ready\n");
        process.signal(Signal::SIGKILL);
        process.until_stdout("told\n");
        process.wait();
    }
}

#[test]
fn tinis_line_for_each_orphan_is_there_with_its_option_alone() {
    let orphan = "sh -c 'sleep 0 &'; i=0; while [ $i -lt 20 ]; do i=$((i + 1)); sleep 0.01; done";
    let (run, _directory) = by_name("tini");
    run.args(["-w", "--", "sh", "-c", orphan])
        .exits(0)
        .assert_stderr_contains("reaped an orphan, pid ");
    let (run, _directory) = by_name("tini");
    run.args(["--", "sh", "-c", orphan])
        .exits(0)
        .assert_stderr("");
}

#[test]
fn steps_of_porteros_own_run_under_tinis_name_and_keep_their_codes() {
    let run = || {
        let (run, directory) = by_name("tini");
        (run.env("PORTERO_NO_LOCK", "1"), directory)
    };
    let (first, _directory) = run();
    first
        .env("PORTERO_MIGRATE", "echo migrated")
        .args(["-g", "--", "echo", "command"])
        .exits(0)
        .assert_stdout("migrated\ncommand\n");
    let (second, _directory) = run();
    second
        .env("PORTERO_MIGRATE", "nosuch")
        .args(["--", "echo", "command"])
        .exits(127)
        .assert_stdout("");
    let (third, _directory) = run();
    third
        .env("PORTERO_WAIT", "file:///nonexistent")
        .env("PORTERO_WAIT_TIMEOUT", "100ms")
        .args(["--", "echo", "command"])
        .exits(124)
        .assert_stdout("");
    // `wait` is a program like any other by these names.
    let (fourth, _directory) = run();
    fourth.args(["wait", "x"]).exits(127);
}
