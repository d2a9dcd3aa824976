//! The migration lock lives exactly as long as the migration's processes, whoever is killed and whatever happens to the
//! server or to the connection. `PORTERO_TEST_LONG=1` adds the server that never comes back, and the network that swallows everything,
//! which take half a minute each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod common;

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use common::migration::{Migrations, Role, TICKING, family, pids_of};
use common::proxy::Proxy;
use common::{Ended, Postgres, Process, Run, poll_until, portero};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn migrate(url: &str, migrations: &Migrations, name: &str) -> Run {
    Run::portero()
        .env("DATABASE_URL", url)
        .args([
            "migrate",
            "--database",
            "DATABASE_URL",
            "--orphan-grace",
            "1s",
        ])
        .arg("--")
        .arg(migrations.script())
        .arg(name)
}

/// The same as a stage of PID 1.
fn run(url: &str, migrations: &Migrations, name: &str) -> Run {
    let script = migrations.script();
    Run::as_pid1()
        .env("DATABASE_URL", url)
        .args(["--database", "DATABASE_URL", "--orphan-grace", "1s"])
        .args(["--migrate", &format!("{} {name}", script.display())])
        .args(["--", "echo", "command"])
}

/// A shell as PID 1, so that what is orphaned there is left alone, and ends with the test.
fn beside_a_shell(url: &str, migrations: &Migrations, options: &str) -> Process {
    let line = format!(
        "{} migrate --database DATABASE_URL {options} -- {} one & while :; do sleep 1000; done",
        portero().display(),
        migrations.script().display()
    );
    Run::program("/bin/sh")
        .pid1()
        .env("DATABASE_URL", url)
        .args(["-c", &line])
        .start()
}

#[track_caller]
fn kill_9(process: &Process, role: Role) {
    let pids = pids_of(process, role);
    assert!(!pids.is_empty(), "nobody is {role:?}{process}");
    kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
}

#[track_caller]
fn until_survivor(process: &Process) {
    let survives = || (pids_of(process, Role::Survivor).len() == 1).then_some(());
    assert!(
        poll_until(common::DEADLINE, survives).is_some(),
        "{process}"
    );
}

fn until_waiting(process: &mut Process) {
    process.until_stderr("waiting for the migration lock");
}

#[test]
fn whoever_is_killed_the_next_migration_starts_after_the_last_process_of_this_one() {
    let server = Postgres::start();
    let url = server.url(&server.create_db());
    for (victim, ended) in [
        (Role::Init, Ended::Signal(9)),
        (Role::Stage, Ended::Code(137)),
        (Role::Leader, Ended::Code(137)),
    ] {
        let migrations = Migrations::new(&family());
        let one = run(&url, &migrations, "one").start();
        migrations.until_log("begin one");
        until_survivor(&one);
        let mut two = run(&url, &migrations, "two").start();
        until_waiting(&mut two);
        kill_9(&one, victim);
        assert_eq!(one.wait().ended, ended, "{victim:?}");
        migrations.until_log("begin two");
        migrations.touch("go");
        two.wait().assert_exit(0);
        migrations.assert_alone();
    }
}

#[test]
fn a_child_that_closes_what_it_inherits_is_killed_with_the_stage_before_another_migrates() {
    let server = Postgres::start();
    let url = server.url(&server.create_db());
    // As Node does for its children: all but the standard streams.
    let migrations = Migrations::new(&format!(
        "setsid bash -c 'for fd in /proc/self/fd/*; do fd=${{fd##*/}}; [ $fd -lt 3 ] || eval \"exec $fd>&-\"; done; \
         trap \"\" TERM; touch closed; {}' \"$1\" survivor & {TICKING}; wait",
        TICKING.replace("\"tick $1\"", "tick $0")
    ));
    let one = run(&url, &migrations, "one").start();
    migrations.until_log("begin one");
    let closed = || migrations.exists("closed").then_some(());
    assert!(poll_until(common::DEADLINE, closed).is_some(), "{one}");
    let mut two = run(&url, &migrations, "two").start();
    until_waiting(&mut two);
    kill_9(&one, Role::Stage);
    assert_eq!(one.wait().ended, Ended::Code(137));
    migrations.until_log("begin two");
    migrations.touch("go");
    two.wait().assert_exit(0);
    migrations.assert_alone();
}

/// Whether the server still shows the lock half a second later.
fn stays_held(server: &Postgres) -> bool {
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    let freed = || (server.psql("postgres", held) == "0").then_some(());
    poll_until(Duration::from_millis(500), freed).is_none()
}

