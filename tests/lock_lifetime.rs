//! The migration lock lives as long as the migration's processes, whoever is killed; and where it is lost, they are
//! killed, whatever happened to the server or to the connection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::time::{Duration, Instant};

use common::migration::{Migrations, Role, TICKING, family, pids_of};
use common::proxy::{Proxy, Way};
use common::{Ended, Finished, Postgres, Process, Run, poll_until, portero};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn migrate(url: &str, migrations: &Migrations, name: &str) -> Run {
    Run::portero()
        .env("DATABASE_URL", url)
        .line("migrate --database DATABASE_URL --orphan-grace 1s --")
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
    let script = migrations.script();
    let migrate = format!("migrate {options} -- {} one", script.display());
    below_a_shell(url, &migrate)
}

fn below_a_shell(url: &str, arguments: &str) -> Process {
    let line = format!(
        "PORTERO_DATABASE=DATABASE_URL {} {arguments} & while :; do sleep 1000; done",
        portero().display()
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

/// A migration named `one` that has begun, with its survivor.
#[track_caller]
fn begun(run: Run, migrations: &Migrations) -> Process {
    let process = run.start();
    migrations.until_log("begin one");
    until_survivor(&process);
    process
}

/// One that waits for the lock.
#[track_caller]
fn waiting(run: Run) -> Process {
    let mut process = run.start();
    process.until_stderr("waiting for the migration lock");
    process
}

/// The next migration has waited, and now runs alone.
#[track_caller]
fn goes_alone(next: Process, migrations: &Migrations) -> Finished {
    migrations.touch("go");
    let finished = next.exits(0);
    migrations.assert_alone();
    finished
}

#[test]
fn whoever_is_killed_the_next_migration_starts_after_the_last_process_of_this_one() {
    let (_server, url) = Postgres::with_database();
    for (victim, ended) in [
        (Role::Init, Ended::Signal(9)),
        (Role::Stage, Ended::Code(137)),
        (Role::Leader, Ended::Code(137)),
    ] {
        let migrations = Migrations::new(&family());
        let one = begun(run(&url, &migrations, "one"), &migrations);
        let two = waiting(run(&url, &migrations, "two"));
        kill_9(&one, victim);
        assert_eq!(one.wait().ended, ended, "{victim:?}");
        migrations.until_log("begin two");
        goes_alone(two, &migrations);
    }
}

#[test]
fn an_init_that_is_killed_below_another_one_has_its_migration_stopped_with_the_lock_kept_to_its_end()
 {
    let (server, url) = Postgres::with_database();
    let bodies = [
        // Takes its time over SIGTERM, of which it hears but once.
        "trap 'echo stopping >> log; touch stopping; until [ -e go ]; do echo \"tick $1\" >> log; sleep 0.02; done; exit 1' TERM; \
         until [ -e go ]; do sleep 0.02; done"
            .to_owned(),
        // One of it is deaf, and is killed with the rest when the time is up.
        family(),
        WRAPPER.to_owned(),
    ];
    for body in bodies {
        let migrations = Migrations::new(&body);
        let script = migrations.script();
        let options = format!(
            "--stop-timeout 3s --migrate '{} one' -- echo command",
            script.display()
        );
        let shell = below_a_shell(&url, &options);
        migrations.until_log("begin one");
        kill_9(&shell, Role::Init);
        if body.contains("stopping") {
            migrations.until_log("stopping");
            assert!(stays_held(&server), "free while it cleans up");
            migrations.touch("go");
        }
        let two = migrate(&url, &migrations, "two").start();
        migrations.until_log("begin two");
        for role in [Role::Stage, Role::Leader, Role::Survivor] {
            assert!(pids_of(&shell, role).is_empty(), "{role:?} is left{shell}");
        }
        migrations.touch("go");
        two.wait_at_most(common::DEADLINE);
        migrations.assert_alone();
    }
}

#[test]
fn a_child_that_closes_what_it_inherits_is_killed_with_the_stage_before_another_migrates() {
    let (_server, url) = Postgres::with_database();
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
    let two = waiting(run(&url, &migrations, "two"));
    kill_9(&one, Role::Stage);
    assert_eq!(one.wait().ended, Ended::Code(137));
    migrations.until_log("begin two");
    goes_alone(two, &migrations);
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
        assert!(stays_held(&server), "free while a process is left: {url}");
        // Nothing of it was killed with portero.
        let left = [Role::Leader, Role::Survivor].map(|role| pids_of(&shell, role).len());
        assert!(left.iter().all(|count| *count > 0), "{left:?}{shell}");
        let two = waiting(migrate(&url, &migrations, "two"));
        goes_alone(two, &migrations);
    }
}

#[test]
fn what_a_migration_leaves_alone_with_orphan_grace_none_keeps_the_lock() {
    let (server, url) = Postgres::with_database();
    let migrations =
        Migrations::new("setsid sh -c 'until [ -e go ]; do sleep 0.02; done' survivor &");
    let shell = beside_a_shell(&url, &migrations, "--orphan-grace none");
    migrations.until_log("end one");
    let portero_gone = || pids_of(&shell, Role::Stage).is_empty();
    assert!(poll_until(common::DEADLINE, || portero_gone().then_some(())).is_some());
    assert!(stays_held(&server), "free while a process is left");
    migrations.touch("go");
    migrate(&url, &migrations, "two").exits(0);
    migrations.assert_alone();
}

#[test]
fn a_stopped_migration_keeps_the_lock_until_it_has_ended() {
    let (server, url) = Postgres::with_database();
    let migrations =
        Migrations::new("trap 'echo stopping >> log' TERM; until [ -e go ]; do sleep 0.02; done");
    let one = run(&url, &migrations, "one").start();
    migrations.until_log("begin one");
    let two = waiting(run(&url, &migrations, "two"));
    one.signal(Signal::SIGTERM);
    migrations.until_log("stopping");
    assert!(stays_held(&server), "free while it cleans up");
    migrations.touch("go");
    one.exits(143);
    two.exits(0);
    migrations.assert_alone();
}

/// Python closes descriptors for its children, so that it alone has the socket.
const WRAPPER: &str = "exec python3 -c '
import subprocess, sys
subprocess.run([\"sh\", \"-c\", \"until [ -e go ]; do echo tick $0 >> log; sleep 0.02; done\", sys.argv[1], \"survivor\"])
open(\"log\", \"a\").write(\"end \" + sys.argv[1] + \"\\n\")
' \"$1\" wrapper";

#[test]
fn a_wrapper_that_alone_has_the_socket_keeps_the_lock_for_its_child_when_portero_is_killed() {
    let (server, url) = Postgres::with_database();
    let migrations = Migrations::new(WRAPPER);
    let shell = beside_a_shell(&url, &migrations, "");
    migrations.until_log("begin one");
    until_survivor(&shell);
    kill_9(&shell, Role::Stage);
    assert!(stays_held(&server), "free beside the living grandchild");
    until_survivor(&shell);
    let two = waiting(migrate(&url, &migrations, "two"));
    goes_alone(two, &migrations);
}

#[test]
fn what_a_successful_migration_leaves_running_has_its_grace_before_the_lock_is_given_up() {
    let (_server, url) = Postgres::with_database();
    // It needs half a second to end after SIGTERM.
    let migrations = Migrations::new(
        "setsid sh -c 'trap \"sleep 0.5; echo tick $0 >> log; exit\" TERM; touch ready$0; \
         while :; do sleep 0.02; done' \"$1\" survivor & until [ -e ready$1 ]; do sleep 0.02; done",
    );
    let options = ["migrate", "--database", "DATABASE_URL", "--orphan-grace"];
    let start = |name: &str| {
        Run::portero()
            .env("DATABASE_URL", &url)
            .args(options)
            .args(["30s", "--"])
            .arg(migrations.script())
            .arg(name)
            .start()
    };
    let one = start("one");
    migrations.until_log("begin one");
    let two = start("two");
    one.exits(0);
    two.exits(0);
    let log = migrations.log();
    assert_eq!(
        log,
        "begin one\nend one\ntick one\nbegin two\nend two\ntick two\n"
    );
}

/// Ends the lock's session from the server's side.
fn cut(server: &Postgres) {
    server.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted",
    );
}

/// Waits for the line that says that the lock is lost, by which time everything of the migration has gone: 125.
#[track_caller]
fn assert_lost(mut process: Process, why: &str) {
    process.until_stderr("the migration lock is lost");
    for role in [Role::Leader, Role::Survivor] {
        let left = pids_of(&process, role);
        assert!(left.is_empty(), "{role:?} {left:?} is left{process}");
    }
    let finished = process.wait();
    finished
        .assert_exit(125)
        .assert_stdout("")
        .assert_stderr_contains(why);
    assert_eq!(finished.stderr.matches(" lost").count(), 1, "{finished}");
}

#[test]
fn a_session_that_an_administrator_ends_kills_the_migration_and_the_next_one_runs() {
    let (server, url) = Postgres::with_database();
    let start: [fn(&str, &Migrations, &str) -> Run; 2] = [migrate, run];
    for start in start {
        let migrations = Migrations::new(&family());
        let one = begun(start(&url, &migrations, "one"), &migrations);
        let two = waiting(migrate(&url, &migrations, "two"));
        cut(&server);
        assert_lost(one, "its connection has ended");
        migrations.until_log("begin two");
        goes_alone(two, &migrations);
        assert!(!migrations.log().contains("end one"));
    }
}

#[test]
fn a_connection_that_a_firewall_forgets_kills_the_migration_while_the_server_still_has_its_lock() {
    let server = Postgres::start();
    let direct = server.url(&server.create_db());
    let proxy = Proxy::start(server.port());
    let url = proxy.url(&direct, server.port());
    let migrations = Migrations::new(&family());
    let one = begun(migrate(&url, &migrations, "one"), &migrations);
    let two = waiting(migrate(&direct, &migrations, "two"));
    assert!(proxy.cut(Way::ToClient) > 0);
    assert_lost(one, "its connection has ended");
    assert!(stays_held(&server), "the server has heard of it");
    // That is the proxy's affair.
    proxy.cut(Way::ToServer);
    goes_alone(two, &migrations);
}

#[test]
fn a_restarted_server_kills_the_migration_and_the_next_one_runs() {
    let mut server = Postgres::start();
    let url = server.url(&server.create_db());
    let migrations = Migrations::new(&family());
    let one = begun(run(&url, &migrations, "one"), &migrations);
    let two = waiting(run(&url, &migrations, "two"));
    server.stop();
    assert_lost(one, "its connection has ended");
    server.launch();
    goes_alone(two, &migrations).assert_stdout("command\n");
}

#[test]
fn a_lock_that_the_server_no_longer_shows_kills_the_migration_also_beside_a_session_that_lives() {
    let server = Postgres::options()
        .setting("allow_system_table_mods = on")
        .start();
    let database = server.create_db();
    // Whose server is a pooler or another program may be given another session, or one whose locks were reset.
    server.psql(
        &database,
        "CREATE FUNCTION shown() RETURNS bool LANGUAGE sql AS 'SELECT true'; \
         ALTER VIEW pg_catalog.pg_locks RENAME TO real_locks; \
         CREATE VIEW pg_catalog.pg_locks AS SELECT * FROM pg_catalog.real_locks WHERE public.shown(); \
         GRANT SELECT ON pg_catalog.pg_locks TO public",
    );
    let migrations = Migrations::new(&family());
    let one = begun(
        migrate(&server.url(&database), &migrations, "one"),
        &migrations,
    );
    server.psql(
        &database,
        "CREATE OR REPLACE FUNCTION shown() RETURNS bool LANGUAGE sql AS 'SELECT false'",
    );
    assert_lost(one, "no longer shows it as ours");
}

#[test]
fn a_lost_lock_kills_the_migration_at_once_whatever_delays_a_stop() {
    let server = Postgres::start();
    let database = server.create_db();
    let url = server.url(&database);
    let migrations = Migrations::new(&format!("trap '' TERM; {}", family()));
    let mut one = Run::as_pid1()
        .args(["migrate", "--database", &url])
        .line("--stop-delay 1h --map-signal TERM= --orphan-grace none --")
        .arg(migrations.script())
        .start();
    migrations.until_log("begin");
    until_survivor(&one);
    let start = Instant::now();
    cut(&server);
    one.until_stderr("migration lock is lost");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_lost(one, "its connection has ended");
    // Nobody is left of it.
    migrate(&url, &Migrations::new("true"), "two").exits(0);
    assert!(!migrations.log().contains("end"), "{}", migrations.log());
}

#[test]
fn a_lost_lock_is_told_as_soon_as_its_migration_is_dead() {
    let (server, url) = Postgres::with_database();
    // The quickest of three, for the machine may be busy.
    let took = (0..3).map(|_| {
        let migrations = Migrations::new(TICKING);
        let one = migrate(&url, &migrations, "one").start();
        migrations.until_log("begin one");
        let start = Instant::now();
        cut(&server);
        one.exits(125).assert_stderr_contains("lock is lost");
        start.elapsed()
    });
    let took = took.min().unwrap();
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[test]
fn what_was_left_alone_with_orphan_grace_none_dies_with_the_lock_too() {
    let (server, url) = Postgres::with_database();
    let migrations = Migrations::new(TICKING);
    let line = format!(
        "setsid sh -c 'while :; do sleep 0.1; done' survivor & exec {} one",
        migrations.script().display()
    );
    let one = Run::as_pid1()
        .args(["migrate", "--database", &url, "--orphan-grace", "none"])
        .args(["--", "sh", "-c", &line])
        .start();
    migrations.until_log("begin one");
    until_survivor(&one);
    cut(&server);
    assert_lost(one, "its connection has ended");
}

#[test]
fn a_network_that_swallows_everything_kills_the_migration_before_the_server_frees_the_lock() {
    let server = Postgres::start();
    let direct = server.url(&server.create_db());
    let proxy = Proxy::start(server.port());
    let url = proxy.url(&direct, server.port());
    let migrations = Migrations::new(&family());
    let mut one = begun(run(&url, &migrations, "one"), &migrations);
    proxy.swallow(true);
    let start = Instant::now();
    let gone = || pids_of(&one, Role::Survivor).is_empty().then_some(());
    assert!(poll_until(Duration::from_secs(60), gone).is_some(), "{one}");
    // A look every 5 s, unanswered for 20 s. What the server was told about keepalives: 15 s, and 5 s three times.
    let took = start.elapsed();
    assert!(
        (Duration::from_secs(15)..Duration::from_secs(29)).contains(&took),
        "{took:?}"
    );
    one.until_stderr("has not answered for 20 s");
    assert!(stays_held(&server), "{took:?}");
    one.wait_at_most(Duration::from_secs(60)).assert_exit(125);
}
