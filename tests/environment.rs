//! What COMMAND finds in its environment and in its arguments.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use common::{Run, TempDir};

fn with(options: &[&str], environment: &[(&str, &str)], command: &[&str]) -> Run {
    let run = Run::portero().args(options).arg("--").args(command);
    environment
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value))
}

#[test]
fn default_port_is_the_port_when_there_is_none() {
    let table: [(&[(&str, &str)], &str); 5] = [
        (&[], "8000\n"),
        (&[("PORT", "")], "8000\n"),
        (&[("PORT", "9000")], "9000\n"),
        (&[("PORT", "1")], "1\n"),
        (&[("PORT", "65535")], "65535\n"),
    ];
    for (environment, stdout) in table {
        with(
            &["--default-port", "8000"],
            environment,
            &["sh", "-c", "echo $PORT"],
        )
        .exits(0)
        .assert_stdout(stdout)
        .assert_stderr("");
    }
}

#[test]
fn a_port_that_is_none_is_refused_where_there_is_a_default_for_it() {
    for bad in ["80a", "0", "65536", "-1", "+80", " 80", "$PORT", "8000 "] {
        with(&["--default-port", "8000"], &[("PORT", bad)], &["true"])
            .refused()
            .assert_stderr_contains(&format!("PORT='{bad}' is not a port (1-65535)"));
    }
    with(&["--default-port", "x"], &[("PORT", "1")], &["true"]).refused();
}

#[test]
fn a_port_that_nobody_asked_about_is_left_alone() {
    with(&[], &[("PORT", "80a")], &["sh", "-c", "echo $PORT"])
        .exits(0)
        .assert_stdout("80a\n");
}

#[test]
fn defaults_fill_what_is_unset_or_empty_in_the_order_given() {
    let options = [
        "--default",
        "A=one",
        "--default",
        "B=${A}-two",
        "--default",
        "C=three=3",
        "--default",
        "D=never",
    ];
    with(
        &options,
        &[("C", ""), ("D", "given")],
        &["sh", "-c", "echo \"$A|$B|$C|$D\""],
    )
    .exits(0)
    .assert_stdout("one|one-two|three=3|given\n")
    .assert_stderr("");
    let port = ["--default", "D=${PORT}", "--default-port", "80"];
    with(&port, &[], &["sh", "-c", "echo $D"])
        .exits(0)
        .assert_stdout("80\n");
    for bad in ["A", "=x", "1A=x", "A B=x", "A=${UNSET}"] {
        with(&["--default", bad], &[], &["true"]).refused();
    }
}

#[test]
fn defaults_from_the_environment_are_a_line_each_and_those_of_the_command_line_replace_them() {
    let environment = [("PORTERO_DEFAULT", "A=1\nB=two words")];
    let script = ["sh", "-c", "echo \"$A|$B|$C\""];
    with(&[], &environment, &script)
        .exits(0)
        .assert_stdout("1|two words|\n");
    with(&["--default", "C=3"], &environment, &script)
        .exits(0)
        .assert_stdout("||3\n");
}

