//! The command line: what is shown, what is refused, and that a refusal starts nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use common::table::pairs;
use common::{Finished, Run, TempDir, portero, rows, unescaped, words};

const ENVIRONMENT: &[&str] = &["secret", "default-port", "default", "expand-args"];
const IDENTITY: &[&str] = &[
    "user",
    "chown",
    "keep-cap",
    "allow-new-privileges",
    "require-non-root",
];
const OUTPUT: &[&str] = &["log-level", "log-format"];
const DEPENDENCIES: &[&str] = &[
    "wait",
    "database",
    "wait-timeout",
    "wait-max-interval",
    "ca-cert",
    "insecure",
];
const MIGRATIONS: &[&str] = &[
    "migrate",
    "migrate-once",
    "migrate-table",
    "lock-name",
    "lock-timeout",
    "no-lock",
];
const STOPPING: &[&str] = &["signal-group", "map-signal", "stop-delay", "stop-timeout"];
const RUN_ONLY: &[&str] = &[
    "only-for",
    "skip",
    "prepare",
    "map-exit",
    "orphan-grace",
    "program",
    "exec",
];
const PROBING: &[&str] = &[
    "path", "port", "timeout", "status", "method", "header", "contains", "ca-cert", "insecure",
    "live",
];

fn assert_shows(help: &Finished, options: &[&str], prefix: &str) {
    for option in options {
        let variable = format!("{prefix}{}", option.replace('-', "_").to_uppercase());
        let has = |word: &str| {
            help.stdout
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
                .any(|found| found == word)
        };
        assert!(
            has(&format!("--{option}")),
            "the help lacks --{option}{help}"
        );
        assert!(has(&variable), "the help lacks {variable}{help}");
    }
}

#[test]
fn the_help_of_each_command_shows_every_option_with_its_variable() {
    let table: [(&[&str], &[&[&str]]); 4] = [
        (
            &[],
            &[
                ENVIRONMENT,
                IDENTITY,
                OUTPUT,
                DEPENDENCIES,
                MIGRATIONS,
                STOPPING,
                RUN_ONLY,
            ],
        ),
        (&["wait"], &[ENVIRONMENT, IDENTITY, OUTPUT, DEPENDENCIES]),
        (
            &["migrate"],
            &[
                ENVIRONMENT,
                IDENTITY,
                OUTPUT,
                DEPENDENCIES,
                MIGRATIONS,
                STOPPING,
            ],
        ),
        (&["healthcheck"], &[ENVIRONMENT, IDENTITY, OUTPUT]),
    ];
    for (command, groups) in table {
        let help = Run::portero().args(command).arg("--help").finish();
        help.assert_exit(0).assert_stderr("");
        for group in groups {
            assert_shows(&help, group, "PORTERO_");
        }
        help.assert_stdout_contains("--dry-run");
        if command == ["healthcheck"] {
            assert_shows(&help, PROBING, "PORTERO_HEALTH_");
            help.assert_stdout_contains("PORTERO_HEALTH_TARGET");
        }
    }
}

#[test]
fn the_short_help_is_shorter_than_the_long_one_and_names_the_four_commands() {
    let short = Run::portero().arg("-h").finish();
    let long = Run::portero().arg("--help").finish();
    short.assert_exit(0).assert_stderr("");
    assert!(
        short.stdout.len() < long.stdout.len(),
        "not shorter than --help{short}"
    );
    for usage in [
        "portero wait",
        "portero migrate",
        "portero healthcheck",
        "COMMAND",
    ] {
        short.assert_stdout_contains(usage);
    }
}

