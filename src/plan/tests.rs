use crate::settings::Settings;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::*;
use crate::cli;
use crate::cli::Asked;
use crate::environment::resolved::Resolved;
use crate::exit::Failure;
use crate::supervise::helper::Stops;
use crate::variables::resolve;

/// The resolved settings of a line, handed to `make`.
fn with<T>(
    line: &[&str],
    environment: &[(&str, &str)],
    make: impl FnOnce(&Settings<'_>, &Resolved) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
    let Asked::Work(typed) = cli::parse(&arguments)? else {
        panic!("{line:?} only prints");
    };
    let inherited = environment.iter().copied().collect();
    let settings = Settings {
        typed: &typed,
        environment: &inherited,
    };
    let resolved = resolve(&settings, Stops::Handled)?;
    make(
        &Settings {
            environment: &resolved.environment,
            ..settings
        },
        &resolved,
    )
}

fn run(line: &[&str], environment: &[(&str, &str)]) -> Result<RunPlan, Failure> {
    with(line, environment, RunPlan::new)
}

fn error(line: &[&str], environment: &[(&str, &str)]) -> String {
    match run(line, environment) {
        Ok(plan) => panic!("{line:?}: {}", plan.describe(&Resolved::default())),
        Err(failure) => {
            assert_eq!(failure.exit, crate::exit::Exit::Failed, "{line:?}");
            failure.message
        }
    }
}

const URL: (&str, &str) = ("DATABASE_URL", "postgres://app:hunter2@db:5432/shop");

#[test]
fn the_steps_follow_from_the_options() {
    let table: &[(&[&str], &[Stage])] = &[
        (&["uvicorn"], &[]),
        (&["--wait", "db:5432", "uvicorn"], &[Stage::Wait]),
        (&["--database", "DATABASE_URL", "uvicorn"], &[Stage::Wait]),
        (
            &["--database", "DATABASE_URL", "--migrate", "a", "uvicorn"],
            &[Stage::Wait, Stage::Migrate],
        ),
        (
            &["--no-lock", "--migrate", "a", "uvicorn"],
            &[Stage::Migrate],
        ),
        (
            &[
                "--database",
                "DATABASE_URL",
                "--migrate",
                "a",
                "--skip",
                "wait",
                "uvicorn",
            ],
            &[Stage::Migrate],
        ),
        (
            &[
                "--database",
                "DATABASE_URL",
                "--migrate",
                "a",
                "--skip",
                "migrate",
                "uvicorn",
            ],
            &[Stage::Wait],
        ),
        (
            &[
                "--database",
                "DATABASE_URL",
                "--migrate",
                "a",
                "--skip",
                "wait,migrate",
                "uvicorn",
            ],
            &[],
        ),
        (
            &[
                "--wait",
                "db:1",
                "--only-for",
                "gunicorn uvicorn",
                "/usr/bin/uvicorn",
            ],
            &[Stage::Wait],
        ),
        (&["--wait", "db:1", "--only-for", "uvicorn", "bash"], &[]),
        // What is not done is not asked to make sense: the image must start for a look around without a database.
        (
            &[
                "--database",
                "UNSET",
                "--migrate",
                "a",
                "--only-for",
                "uvicorn",
                "bash",
            ],
            &[],
        ),
        (&["--wait", "${UNSET:-}", "uvicorn"], &[]),
    ];
    for (line, stages) in table {
        let plan = run(line, &[URL]);
        assert_eq!(
            plan.map(|plan| plan.stages),
            Ok(stages.to_vec()),
            "{line:?}"
        );
    }
}

#[test]
fn a_variable_is_as_good_as_its_option_and_the_command_line_wins() {
    let environment = [
        URL,
        ("PORTERO_DATABASE", "DATABASE_URL"),
        (
            "PORTERO_MIGRATE",
            "alembic upgrade head && seed 'a b'\nwarm",
        ),
        ("PORTERO_WAIT", "a:1  b:2"),
        ("PORTERO_WAIT_TIMEOUT", "5"),
        ("PORTERO_STOP_TIMEOUT", ""),
        ("PORTERO_SIGNAL_GROUP", "yes"),
        ("PORTERO_EXEC", "off"),
    ];
    let plan = run(
        &["--wait-timeout", "7s", "--wait", "c:3", "--", "uvicorn"],
        &environment,
    );
    let plan = plan.expect("a plan");
    let wait = plan.wait.clone().expect("a wait");
    let shown: Vec<String> = wait.targets.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["c:3", "DATABASE_URL (postgres://app@db:5432/shop)"]);
    assert_eq!(wait.timeout, Some(Duration::from_secs(7)));
    assert_eq!(
        plan.migrate.clone().expect("migrations").commands,
        [
            vec![vec!["alembic", "upgrade", "head"], vec!["seed", "a b"]],
            vec![vec!["warm"]]
        ]
    );
    assert!(plan.supervision.group && !plan.exec);
    assert_eq!(plan.supervision.stop_timeout, None);
    assert_eq!(plan.supervision.orphan_grace, Some(Duration::from_secs(5)));
}