#[test]
fn arguments_are_expanded_only_when_asked_for() {
    let environment = [
        ("PORT", "8000"),
        ("EMPTY", ""),
        ("SPACES", "a b"),
        ("NESTED", "${PORT}"),
    ];
    let table = [
        ("${PORT}", "8000"),
        ("--port=${PORT}!", "--port=8000!"),
        ("$PORT", "$PORT"),
        ("$${PORT}", "${PORT}"),
        ("$$PORT $", "$$PORT $"),
        ("${NONE:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("[${EMPTY}]", "[]"),
        ("${SPACES}", "a b"),
        ("${NESTED}", "${PORT}"),
        ("${PORT}${PORT}", "80008000"),
        ("$(date) `date`", "$(date) `date`"),
    ];
    for (argument, expanded) in table {
        let printf = ["printf", "<%s>", argument];
        with(&["--expand-args"], &environment, &printf)
            .exits(0)
            .assert_stdout(&format!("<{expanded}>"));
        let shell = ["sh", "-c", "printf '<%s>' \"$1\"", "sh", argument];
        with(&[], &environment, &shell)
            .exits(0)
            .assert_stdout(&format!("<{argument}>"))
            .assert_stderr("");
    }
}

#[test]
fn an_unset_variable_in_an_expansion_is_an_error_that_names_it() {
    for (argument, named) in [
        ("${NO_SUCH}", "NO_SUCH"),
        ("${NO_SUCH:?set it in the task}", "set it in the task"),
    ] {
        with(&["--expand-args"], &[], &["echo", argument])
            .refused()
            .assert_stderr_contains(named)
            .assert_stdout("");
    }
}

#[test]
fn a_literal_expansion_without_expand_args_draws_a_warning_unless_command_is_a_shell() {
    with(&[], &[("PORT", "1")], &["printf", "%s", "${PORT}"])
        .exits(0)
        .assert_stdout("${PORT}")
        .assert_one_error_line()
        .assert_stderr_contains("--expand-args");
    with(&[], &[], &["sh", "-c", "echo ${HOME:-none}"])
        .exits(0)
        .assert_stdout("none\n")
        .assert_stderr("");
}

#[test]
fn command_sees_its_environment_to_the_letter_and_none_of_porteros() {
    let environment = [
        ("PORTERO_LOG_LEVEL", "warn"),
        ("PORTERO_DEFAULT", "ADDED=yes"),
        ("ODD", " leading, \"quotes\", $DOLLAR and\na new line "),
        ("EMPTY", ""),
    ];
    let bare = environment
        .iter()
        .filter(|(name, _)| !name.starts_with("PORTERO_"));
    let expected = bare.fold(
        Run::program("/usr/bin/env").arg("-0").env("ADDED", "yes"),
        |run, (name, value)| run.env(name, value),
    );
    let variables = |stdout: &str| {
        let mut list: Vec<String> = stdout.split('\0').map(str::to_owned).collect();
        list.sort();
        list
    };
    let finished = with(&[], &environment, &["env", "-0"]).finish();
    finished.assert_exit(0).assert_stderr("");
    assert_eq!(
        variables(&finished.stdout),
        variables(&expected.finish().stdout),
        "{finished}"
    );
}

#[test]
fn a_limit_that_expands_to_nothing_or_is_no_time_is_refused_and_starts_nothing() {
    let table: [(&[&str], &[(&str, &str)], &str); 6] = [
        (
            &[],
            &[("PORTERO_WAIT_TIMEOUT", "${EMPTY}"), ("EMPTY", "")],
            "PORTERO_WAIT_TIMEOUT: it is empty",
        ),
        (&["--wait-timeout", ""], &[], "--wait-timeout: it is empty"),
        (
            &[],
            &[("PORTERO_STOP_TIMEOUT", "${EMPTY}"), ("EMPTY", "")],
            "PORTERO_STOP_TIMEOUT: it is empty",
        ),
        (&["--wait-timeout", "1s1h"], &[], "'1s1h' is not a duration"),
        (&["--stop-delay", "5m5m"], &[], "'5m5m' is not a duration"),
        (&["--wait-timeout", "0ms"], &[], "say 'none' for no limit"),
    ];
    for (options, environment, said) in table {
        // Something to wait for, so that the limit is one of this run's.
        let options = [options, &["--wait", "file:///proc"]].concat();
        with(&options, environment, &["echo", "started"])
            .refused()
            .assert_stderr_contains(said)
            .assert_stdout("");
    }
    // Empty to begin with is as good as not given.
    let empty = [("PORTERO_WAIT_TIMEOUT", "")];
    with(&["--wait", "file:///proc"], &empty, &["true"]).exits(0);
}

#[test]
fn words_of_a_migration_that_come_to_nothing_by_a_default_drop_out_and_others_stay() {
    let table = [
        ("printf '<%s>' a ${X:-} b", "<a><b>"),
        ("printf '<%s>' a ${EMPTY:-} b", "<a><b>"),
        ("printf '<%s>' a ${EMPTY} b", "<a><><b>"),
        ("printf '<%s>' a '' b", "<a><><b>"),
        ("printf '<%s>' a=${X:-} ${TWO}", "<a=><one two>"),
        ("${X:-} printf x", "x"),
        ("printf 1 && ${X:-} && printf 2", "12"),
        ("${X:-}", ""),
    ];
    for (migration, stdout) in table {
        with(
            &["-q", "--no-lock", "--migrate", migration],
            &[("EMPTY", ""), ("TWO", "one two")],
            &["true"],
        )
        .exits(0)
        .assert_stdout(stdout)
        .assert_stderr("");
    }
}

/// The recipe for a framework that reads another name (docs/recipes.md).
#[test]
fn another_name_for_the_port_follows_the_platforms_and_can_be_told_apart_by_its_own() {
    let table: [(&[(&str, &str)], &str); 4] = [
        (&[("PORT", "8000")], "8000 8000\n"),
        (&[("PORT", "34567")], "34567 34567\n"),
        (&[("PORT", "8000"), ("UVICORN_PORT", "9")], "8000 9\n"),
        (&[], "80 80\n"),
    ];
    let command = ["sh", "-c", "echo $PORT $UVICORN_PORT"];
    for (environment, stdout) in table {
        let typed = ["--default-port", "80", "--default", "UVICORN_PORT=${PORT}"];
        with(&typed, environment, &command)
            .exits(0)
            .assert_stdout(stdout);
        let baked = [
            ("PORTERO_DEFAULT", "UVICORN_PORT=${PORT}"),
            ("PORTERO_DEFAULT_PORT", "80"),
        ];
        with(&[], &[environment, &baked].concat(), &command)
            .exits(0)
            .assert_stdout(stdout);
    }
    // What platforms make of other names that end in PORT.
    with(
        &["--default-port", "80"],
        &[("PORT", "tcp://10.0.0.1:80")],
        &command,
    )
    .refused()
    .assert_stderr_contains("PORT='tcp://10.0.0.1:80' is not a port");
}

#[test]
fn bytes_that_are_no_text_survive_in_values_and_in_arguments() {
    let raw = |bytes: &'static [u8]| OsStr::from_bytes(bytes);
    let script = "printf %s \"$RAW$1$COPY\" | od -An -tx1";
    let finished = Run::as_pid1()
        .env("RAW", raw(b"\xff\xfe"))
        .env("PORTERO_DEFAULT", raw(b"COPY=<${RAW}\xc0>"))
        .args(["--expand-args", "--", "sh", "-c", script, "sh"])
        .arg(raw(b"[\x80${RAW}\xf5]"))
        .finish();
    finished
        .assert_exit(0)
        .assert_stdout(" ff fe 5b 80 ff fe f5 5d 3c ff fe c0 3e\n")
        .assert_stderr("");
}

/// Becomes what follows, in an environment that has some variables twice.
const WITH_DOUBLES: &str = r"
import ctypes, os, sys
def array(strings):
    return (ctypes.c_char_p * (len(strings) + 1))(*[os.fsencode(text) for text in strings], None)
given = ['A=1', 'TOKEN=', 'B=2', 'A=3', 'TOKEN=', 'PATH=/usr/bin:/bin', 'B=2', 'PORT=', 'PORT=x']
ctypes.CDLL(None).execve(os.fsencode(sys.argv[1]), array(sys.argv[1:]), array(given))
";

#[test]
fn of_a_variable_that_was_given_twice_there_is_one_and_all_read_the_same() {
    let finished = Run::as_pid1()
        .via(["python3", "-c", WITH_DOUBLES])
        .line("--default-port 80 --default TOKEN=x${A} -- bash -c")
        .arg("tr '\\0' '\\n' < /proc/$$/environ; echo $A $TOKEN $PORT")
        .finish();
    finished
        .assert_exit(0)
        .assert_stdout("A=1\nTOKEN=x1\nB=2\nPATH=/usr/bin:/bin\nPORT=80\n1 x1 80\n");
}

#[test]
fn line_ends_of_windows_and_white_space_around_a_value_do_no_harm() {
    let finished = Run::as_pid1()
        .env("PORTERO_DEFAULT", "A=1\r\nB=2 3 \r\n\r\nC=4\r")
        .env("PORTERO_EXPAND_ARGS", " yes\r")
        .env("PORTERO_DEFAULT_PORT", "\t80\r\n")
        .env("PORTERO_NO_LOCK", "1\r\n")
        .env("PORTERO_MIGRATE", "true a\r\necho migrated\r")
        .env("PORTERO_USER", " 1234:2345\r")
        .env("PORTERO_STOP_DELAY", "0\r")
        .env("PORTERO_WAIT", "file:///proc\r\nfile:///tmp\r")
        .args(["--", "printf", "<%s>", "${A}", "${B}", "${C}", "${PORT}"])
        .finish();
    finished
        .assert_exit(0)
        .assert_stdout("migrated\n<1><2 3 ><4><80>");
    let finished = Run::portero()
        .env("PORTERO_DATABASE", "DATABASE_URL\r")
        .env("DATABASE_URL", "postgres://app@db/x")
        .args(["wait", "--dry-run"])
        .finish();
    finished
        .assert_exit(0)
        .assert_stdout_contains("postgres://app@db")
        .assert_stderr("");
}

#[test]
fn a_value_that_is_refused_shows_what_nobody_sees_in_it() {
    let table = [
        ("8000 ", "PORT='8000 ' is"),
        ("8000\r", r#"PORT="8000\r" (it ends in a carriage return"#),
        (
            "\u{feff}8000",
            r#"PORT="\u{feff}8000" (it begins with a byte order mark"#,
        ),
    ];
    for (port, said) in table {
        for (arguments, code) in [
            (&["--default-port", "80", "--", "true"][..], 125),
            (&["healthcheck"], 1),
        ] {
            Run::portero()
                .env("PORT", port)
                .args(arguments)
                .exits(code)
                .assert_stderr_contains(said);
        }
    }
    let directory = TempDir::new();
    let token = directory.file("token", "\u{feff}hush-hush\n");
    Run::portero()
        .env("TOKEN_FILE", token)
        .args(["--secret", "TOKEN", "--", "true"])
        .exits(0)
        .assert_one_line_of("portero: warning: ")
        .assert_stderr_contains("TOKEN begins with a byte order mark");
}

#[test]
fn no_time_is_refused_but_as_a_delay_and_what_comes_out_empty_is_not_given() {
    for option in [
        "--wait-timeout",
        "--stop-timeout",
        "--orphan-grace",
        "--lock-timeout",
    ] {
        for zero in ["0", "0s", "0ms"] {
            Run::portero()
                .args([option, zero, "--", "true"])
                .args(["x"])
                .env("PORTERO_WAIT", "file:///proc")
                .env("PORTERO_MIGRATE", "true")
                .env("PORTERO_DATABASE", "postgres://db/x")
                .exits(125)
                .assert_stderr_contains("'none'");
        }
    }
    for none in ["0", "0s", "none", "${NOTHING:-}"] {
        let run = Run::portero().args(["--stop-delay", none, "--dry-run", "--", "true"]);
        let finished = run.finish();
        finished.assert_exit(0);
        assert!(!finished.stdout.contains("stop-delay"), "{finished}");
    }
    let target = ["--wait", "file:///proc", "--wait-timeout", "${NOTHING:-}"];
    let finished = Run::portero()
        .args(target)
        .args(["--dry-run", "--", "true"])
        .finish();
    finished.assert_exit(0).assert_stdout_contains("up to 60s");
}

#[test]
fn what_is_as_a_whole_one_expansion_may_be_several_words_or_none() {
    let command = [
        "printf",
        "[%s]",
        "${UNSET:-}",
        "${A:+--x}",
        "${UNSET:-${A}}",
        "x${UNSET:-}",
    ];
    with(
        &[
            "--expand-args",
            "--no-lock",
            "--migrate",
            "${STEPS:-printf '%s-' ${A} \"${A}\" 'x  y' && printf y}",
        ],
        &[("A", "b c")],
        &command,
    )
    .exits(0)
    .assert_stdout("b-c-b c-x  y-y[--x][b c][x]");
    with(
        &["--default", "B=${A:+x}", "--default", "C=${A:-}${A:-}"],
        &[],
        &["sh", "-c", "echo ${B-unset} ${C-unset}."],
    )
    .exits(0)
    .assert_stdout("unset .\n");
    with(
        &[
            "--chown",
            "${PATHS} ${NONE:-}",
            "--user",
            "1:1",
            "--dry-run",
        ],
        &[("PATHS", "/a '/b c'")],
        &["true"],
    )
    .exits(0)
    .assert_stdout_contains("chown: /a\nchown: /b c\n");
}

#[test]
fn a_habit_of_shells_is_refused_before_anything_waits() {
    let table = [
        ("cd /srv && a", "'cd' is shell syntax"),
        ("A=hunter2 b", "use env NAME=value"),
        ("a *", "'*' is shell syntax"),
        ("a || b", "'||' is shell syntax"),
        ("a \"$(b)\"", "'$(' is shell syntax"),
        ("a ${B:=c}", "a '${…}' is not ${NAME}"),
    ];
    for (command, why) in table {
        let options = ["--no-lock", "--wait", "file:///never", "--migrate", command];
        let refused = with(&options, &[], &["true"]).refused();
        refused.assert_stderr_contains(why);
        assert!(!refused.stderr.contains("hunter2"), "{refused}");
    }
}

#[test]
fn a_guarded_command_runs_only_when_its_variable_is_or_is_not_true() {
    let table = [
        ("if:X echo a && echo b", "", ""),
        ("if:X echo a && echo b", "1", "a\nb\n"),
        ("if:X echo a", " oFF ", ""),
        ("if:X echo a", "False", ""),
        ("if:X echo a", "0.0", "a\n"),
        ("unless:X echo a", "no", "a\n"),
        ("unless:X echo a\nif:X  unless:Y ${Z:-echo b}", "on", "b\n"),
    ];
    for (commands, value, stdout) in table {
        with(
            &["--no-lock", "--migrate", commands],
            &[("X", value)],
            &["true"],
        )
        .exits(0)
        .assert_stdout(stdout);
        let migrate = ["migrate", "--no-lock", "--migrate", commands];
        let run = Run::portero().args(migrate).env("X", value);
        run.exits(0).assert_stdout(stdout);
    }
    for commands in ["if: a", "if:1X a", "if:X", "if:X a | b"] {
        with(
            &["--no-lock", "--migrate", commands],
            &[("X", "0")],
            &["true"],
        )
        .refused();
    }
}

#[test]
fn preparations_run_after_the_migrations_and_the_first_to_fail_ends_the_run_with_its_code() {
    let options = [
        "--no-lock",
        "--migrate",
        "echo m",
        "--prepare",
        "echo 'a b' && echo c\nif:X echo d",
    ];
    let command = ["echo", "run"];
    let run = with(&options, &[], &command).exits(0);
    run.assert_stdout("m\na b\nc\nrun\n");
    run.assert_stderr_contains("preparation 2 of 2: echo");
    for (skip, stdout) in [
        ("prepare", "m\nrun\n"),
        ("migrate", "a b\nc\nrun\n"),
        ("Yes", "run\n"),
        ("0", "m\na b\nc\nrun\n"),
    ] {
        with(&options, &[("PORTERO_SKIP", skip)], &command)
            .exits(0)
            .assert_stdout(stdout);
    }
    with(&options, &[("PORTERO_ONLY_FOR", "x")], &command)
        .exits(0)
        .assert_stdout("run\n")
        .assert_stderr_contains("migrate and prepare are left out");
    let failing = [
        "--prepare",
        "sh -c 'exit 7'",
        "--prepare",
        "echo never",
        "--database",
        "NONE",
        "--skip",
        "wait",
    ];
    let failed = with(
        &failing,
        &[
            ("NONE", "postgres://a@127.0.0.1:1/b"),
            ("PORTERO_MIGRATE_ONCE", "v1"),
        ],
        &command,
    )
    .exits(7);
    failed
        .assert_stdout("")
        .assert_stderr_contains("preparation 1 of 2, sh, failed: exit code 7");
    with(&["--prepare", "echo a", "--dry-run"], &[], &command)
        .exits(0)
        .assert_stdout_contains("prepare: echo a\n");
}