#[test]
fn the_help_tells_the_exit_codes() {
    let help = Run::portero().arg("--help").finish();
    for code in ["124", "125", "126", "127", "128"] {
        help.assert_stdout_contains(code);
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    Run::portero()
        .arg("--version")
        .exits(0)
        .assert_stdout(common::VERSION)
        .assert_stderr("");
}

/// Runs portero with a COMMAND that leaves a mark; a usage error is one line, one code, and no mark.
fn assert_refused<T: AsRef<str>>(before: &[T], environment: &[(T, T)]) -> Finished {
    let directory = TempDir::new();
    let mark = directory.join("started");
    let run = Run::portero().args(before.iter().map(AsRef::as_ref));
    let run = environment.iter().fold(run, |run, (name, value)| {
        run.env(name.as_ref(), value.as_ref())
    });
    let finished = run.args(["--", "touch"]).arg(&mark).finish();
    finished
        .assert_exit(125)
        .assert_one_error_line()
        .assert_stdout("");
    assert!(!mark.exists(), "COMMAND was started{finished}");
    finished
}

#[test]
fn a_usage_error_is_one_line_and_125_and_starts_nothing() {
    let table = r#"
        --nope  -  --nope
        --default-prt 80         -           --default-prt
        --default-port 80a       -           80a
        --default-port 0         -           0
        --default-port 65536     -           65536
        --default-port 8000      PORT=80a    80a
        --default-port 8000      PORT=-1     -1
        -                        PORTERO_DEFAULT_PORT=x9  x9
        --default NOEQUALS       -           NOEQUALS
        --wait gopher://nowhere  -           gopher
        --wait tcp://127.0.0.1   -           127.0.0.1
        --wait tcp://127.0.0.1:99999         -  99999
        --wait http://           -           http://
        --wait NO_SUCH_VARIABLE  -           NO_SUCH_VARIABLE
        --database postgres://[::1:5432/x    -  database
        --database http://127.0.0.1:1/       -  database
        --database DATABASE_URL  -           DATABASE_URL
        --wait-timeout 0         -           none
        --wait-timeout '5 s'     -           5 s
        --wait-timeout -1        -           -1
        --wait-timeout soon      -           soon
        --migrate true           -           --database
        --no-lock --migrate 'true | cat'     -  sh -c
        --no-lock --migrate 'true; false'    -  sh -c
        --no-lock --migrate "'open"        -  not closed
        --no-lock --migrate 'true && '       -  &&
        --lock-timeout bogus     -           bogus
        -                        PORTERO_LOCK_TIMEOUT=bogus  PORTERO_LOCK_TIMEOUT
        --migrate-once latest    -           --migrate-once
        -                        PORTERO_MIGRATE_ONCE=latest  PORTERO_MIGRATE_ONCE
        --migrate-table 'a b c d'  -         --migrate-table
        --no-lock --migrate true --migrate-table nowhere  -  --migrate-table
        --lock-name ' '          -           --lock-name
        -                        PORTERO_NO_LOCK=maybe  maybe
        --stop-timeout soon      -           soon
        --stop-delay soon        -           soon
        --orphan-grace soon      -           soon
        --wait-max-interval soon  -          soon
        --log-level loud         -           loud
        --wait ''                -           --wait: it is empty
        --database ''            -           --database: it is empty
        --no-lock --migrate ''   -           --migrate: it is empty
        --user ''                -           --user: it is empty
        --skip ''                -           --skip: it is empty
        --database ${X}          X=          --database: it is empty
        -          PORTERO_DATABASE=${X} X=  PORTERO_DATABASE: it is empty
        --stop-timeout ${X}      X=          --stop-timeout: it is empty
        --wait ${X}              X=          --wait: 
        --no-lock --migrate ${X}  X=         --migrate: the name of a program is empty
        -          PORTERO_EXPAND_ARGS=maybe  maybe
    "#;
    for [line, variables, named] in rows(table) {
        let (words, variables) = (words(line), pairs(variables));
        assert_refused(&words, &variables).assert_stderr_contains(named);
    }
}

#[test]
fn a_url_that_is_refused_does_not_give_its_password_away() {
    for url in [
        "postgres://u:hunter2@[::1:5432/x",
        "http://u:hunter2@",
        "tcp://u:hunter2@h:99999",
        "nope://u:hunter2@h/",
    ] {
        for option in ["--wait", "--database"] {
            assert_refused(&[option, url], &[]).assert_never_says("hunter2");
            assert_refused(&[option, "URL"], &[("URL", url)]).assert_never_says("hunter2");
        }
    }
}

#[test]
fn without_a_command_there_is_one_line_and_125() {
    let table: [&[&str]; 5] = [&[], &["--"], &["--default-port", "80"], &["--", ""], &[""]];
    for arguments in table {
        Run::portero().args(arguments).refused().assert_stdout("");
    }
}

#[test]
fn the_other_commands_refuse_in_the_same_way() {
    let lines = "wait ''|wait 127.0.0.1:1 ''|wait --nope|wait|wait gopher://nowhere|migrate --nope|\
        migrate -- true|migrate --no-lock|healthcheck ''|healthcheck --nope|healthcheck --timeout 0|\
        healthcheck gopher://nowhere";
    for line in lines.split('|') {
        let (code, prefix) = match line.starts_with("healthcheck") {
            true => (1, "unhealthy: "),
            false => (125, "portero: "),
        };
        let finished = Run::portero().line(line).finish();
        finished.assert_exit(code).assert_stdout("");
        finished.assert_one_line_of(prefix);
    }
}

#[test]
fn what_follows_command_belongs_to_it() {
    let table = r#"
        echo --version --nope -h                      --version --nope -h
        -- echo -- x                                  -- x
        --default-port 80 echo --default-port y       --default-port y
        -- sh -c 'echo "$0 $*"' wait healthcheck      wait healthcheck
        echo wait                                     wait
    "#;
    for [line, stdout] in rows(table) {
        let finished = Run::portero().line(line).finish();
        finished.assert_exit(0).assert_stderr("");
        finished.assert_stdout(&format!("{stdout}\n"));
    }
}

#[test]
fn a_subcommand_after_two_hyphens_is_a_command() {
    let directory = TempDir::new();
    for name in ["wait", "migrate", "healthcheck"] {
        directory.script(name, "#!/bin/sh\necho \"mine: $*\"\n");
        Run::portero()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", directory.path().display()),
            )
            .args(["--", name, "x"])
            .exits(0)
            .assert_stdout("mine: x\n");
    }
}