/// A command line, an environment, and the message they end with.
type Case = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static str,
);

#[test]
fn a_usage_error_names_where_it_was_made() {
    let table: &[Case] = &[
        (
            &[],
            &[],
            "there is no COMMAND: say what to run, e.g. portero -- uvicorn main:app (see 'portero --help')",
        ),
        (
            &["--", ""],
            &[],
            "there is no COMMAND: say what to run, e.g. portero -- uvicorn main:app (see 'portero --help')",
        ),
        (
            &["--user", "${UNSET:-}", "x"],
            &[],
            "--user: it is empty: user, user:group, uid or uid:gid",
        ),
        (
            &["x"],
            &[("PORTERO_USER", "${NOBODY:-}")],
            "PORTERO_USER: it is empty: user, user:group, uid or uid:gid",
        ),
        (
            &["x"],
            &[("PORTERO_EXEC", "maybe")],
            "PORTERO_EXEC: 'maybe' is neither 1, true, yes, on nor 0, false, no, off",
        ),
        (
            &["--skip", "all", "x"],
            &[],
            "--skip: 'all' is not wait or migrate",
        ),
        (
            &["--keep-cap", "net_bind", "x"],
            &[],
            "--keep-cap: 'net_bind' is not a capability, e.g. net_bind_service (capabilities(7) lists them)",
        ),
        (
            &["--map-exit", "143", "x"],
            &[],
            "--map-exit: '143' is not CODE=CODE, each 0-255, e.g. 143=0",
        ),
        (
            &["--map-exit", "256=0", "x"],
            &[],
            "--map-exit: '256=0' is not CODE=CODE, each 0-255, e.g. 143=0",
        ),
        (
            &["--map-signal", "TERM", "x"],
            &[],
            "--map-signal: 'TERM' is not FROM=TO, e.g. TERM=QUIT",
        ),
        (
            &["--exec", "--map-exit", "1=0", "x"],
            &[],
            "--exec: COMMAND replaces portero, so --map-exit would do nothing: leave out one of the two",
        ),
        (
            &["--stop-delay", "5s", "x"],
            &[("PORTERO_EXEC", "1")],
            "PORTERO_EXEC: COMMAND replaces portero, so --stop-delay would do nothing: leave out one of the two",
        ),
        (
            &["--stop-timeout", "0", "x"],
            &[],
            "--stop-timeout: '0' would be no time at all: say 'none' for no limit, or a real time such as 5s",
        ),
        (
            &["x"],
            &[("PORTERO_ORPHAN_GRACE", "0s")],
            "PORTERO_ORPHAN_GRACE: '0s' would be no time at all: say 'none' for no limit, or a real time such as 5s",
        ),
        (
            &["--expand-args", "x", "${UNSET}"],
            &[],
            "--expand-args: the variable UNSET is not set",
        ),
        (
            &["--migrate", "a", "x"],
            &[],
            "--migrate: needs --database for its lock, or --no-lock to run without one",
        ),
        (
            &["--chown", "/data", "x"],
            &[],
            "--chown: needs --user, to say whose the files are to be",
        ),
        (
            &["--no-lock", "--migrate", "a", "x"],
            &[("PORTERO_MIGRATE_ONCE", "v1")],
            "PORTERO_MIGRATE_ONCE: works under the migration lock only: leave out --no-lock, or this",
        ),
    ];
    for (line, environment, message) in table {
        assert_eq!(error(line, environment), *message, "{line:?}");
    }
}