#[test]
fn the_lock_outlives_portero_as_long_as_its_migration_lives_over_every_kind_of_connection() {
    let server = Postgres::options().tls().start();
    let database = server.create_db();
    let socket = server
        .socket_directory()
        .display()
        .to_string()
        .replace('/', "%2F");
    for url in [
        server.url(&database),
        format!("{}?sslmode=require", server.url(&database)),
        format!("postgres://postgres@{socket}:{}/{database}", server.port()),
    ] {
        let migrations = Migrations::new(&family());
        let shell = beside_a_shell(&url, &migrations, "");
        migrations.until_log("begin one");
        until_survivor(&shell);
        kill_9(&shell, Role::Stage);
        let leader_gone = || pids_of(&shell, Role::Leader).is_empty().then_some(());
        assert!(
            poll_until(common::DEADLINE, leader_gone).is_some(),
            "{shell}"
        );
        // A shell that has just forked to sleep looks like two.
        let one_survives = || (pids_of(&shell, Role::Survivor).len() == 1).then_some(());
        assert!(
            poll_until(common::DEADLINE, one_survives).is_some(),
            "{shell}"
        );
        assert!(stays_held(&server), "free while a process is left: {url}");
        let mut two = migrate(&url, &migrations, "two").start();
        until_waiting(&mut two);
        migrations.touch("go");
        two.wait().assert_exit(0);
        migrations.assert_alone();
    }
}

#[test]
fn what_a_migration_leaves_alone_with_orphan_grace_none_keeps_the_lock() {
    let server = Postgres::start();
    let url = server.url(&server.create_db());
    let migrations =
        Migrations::new("setsid sh -c 'until [ -e go ]; do sleep 0.02; done' survivor &");
    let shell = beside_a_shell(&url, &migrations, "--orphan-grace none");
    migrations.until_log("end one");
    let portero_gone = || pids_of(&shell, Role::Stage).is_empty();
    assert!(poll_until(common::DEADLINE, || portero_gone().then_some(())).is_some());
    assert!(stays_held(&server), "free while a process is left");
    migrations.touch("go");
    migrate(&url, &migrations, "two").finish().assert_exit(0);
    migrations.assert_alone();
}

#[test]
fn a_stopped_migration_keeps_the_lock_until_it_has_ended() {
    let server = Postgres::start();
    let url = server.url(&server.create_db());
    let migrations =
        Migrations::new("trap 'echo stopping >> log' TERM; until [ -e go ]; do sleep 0.02; done");
    let one = run(&url, &migrations, "one").start();
    migrations.until_log("begin one");
    let mut two = run(&url, &migrations, "two").start();
    until_waiting(&mut two);
    one.signal(Signal::SIGTERM);
    migrations.until_log("stopping");
    assert!(stays_held(&server), "free while it cleans up");
    migrations.touch("go");
    one.wait().assert_exit(143);
    two.wait().assert_exit(0);
    migrations.assert_alone();
}

/// Ends the lock's session from the server's side.
fn cut(server: &Postgres) {
    server.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted",
    );
}

#[test]
fn a_connection_that_a_firewall_forgets_is_made_anew_and_the_lock_taken_over_from_it() {
    let server = Postgres::start();
    let database = server.create_db();
    let proxy = Proxy::start(server.port());
    let (direct, port) = (server.url(&database), proxy.port().to_string());
    let url = direct.replace(&server.port().to_string(), &port);
    let migrations = Migrations::new(TICKING);
    let mut one = migrate(&url, &migrations, "one").start();
    migrations.until_log("begin one");
    let mut two = migrate(&direct, &migrations, "two").start();
    until_waiting(&mut two);
    for times in 1..=3 {
        proxy.cut_clients();
        one.until(
            |one| one.stderr().matches("back: ").count() == times,
            "the lock got back",
        );
    }
    migrations.touch("go");
    one.wait().assert_exit(0);
    two.wait().assert_exit(0);
    migrations.assert_alone();
}

#[test]
fn a_session_that_an_administrator_ends_is_replaced_in_time_or_the_migration_is_killed() {
    let server = Postgres::start();
    let url = server.url(&server.create_db());
    let migrations = Migrations::new(TICKING);
    let mut one = migrate(&url, &migrations, "one").start();
    migrations.until_log("begin one");
    let mut two = migrate(&url, &migrations, "two").start();
    until_waiting(&mut two);
    cut(&server);
    one.until(
        |one| one.stderr().contains("back: ") || one.stderr().contains("is lost"),
        "a decision",
    );
    migrations.touch("go");
    let first = one.wait();
    let lost = first.stderr.contains("is lost");
    first.assert_exit(if lost { 125 } else { 0 });
    two.wait().assert_exit(0);
    migrations.assert_alone();
    assert_eq!(migrations.log().contains("end one"), !lost);
}