#[test]
fn the_command_line_wins_over_the_environment_and_an_empty_variable_is_none() {
    let table = r"
        --default-port 81  PORTERO_DEFAULT_PORT=82               81
        -                  PORTERO_DEFAULT_PORT=82               82
        -                  PORTERO_DEFAULT_PORT=                 -
        -                  'PORTERO_DEFAULT=A=7\nPORT=${A}1'     71
    ";
    for [line, variables, stdout] in rows(table) {
        let run = Run::portero().line(line);
        let variables = pairs(&unescaped(variables)).into_iter();
        let run = variables.fold(run, |run, (name, value)| run.env(name, value));
        let finished = run.line("-- sh -c 'echo $PORT'").finish();
        finished.assert_exit(0).assert_stderr("");
        finished.assert_stdout(&format!("{stdout}\n"));
    }
}

#[test]
fn an_unknown_variable_of_porteros_draws_a_warning_unless_kubernetes_made_it() {
    let run = || Run::portero().args(["--", "true"]);
    let warned = run().env("PORTERO_WIAT", "x").finish();
    warned
        .assert_exit(0)
        .assert_one_error_line()
        .assert_stderr_contains("PORTERO_WIAT");
    run()
        .env("PORTERO_PORT", "tcp://10.0.0.1:80")
        .env("PORTERO_PORT_80_TCP", "tcp://10.0.0.1:80")
        .env("PORTERO_SERVICE_HOST", "10.0.0.1")
        .exits(0)
        .assert_stderr("");
}

#[test]
fn a_dry_run_prints_the_plan_without_passwords_and_starts_nothing() {
    let directory = TempDir::new();
    let mark = directory.join("started");
    let plan = Run::portero()
        .env("DATABASE_URL", "postgres://app:hunter2@db.internal/app")
        .line("--dry-run --default-port 8123 --expand-args --database DATABASE_URL")
        .line("--wait tcp://cache.internal:6379 --migrate 'alembic upgrade head' -- touch")
        .arg(&mark)
        .line("${PORT} ${DATABASE_URL}")
        .finish();
    plan.assert_exit(0).assert_never_says("hunter2");
    for text in "8123 db.internal *** cache.internal:6379 alembic touch".split(' ') {
        let said = plan.stdout.contains(text) || plan.stderr.contains(text);
        assert!(said, "the plan lacks {text}{plan}");
    }
    assert!(!mark.exists(), "COMMAND was started{plan}");
}