#[test]
fn only_postgres_holds_the_lock_and_no_error_shows_a_password() {
    for url in [
        "http://app:hunter2@db/x",
        "redis://:hunter2@db",
        "mysql://app:hunter2@db/x",
        "postgres://app:hunter2@db:port/x",
        "host=db password=hunter2://x port=none",
        "password='hunter2' mysql://db",
    ] {
        let message = error(&["--database", url, "--migrate", "a", "x"], &[]);
        assert!(
            message.starts_with("--database: ") && !message.contains("hunter2"),
            "{message}"
        );
        let message = error(
            &["--wait", "CACHE", "x"],
            &[("CACHE", &format!("nonsense {url}"))],
        );
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_database_of_another_kind_is_named_by_its_scheme_alone() {
    for (url, said) in [
        ("mysql://db", Some("a mysql:// URL is not Postgres")),
        ("MySQL://db", Some("a mysql:// URL is not Postgres")),
        (
            " \"mysql+aiomysql://db\"",
            Some("a mysql+aiomysql:// URL is not Postgres"),
        ),
        ("'postgres://db:port/x'", None),
        ("host=db dbname=x://y port=none", None),
    ] {
        let message = error(&["--database", url, "--migrate", "a", "x"], &[]);
        match said {
            Some(said) => assert!(message.contains(said), "{url}: {message}"),
            None => assert!(!message.contains("is not Postgres"), "{url}: {message}"),
        }
    }
}

#[test]
fn a_stage_gets_what_was_typed_as_variables_and_nothing_that_is_done() {
    let line = [
        "--user",
        "1:1",
        "--default",
        "A=b",
        "--map-signal",
        "TERM=QUIT",
        "--wait",
        "x:1",
        "--wait",
        "${HOST}:2",
        "--database",
        "DATABASE_URL",
        "--migrate",
        "a '${HOST}'",
        "-q",
        "--stop-delay",
        "9",
        "uvicorn",
    ];
    let plan = run(&line, &[URL, ("HOST", "h"), ("PORTERO_LOCK_NAME", "mine")]).expect("a plan");
    let stage = plan.stage_environment(Stage::Wait);
    let table = [
        ("PORTERO_WAIT", Some("x:1 ${HOST}:2")),
        ("PORTERO_DATABASE", Some("DATABASE_URL")),
        ("PORTERO_MIGRATE", Some("a '${HOST}'")),
        ("PORTERO_LOG_LEVEL", Some("error")),
        ("PORTERO_LOCK_NAME", Some("mine")),
        ("PORTERO_USER", None),
        ("PORTERO_DEFAULT", None),
        (
            "PORTERO_MAP_SIGNAL",
            Some("SIGINT=SIGTERM SIGQUIT=SIGTERM SIGTERM=SIGTERM SIGRTMIN+3=SIGTERM"),
        ),
        ("PORTERO_STOP_DELAY", None),
        ("A", Some("b")),
    ];
    for (name, value) in table {
        assert_eq!(stage.get(name), value.map(OsStr::new), "{name}");
    }
    assert_eq!(
        plan.stage_environment(Stage::Migrate).get("PORTERO_WAIT"),
        None
    );
}

#[test]
fn typos_in_variables_and_unexpanded_references_are_warned_about() {
    let warnings = |line: &[&str], name: &str| run(line, &[(name, "x")]).expect("a plan").warnings;
    assert_eq!(
        warnings(&["x"], "PORTERO_WIAT"),
        ["PORTERO_WIAT is not a variable of portero's: a typo?"]
    );
    for known in [
        "PORTERO_PORT",
        "PORTERO_PORT_8000_TCP",
        "PORTERO_SERVICE_HOST",
        "PORTERO_HEALTH_TARGET",
        "PORTERO_HEALTH_PATH",
    ] {
        assert!(warnings(&["x"], known).is_empty(), "{known}");
    }
    assert_eq!(
        warnings(&["x", "--port", "${PORT}"], "A"),
        ["COMMAND gets a literal ${…} in its arguments: --expand-args would expand it"]
    );
    assert!(warnings(&["sh", "-c", "echo ${HOME}"], "A").is_empty());
}

#[test]
fn the_health_check_finds_its_port() {
    let target = |line: &[&str], environment: &[(&str, &str)]| {
        let line = [&["healthcheck"], line].concat();
        with(&line, environment, |settings, _| ProbePlan::new(settings))
            .map(|plan| plan.targets[0].to_string())
    };
    let shown = |text: &str| Ok(String::from(text));
    let (port, default) = (("PORT", "8001"), ("PORTERO_DEFAULT_PORT", "8002"));
    assert_eq!(
        target(&["--port", "80"], &[port, default]),
        shown("http://127.0.0.1:80/health")
    );
    assert_eq!(
        target(&[], &[port, default, ("PORTERO_HEALTH_PORT", "81")]),
        shown("http://127.0.0.1:81/health")
    );
    assert_eq!(
        target(&[], &[port, default]),
        shown("http://127.0.0.1:8001/health")
    );
    assert_eq!(
        target(&[], &[default, ("PORTERO_HEALTH_PATH", "/up")]),
        shown("http://127.0.0.1:8002/up")
    );
    assert_eq!(
        target(&[], &[port, ("PORTERO_HEALTH_TARGET", "db:1")]),
        shown("db:1")
    );
    assert_eq!(
        target(&["db:2"], &[port, ("PORTERO_HEALTH_TARGET", "db:1")]),
        shown("db:2")
    );
    for (line, environment) in [
        (&[][..], &[][..]),
        (&["--port", "0"], &[port]),
        (&[], &[("PORT", "80a")]),
    ] {
        assert!(target(line, environment).is_err(), "{line:?}");
    }
}

#[test]
fn what_an_image_sets_counts_for_nothing_beside_exec_and_no_delay_may_be_spelled_0() {
    let environment = [
        ("PORTERO_STOP_DELAY", "5s"),
        ("PORTERO_MAP_EXIT", "143=0"),
        ("PORTERO_SIGNAL_GROUP", "1"),
    ];
    assert!(run(&["--exec", "x"], &environment).expect("a plan").exec);
    for zero in ["0", "0s", "0ms", "none"] {
        let plan = run(&["--stop-delay", zero, "x"], &environment).expect("a plan");
        assert_eq!(plan.supervision.stop_delay, None, "{zero}");
    }
}