#[test]
fn a_restarted_server_pauses_the_migration_and_never_lets_two_run() {
    let mut server = Postgres::start();
    let url = server.url(&server.create_db());
    let migrations = Migrations::new(TICKING);
    let mut one = run(&url, &migrations, "one").start();
    migrations.until_log("begin one");
    let mut two = run(&url, &migrations, "two").start();
    until_waiting(&mut two);
    server.stop();
    one.until_stderr("in danger");
    one.until(is_paused, "the migration paused");
    server.launch();
    migrations.touch("go");
    // The first gets it back, unless the second was quicker: then it is killed before the second begins.
    let first = one.wait();
    assert!(matches!(first.ended, Ended::Code(0 | 125)), "{first}");
    two.wait().assert_exit(0).assert_stdout("command\n");
    migrations.assert_alone();
    assert!(
        migrations.log().ends_with("end two\n"),
        "{}",
        migrations.log()
    );
}

#[test]
fn a_lock_that_somebody_else_got_kills_the_migration_at_once_whatever_delays_a_stop() {
    let server = Postgres::start();
    let database = server.create_db();
    let url = server.url(&database);
    let migrations = Migrations::new(&format!("trap '' TERM; {}", family()));
    let mut one = Run::as_pid1()
        .args(["migrate", "--database", &url])
        .args(["--stop-delay", "1h", "--map-signal", "TERM="])
        .args(["--orphan-grace", "none", "--"])
        .arg(migrations.script())
        .start();
    migrations.until_log("begin");
    thread::scope(|scope| {
        // In the server's own queue, so that it is next for sure.
        let thief = "SELECT pg_advisory_lock(classid::bigint::int, objid::bigint::int), pg_sleep(3) FROM pg_locks \
                     WHERE locktype = 'advisory' AND granted";
        scope.spawn(|| server.psql(&database, thief));
        let queued = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        let queued = || (server.psql("postgres", queued) == "1").then_some(());
        assert!(poll_until(common::DEADLINE, queued).is_some());
        let start = Instant::now();
        cut(&server);
        one.until_stderr("migration lock is lost");
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    });
    let finished = one.wait();
    finished
        .assert_exit(125)
        .assert_stderr_contains("now held by pid");
    assert_eq!(finished.stderr.matches(" lost").count(), 1, "{finished}");
    // Nobody is left of it.
    migrate(&url, &Migrations::new("true"), "two")
        .finish()
        .assert_exit(0);
    assert!(!migrations.log().contains("end"), "{}", migrations.log());
}

/// Whether the script is paused.
fn is_paused(process: &Process) -> bool {
    let all = process.processes();
    all.iter()
        .any(|entry| entry.name == "migration" && entry.state == 'T')
}

#[test]
fn a_network_that_swallows_everything_pauses_the_migration_before_the_server_frees_the_lock() {
    if env::var_os("PORTERO_TEST_LONG").is_none() {
        return;
    }
    let server = Postgres::start();
    let database = server.create_db();
    let proxy = Proxy::start(server.port());
    let url = server.url(&database);
    let url = url.replace(&server.port().to_string(), &proxy.port().to_string());
    let migrations = Migrations::new(TICKING);
    let mut one = run(&url, &migrations, "one").start();
    migrations.until_log("begin one");
    proxy.swallow(true);
    let start = Instant::now();
    let paused = poll_until(Duration::from_secs(60), || is_paused(&one).then_some(()));
    assert!(paused.is_some(), "{one}");
    // What the server was told about keepalives: 15 s, and 5 s three times.
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    proxy.swallow(false);
    one.until_stderr("back: ");
    migrations.touch("go");
    one.wait().assert_exit(0).assert_stdout("command\n");
    migrations.assert_alone();
}

#[test]
fn a_server_that_never_comes_back_ends_the_migration() {
    if env::var_os("PORTERO_TEST_LONG").is_none() {
        return;
    }
    let mut server = Postgres::start();
    let url = server.url(&server.create_db());
    let migrations = Migrations::new(
        "trap 'echo cleaned >> log; exit 3' TERM; until [ -e go ]; do sleep 0.02; done",
    );
    let mut one = migrate(&url, &migrations, "one").start();
    migrations.until_log("begin one");
    server.stop();
    one.until_stderr("in danger");
    one.wait_at_most(Duration::from_secs(60))
        .assert_exit(125)
        .assert_stderr_contains("out of reach");
    assert_eq!(migrations.log(), "begin one\ncleaned\n");
}
