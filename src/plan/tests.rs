use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::*;
use crate::cli;
use crate::cli::Asked;
use crate::environment::resolved::Resolved;
use crate::exit::{Exit, Failure};
use crate::settings::Settings;
use crate::supervise::helper::Stops;
use crate::table::{pairs, rows, words};
use crate::variables::resolve;

const URL: &str = "DATABASE_URL=postgres://app:hunter2@db:5432/shop";

/// The resolved settings of a line and of variables, `NAME=VALUE` each, handed to `make`.
fn with<T>(
    line: &str,
    variables: &str,
    make: impl FnOnce(&Settings<'_>, &Resolved) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let arguments: Vec<OsString> = words(line).into_iter().map(OsString::from).collect();
    let Asked::Work(typed) = cli::parse(&arguments)? else {
        panic!("{line:?} only prints");
    };
    let inherited = pairs(variables).into_iter().collect();
    let settings = Settings {
        typed: &typed,
        environment: &inherited,
    };
    let resolved = resolve(&settings, Stops::Handled)?;
    let environment = &resolved.environment;
    make(
        &Settings {
            environment,
            ..settings
        },
        &resolved,
    )
}

fn run(line: &str, variables: &str) -> Result<RunPlan, Failure> {
    with(line, variables, |settings, resolved| {
        RunPlan::new(settings, resolved, &|_| true)
    })
}

fn error(line: &str, variables: &str) -> String {
    match run(line, variables) {
        Ok(plan) => panic!("{line:?}: {}", plan.describe(&Resolved::default())),
        Err(failure) => {
            assert_eq!(failure.exit, Exit::Failed, "{line:?}");
            failure.message
        }
    }
}

#[test]
fn the_steps_follow_from_the_options() {
    // What is not done is not asked to make sense: the image must start for a look around without a database.
    let table = r#"
        -             uvicorn
        wait          --wait db:5432 uvicorn
        wait          --database DATABASE_URL uvicorn
        wait migrate  --database DATABASE_URL --migrate a uvicorn
        migrate       --no-lock --migrate a uvicorn
        migrate       --database DATABASE_URL --migrate a --skip wait uvicorn
        wait          --database DATABASE_URL --migrate a --skip migrate uvicorn
        -             --database DATABASE_URL --migrate a --skip wait,migrate uvicorn
        wait          --wait db:1 --only-for 'gunicorn uvicorn' /usr/bin/uvicorn
        -             --wait db:1 --only-for uvicorn bash
        wait          --wait db:1 --only-for 'x "rails server"' ./bin/rails server -p 80
        -             --wait db:1 --only-for 'x "rails server"' ./bin/rails console
        -             --wait db:1 --only-for '"rails server"' rails
        wait          --wait db:1 --only-for '"bundle exec puma"' bundle exec /usr/bin/puma
        -             --no-lock --migrate 'if:NO a && b' uvicorn
        migrate       --no-lock --migrate 'if:NO a' --migrate 'unless:NO b' uvicorn
        -             --database UNSET --migrate a --only-for uvicorn bash
        -             --wait ${UNSET:-} uvicorn
    "#;
    for [stages, line] in rows(table) {
        let stage = |name: &str| {
            if name == "wait" {
                Stage::Wait
            } else {
                Stage::Migrate
            }
        };
        let stages = stages.split_whitespace().map(stage).collect();
        assert_eq!(run(line, URL).map(|plan| plan.stages), Ok(stages), "{line}");
    }
}

#[test]
fn a_variable_is_as_good_as_its_option_and_the_command_line_wins() {
    let variables = "PORTERO_DATABASE=DATABASE_URL 'PORTERO_WAIT=a:1  b:2' PORTERO_WAIT_TIMEOUT=5 \
        PORTERO_STOP_TIMEOUT= PORTERO_SIGNAL_GROUP=yes PORTERO_EXEC=off \
        \"PORTERO_MIGRATE=alembic upgrade head && seed 'a b'\nwarm\"";
    let variables = format!("{URL} {variables}");
    let plan = run("--wait-timeout 7s --wait c:3 -- uvicorn", &variables).expect("a plan");
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

#[test]
fn a_usage_error_names_where_it_was_made() {
    let table = r"
        -      -
        => there is no COMMAND: say what to run, e.g. portero -- uvicorn main:app (see 'portero --help')
        -- ''  -
        => there is no COMMAND: say what to run, e.g. portero -- uvicorn main:app (see 'portero --help')
        --user ${UNSET:-} x  -
        => --user: it is empty: user, user:group, uid or uid:gid
        x  PORTERO_USER=${NOBODY:-}
        => PORTERO_USER: it is empty: user, user:group, uid or uid:gid
        x  PORTERO_EXEC=maybe
        => PORTERO_EXEC: 'maybe' is neither 1, true, yes, on nor 0, false, no, off
        --skip all x  -
        => --skip: 'all' is not wait, migrate or prepare
        --keep-cap net_bind x  -
        => --keep-cap: 'net_bind' is not a capability, e.g. net_bind_service (capabilities(7) lists them)
        --map-exit 143 x  -
        => --map-exit: '143' is not CODE=CODE, each 0-255, e.g. 143=0
        --map-exit 256=0 x  -
        => --map-exit: '256=0' is not CODE=CODE, each 0-255, e.g. 143=0
        --map-signal TERM x  -
        => --map-signal: 'TERM' is not FROM=TO, e.g. TERM=QUIT
        --exec --map-exit 1=0 x  -
        => --exec: COMMAND replaces portero, so --map-exit would do nothing: leave out one of the two
        --stop-delay 5s x  PORTERO_EXEC=1
        => PORTERO_EXEC: COMMAND replaces portero, so --stop-delay would do nothing: leave out one of the two
        --stop-timeout 0 x  -
        => --stop-timeout: '0' would be no time at all: say 'none' for no limit, or a real time such as 5s
        x  PORTERO_ORPHAN_GRACE=0s
        => PORTERO_ORPHAN_GRACE: '0s' would be no time at all: say 'none' for no limit, or a real time such as 5s
        --expand-args x ${UNSET}  -
        => --expand-args: the variable UNSET is not set
        --migrate a x  -
        => --migrate: needs --database for its lock, or --no-lock to run without one
        --chown /data x  -
        => --chown: needs --user, to say whose the files are to be
        --no-lock --migrate a x  PORTERO_MIGRATE_ONCE=v1
        => PORTERO_MIGRATE_ONCE: works under the migration lock only: leave out --no-lock, or this
    ";
    for [line, variables, message] in rows(table) {
        assert_eq!(error(line, variables), message, "{line:?}");
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
        let message = error(&format!("--database \"{url}\" --migrate a x"), "");
        assert!(message.starts_with("--database: "), "{message}");
        let variable = format!("\"CACHE=nonsense {url}\"");
        for message in [message, error("--wait CACHE x", &variable)] {
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}

#[test]
fn a_database_of_another_kind_is_named_by_its_scheme_alone() {
    let table = r#"
        mysql://db                        a mysql:// URL is not Postgres
        MySQL://db                        a mysql:// URL is not Postgres
        ' "mysql+aiomysql://db"'          a mysql+aiomysql:// URL is not Postgres
        "'postgres://db:port/x'"          -
        'host=db dbname=x://y port=none'  -
    "#;
    for [url, said] in rows(table) {
        let message = error(&format!("--database {url} --migrate a x"), "");
        let is_other = message.contains("is not Postgres");
        assert!(
            message.contains(said) && is_other != said.is_empty(),
            "{url}: {message}"
        );
    }
}

#[test]
fn without_the_lock_the_database_is_any_target_and_a_file_is_none_to_wait_for() {
    let table = r#"
        mysql://app:hunter2@db/shop              only the port of mysql://db:3306
        redis://:hunter2@cache                   redis://cache:6379
        db:5432                                  db:5432
        postgres://app:hunter2@db/shop           postgres://app@db:5432/shop
        sqlite:///app.db                         -
        sqlite+aiosqlite:///./app.db             -
        sqlite3:db/production.sqlite3            -
        jdbc:sqlite:app.db                       -
        "'sqlite:///app.db'"                     -
        file:./dev.db                            -
    "#;
    for [url, target] in rows(table) {
        let line = format!("--database {url} --migrate a x");
        let plan = run(&format!("--no-lock {line}"), "").expect("a plan");
        assert_eq!(plan.wait.is_none(), target.is_empty(), "{url}");
        let migrate = plan.migrate.expect("a migration");
        let shown: Vec<String> = migrate
            .wait
            .targets
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            (shown.join(" "), migrate.database.is_none()),
            (target.to_owned(), true),
            "{url}"
        );
        if !url.starts_with("postgres") {
            let message = error(&line, "");
            assert!(
                message.contains("with --no-lock --database takes any target"),
                "{message}"
            );
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}

#[test]
fn a_stage_gets_what_was_typed_as_variables_and_nothing_that_is_done() {
    let line = "--user 1:1 --default A=b --map-signal TERM=QUIT --wait x:1 --wait ${HOST}:2 \
        --database DATABASE_URL --migrate \"a '${HOST}'\" -q --stop-delay 9 uvicorn";
    let plan = run(line, &format!("{URL} HOST=h PORTERO_LOCK_NAME=mine")).expect("a plan");
    let stage = plan.stage_environment(Stage::Wait);
    let table = r"
        PORTERO_WAIT        x:1 ${HOST}:2
        PORTERO_DATABASE    DATABASE_URL
        PORTERO_MIGRATE     a '${HOST}'
        PORTERO_LOG_LEVEL   error
        PORTERO_LOCK_NAME   mine
        PORTERO_MAP_SIGNAL  SIGINT=SIGTERM SIGQUIT=SIGTERM SIGTERM=SIGTERM SIGRTMIN+3=SIGTERM
        A                   b
    ";
    for [name, value] in rows(table) {
        assert_eq!(stage.get(name), Some(OsStr::new(value)), "{name}");
    }
    for name in ["PORTERO_USER", "PORTERO_DEFAULT", "PORTERO_STOP_DELAY"] {
        assert_eq!(stage.get(name), None, "{name}");
    }
    let migrate = plan.stage_environment(Stage::Migrate);
    assert_eq!(migrate.get("PORTERO_WAIT"), None);
}

#[test]
fn typos_in_variables_and_unexpanded_references_are_warned_about() {
    let warnings = |line: &str, name: &str| {
        let plan = run(line, &format!("{name}=x"));
        plan.expect("a plan").warnings
    };
    let typo = "PORTERO_WIAT is not a variable of portero's: a typo?";
    assert_eq!(warnings("x", "PORTERO_WIAT"), [typo]);
    let known = "PORTERO_PORT PORTERO_PORT_8000_TCP PORTERO_SERVICE_HOST \
        PORTERO_HEALTH_TARGET PORTERO_HEALTH_PATH";
    for known in known.split_whitespace() {
        assert!(warnings("x", known).is_empty(), "{known}");
    }
    let literal = "COMMAND gets a literal ${…} in its arguments: --expand-args would expand it";
    assert_eq!(warnings("x --port ${PORT}", "A"), [literal]);
    assert!(warnings("sh -c 'echo ${HOME}'", "A").is_empty());
}

#[test]
fn the_health_check_finds_its_port() {
    let table = r"
        --port 80  PORT=8001 PORTERO_DEFAULT_PORT=8002                        http://127.0.0.1:80/health
        -          PORT=8001 PORTERO_DEFAULT_PORT=8002 PORTERO_HEALTH_PORT=81  http://127.0.0.1:81/health
        -          PORT=8001 PORTERO_DEFAULT_PORT=8002                        http://127.0.0.1:8001/health
        -          PORTERO_DEFAULT_PORT=8002 PORTERO_HEALTH_PATH=/up          http://127.0.0.1:8002/up
        -          PORT=8001 PORTERO_HEALTH_TARGET=db:1                       db:1
        db:2       PORT=8001 PORTERO_HEALTH_TARGET=db:1                       db:2
        -          -                                                          -
        --port 0   PORT=8001                                                  -
        -          PORT=80a                                                   -
    ";
    for [line, variables, target] in rows(table) {
        let plan = with(&format!("healthcheck {line}"), variables, |settings, _| {
            ProbePlan::new(settings)
        });
        let found = plan.map(|plan| plan.targets[0].to_string());
        assert_eq!(found.unwrap_or_default(), target, "{line} {variables}");
    }
}

#[test]
fn what_an_image_sets_counts_for_nothing_beside_exec_and_no_delay_may_be_spelled_0() {
    let variables = "PORTERO_STOP_DELAY=5s PORTERO_MAP_EXIT=143=0 PORTERO_SIGNAL_GROUP=1";
    assert!(run("--exec x", variables).expect("a plan").exec);
    for zero in ["0", "0s", "0ms", "none"] {
        let plan = run(&format!("--stop-delay {zero} x"), variables).expect("a plan");
        assert_eq!(plan.supervision.stop_delay, None, "{zero}");
    }
}
