//! The ways around: shells, `docker exec`, rollbacks, liveness probes, other stop signals.

use std::time::Duration;

use crate::common::{DEADLINE, Ended, Run, Terminal, tool};
use crate::engine::{Container, Network, docker, docker_with, unique};
use crate::images;
use crate::postgres::{self, query};
use crate::production::{STOP_LIMIT, assert_runs_as, assert_stops};

/// `docker run -it --rm OPTIONS IMAGE bash` on a terminal.
fn interactive(image: &str, options: &[&str]) -> Terminal {
    let run = Run::program(tool("docker"))
        .args(["run", "-it", "--rm", "--name", &unique("tty")])
        .args(options)
        .args([image, "bash", "--norc"]);
    Terminal::start(run.env("TERM", "xterm"))
}

#[test]
fn an_interactive_shell_neither_waits_nor_migrates_and_has_job_control() {
    let image = images::fastapi("fastapi");
    let url = postgres::url();
    for options in [&["--env", &url][..], &["--env", &url, "--init"]] {
        let mut terminal = interactive(&image, options);
        terminal.expect("$", DEADLINE);
        terminal.send("sleep 1000\n");
        terminal.expect("1000", DEADLINE);
        terminal.send("\x1a");
        terminal.expect("Stopped", DEADLINE);
        terminal.send("jobs; fg\n");
        terminal.expect("sleep 1000\r\nsleep 1000", DEADLINE);
        terminal.send("\x03");
        terminal.expect("$", DEADLINE);
        terminal.send("exit 7\n");
        assert_eq!(terminal.wait(Duration::from_secs(60)), Ended::Code(7));
        let screen = terminal.screen();
        assert!(!screen.contains("no job control"), "{screen}");
        assert!(!screen.contains("waiting for"), "{screen}");
    }
}

#[test]
fn docker_exec_works_beside_it() {
    let image = images::fastapi("fastapi");
    let network = Network::new();
    let database = postgres::start(&network);
    let url = postgres::url();
    let options = ["--network", network.name(), "--env", &url];
    let container = Container::run(&image, &options, &[]);
    assert_runs_as(&container, 1000);
    container
        .exec(&["python", "-c", "print(6 * 7)"])
        .assert_exit(0)
        .assert_stdout("42\n");
    container.exec(&["/portero", "healthcheck"]).assert_exit(0);
    container
        .exec(&["/portero", "wait", "db:5432"])
        .assert_exit(0);
    container
        .exec(&["/portero", "--", "sh", "-c", "exit 3"])
        .assert_exit(3);
    // Its own migrations under the same lock, by hand.
    container.exec(&["/portero", "migrate"]).assert_exit(0);
    drop(database);
    container.exec(&["/portero", "healthcheck"]).assert_exit(1);
}

#[test]
fn a_replica_killed_in_mid_migration_leaves_the_migration_to_another() {
    let image = images::fastapi("fastapi");
    let network = Network::new();
    let database = postgres::start(&network);
    let url = postgres::url();
    let slow = [
        "--env",
        "PORTERO_MIGRATE=alembic upgrade head && python -c 'import time; time.sleep(3)'",
    ];
    let options = [&["--network", network.name(), "--env", &url][..], &slow].concat();
    let first = Container::run(&image, &options, &[]);
    first.until_said("migration 1 of 2: alembic");
    let second = Container::run(&image, &options, &[]);
    docker(&["kill", "--signal", "KILL", first.name()]);
    assert_runs_as(&second, 1000);
    assert_eq!(query(&database, "SELECT count(*) FROM migration_runs"), "1");
    assert_eq!(first.until_ended(), 137);
}

#[test]
fn a_liveness_probe_does_not_kill_a_long_migration() {
    let image = images::fastapi("fastapi");
    let network = Network::new();
    let _database = postgres::start(&network);
    let url = postgres::url();
    let slow = [
        "--env",
        "PORTERO_MIGRATE=sleep 1000",
        "--health-interval=1h",
    ];
    for init in [&[][..], &["--init"]] {
        let options = [
            &["--network", network.name(), "--env", &url][..],
            &slow,
            init,
        ]
        .concat();
        let container = Container::run(&image, &options, &[]);
        container.until("migrating", || {
            let probed = container.exec(&["/portero", "healthcheck"]);
            probed.assert_exit(1);
            probed
                .stderr
                .contains("unhealthy: portero is still migrating (")
                .then_some(())
        });
        container
            .exec(&["/portero", "healthcheck", "--live"])
            .assert_exit(0);
        let (took, code) = container.stop();
        assert_eq!(code, 143, "{}", container.report());
        assert!(took < STOP_LIMIT, "{took:?}{}", container.report());
    }
}

#[test]
fn the_images_own_stop_signal_is_forwarded() {
    let image = images::app("nginx");
    let options = ["--stop-signal", "SIGQUIT", "--entrypoint", "/portero"];
    let container = Container::run(&image, &options, &["--", "nginx", "-g", "daemon off;"]);
    assert_runs_as(&container, 33);
    assert_stops(&container, 0);
}

/// With real alembic: an older image does not know the newer one's revision, and its `upgrade head` fails.
#[test]
fn after_a_rollback_the_older_image_starts_on_the_newer_database() {
    let older = images::fastapi("fastapi");
    let context = crate::common::TempDir::new();
    context.file(
        "Dockerfile",
        &format!("FROM {older}\nCOPY 0002_second.py /app/migrations/versions/\n"),
    );
    context.file(
        "0002_second.py",
        "from alembic import op\nrevision = '0002'\ndown_revision = '0001'\n\n\
         def upgrade():\n    op.execute('CREATE TABLE second ()')\n",
    );
    let newer = images::build("app-fastapi-v2", &context, &[]);
    let network = Network::new();
    let database = postgres::start(&network);
    let url = postgres::url();
    let options = ["--network", network.name(), "--env", &url, "--env"];
    for (image, version, revision) in [
        (&older, "v1", "0001"),
        (&newer, "v2", "0002"),
        (&older, "v1", "0002"),
    ] {
        let once = format!("PORTERO_MIGRATE_ONCE={version}");
        let container = Container::run(image, &[&options[..], &[&once]].concat(), &[]);
        assert_runs_as(&container, 1000);
        assert_eq!(
            query(&database, "SELECT version_num FROM alembic_version"),
            revision
        );
        assert_stops(&container, 0);
    }
    let without = Container::run(&older, &options[..4], &[]);
    assert_ne!(without.until_ended(), 0);
    assert!(
        without.logs().contains("Can't locate revision"),
        "{}",
        without.report()
    );
    docker_with(&["rmi", &newer]);
}