/// A wrapper put before the command must not start it unmigrated without a word.
#[test]
fn steps_that_are_left_out_for_another_command_are_told() {
    let steps = ["--wait", "tcp://127.0.0.1:1", "--no-lock", "--migrate", "a"];
    let run = |options: &[&str], only_for: &str| {
        Run::portero()
            .env("PORTERO_ONLY_FOR", only_for)
            .args(options)
            .args(["--", "echo", "started"])
            .finish()
    };
    let told =
        "wait and migrate are left out: COMMAND is 'echo', which PORTERO_ONLY_FOR does not name\n";
    run(&steps, "uvicorn")
        .assert_exit(0)
        .assert_stdout("started\n")
        .assert_stderr(&format!("portero: {told}"));
    run(&[&steps, &["--dry-run"][..]].concat(), "uvicorn")
        .assert_exit(0)
        .assert_stdout_contains(&format!("left out: {told}"));
    run(&["--database", "URL"], "uvicorn")
        .assert_exit(0)
        .assert_stderr_contains("wait is left out: ");
    for silent in [
        &steps[..0],
        &[&steps, &["--skip", "wait,migrate"][..]].concat(),
    ] {
        run(silent, "uvicorn").assert_exit(0).assert_stderr("");
    }
}

/// As the entrypoints of official images do it.
#[test]
fn a_program_stands_before_what_is_none() {
    let directory = TempDir::new();
    directory.file("plain", "");
    directory.script("own", "#!/bin/sh\necho own \"$@\"\n");
    let table: [(&[&str], &str); 7] = [
        (&[], "begun\n"),
        (&["--workers", "3"], "begun --workers 3\n"),
        (&["webserver"], "begun webserver\n"),
        (&["./plain", "x"], "begun ./plain x\n"),
        (&["./own", "x"], "own x\n"),
        (&["own", "x"], "own x\n"),
        (&["echo", "x"], "x\n"),
    ];
    let path = format!("/usr/bin:/bin:{}", directory.path().display());
    for (given, stdout) in table {
        for (option, value) in [("--program", "echo begun"), ("--exec", "")] {
            let run = Run::portero().env("PATH", &path).cwd(directory.path());
            let run = run.env("PORTERO_PROGRAM", "'echo' ${BEGUN:-begun}");
            let options = [option, value].into_iter().filter(|word| !word.is_empty());
            run.args(options)
                .arg("--")
                .args(given)
                .exits(0)
                .assert_stdout(stdout);
        }
    }
    // What --only-for looks at is the whole.
    let whole = ["--program", "rails", "--only-for", "'rails server'"];
    let whole = [&whole[..], &["--migrate", "a", "--no-lock", "--dry-run"]].concat();
    let dry = |given: &str| Run::portero().args(&whole).args(["--", given]).exits(0);
    dry("server").assert_stdout_contains("migrate");
    dry("console").assert_stdout_contains("left out: migrate");
    for wrong in ["a && b", "if:X a"] {
        Run::portero()
            .args(["--program", wrong, "--", "true"])
            .refused()
            .assert_stderr_contains("--program: it is one command");
    }
    Run::portero()
        .args(["--program", "${NONE:-}", "--", "nosuch"])
        .exits(127);
}

/// None is accepted and ignored.
#[test]
fn each_option_does_what_it_says() {
    let directory = TempDir::new();
    let secret = directory.file("token", "from-file\n");
    let secret = secret.to_str().unwrap();
    let owned = directory.file("owned", "");
    let owned = owned.to_str().unwrap();
    // Options; the exit code when they work; the script that sh runs; its stdout then.
    let table = r"
        --secret TOKEN             0    echo $TOKEN$TOKEN_FILE  from-file
        --user 1000:1000 --chown OWNED                      0  stat -c %u:%g $OWNED            1000:1000
        --user 1000:1000 --keep-cap net_bind_service  0  grep CapAmb.*0400 /proc/self/status  CapAmb:\t0000000000000400
        --user 1000:1000 --allow-new-privileges             0  grep -c NoNewPrivs:.0 /proc/self/status  1
        --require-non-root --user 1000:1000                 0  id -u  1000
        --only-for postgres --wait tcp://127.0.0.1:1 --wait-timeout 300ms  5  exit 5  -
        --skip wait --wait tcp://127.0.0.1:1 --wait-timeout 300ms          5  exit 5  -
        --map-exit 5=6             6    exit 5  -
        --map-signal TERM=USR1     9
        => trap 'exit 9' USR1; trap 'exit 8' TERM; kill -TERM $PPID; while :; do :; done
        => -
        --stop-timeout 300ms       137  trap '' TERM; kill -TERM $PPID; while :; do :; done  -
        --stop-delay 300ms         9    trap 'exit 9' TERM; kill -TERM $PPID; while :; do :; done  -
        --exec                     0    readlink /proc/$PPID/exe  PARENT
        --orphan-grace 1s          5    exit 5  -
        --signal-group             5    exit 5  -
    ";
    for [options, code, script, stdout] in rows(table) {
        let run = Run::portero()
            .env("TOKEN_FILE", secret)
            .env("OWNED", owned)
            .line(options.replace("OWNED", owned))
            .args(["--", "sh", "-c", script]);
        let finished = run.finish();
        finished.assert_exit(code.parse().unwrap());
        if stdout == "PARENT" {
            let parent = finished.stdout.trim();
            assert!(
                parent != portero().to_str().unwrap(),
                "portero is still there{finished}"
            );
        } else {
            let stdout = stdout.replace("\\t", "\t");
            assert_eq!(finished.stdout.trim_end(), stdout, "{finished}");
        }
    }
}

#[test]
fn the_option_that_is_the_default_now_is_refused_with_what_to_do() {
    let finished = Run::portero()
        .args(["--signal-child-only", "--", "true"])
        .finish();
    finished
        .assert_exit(125)
        .assert_one_error_line()
        .assert_stderr_contains("'--signal-child-only' is gone")
        .assert_stderr_contains("by default")
        .assert_stderr_contains("--signal-group");
    Run::portero()
        .env("PORTERO_SIGNAL_CHILD_ONLY", "1")
        .args(["--", "true"])
        .exits(0)
        .assert_one_line_of("portero: warning: PORTERO_SIGNAL_CHILD_ONLY is gone")
        .assert_stderr_contains("by default");
}

/// The value of a member of a line of JSON, as it stands there.
fn member<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(",\"{name}\":"))?;
    rest.split([',', '}']).next()
}

#[test]
fn a_line_of_json_has_a_time_of_rfc_3339_and_what_applies() {
    let waits = ["--wait", "file:///no/such", "--wait-timeout", "300ms"];
    let finished = Run::portero()
        .args(["--log-format", "json"])
        .args(waits)
        .args(["--", "true"])
        .finish();
    finished.assert_exit(124);
    for line in finished.stderr.lines() {
        let time = line
            .strip_prefix("{\"time\":\"")
            .and_then(|rest| rest.split_once('"'));
        let shape: String = time
            .unwrap_or_default()
            .0
            .replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{finished}");
        assert_eq!(member(line, "step"), Some("\"wait\""), "{finished}");
    }
    let last = finished.stderr.lines().last().unwrap();
    assert_eq!(member(last, "code"), Some("124"), "{finished}");
    let is_news = |line: &&str| member(line, "event") == Some("\"not_yet\"");
    let news = finished.stderr.lines().find(is_news).unwrap();
    assert_eq!(
        member(news, "target"),
        Some("\"file:///no/such\""),
        "{finished}"
    );
    assert!(
        member(news, "elapsed_ms").unwrap().parse::<u32>().is_ok(),
        "{finished}"
    );

    let mut process = Run::as_pid1()
        .line("--log-format json --wait file:///no/such -- true")
        .start();
    process.until_stderr("waiting for");
    process.signal(nix::sys::signal::Signal::SIGTERM);
    let finished = process.wait();
    let last = finished.assert_exit(143).stderr.lines().last().unwrap();
    assert_eq!(member(last, "signal"), Some("\"SIGTERM\""), "{finished}");
    assert_eq!(member(last, "step"), None, "{finished}");
}
