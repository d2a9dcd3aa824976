//! Why a database can't be used: each kind of trouble, made by a real PostgreSQL, PgBouncer or network, has its exit
//! code, ends in time, and is said in a line that tells what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::time::{Duration, Instant};

use common::postgres::{PASSWORD, Postgres};
use common::server::unused_port;
use common::{
    DEADLINE, Finished, Process, Run, Server, TempDir, poll_until, rows, side_by_side, tool,
};
use nix::unistd::User;

const LIMIT: Duration = Duration::from_secs(3);

/// A URL, the exit code, and what the last line says.
type Row = (String, i32, &'static str);

fn wait(url: &str) -> Run {
    Run::portero()
        .args(["wait", "--wait-timeout", "3s", "URL"])
        .env("URL", url)
}

/// Waits for each, side by side; each must end near its limit, or at once when it is ready.
fn check(table: Vec<Row>) {
    side_by_side(table, |(url, code, words)| {
        check_one(wait(&url), code, words)
    });
}

fn check_one(run: Run, code: i32, words: &str) {
    let start = Instant::now();
    let finished = run.finish();
    let took = start.elapsed();
    finished.assert_exit(code).assert_never_says(PASSWORD);
    let last = finished.stderr.lines().last().unwrap_or_default();
    assert!(
        last.contains(words),
        "the last line lacks {words:?}{finished}"
    );
    let start = if code == 0 {
        "portero: URL ("
    } else {
        "portero: not ready after 3s: URL ("
    };
    assert!(last.starts_with(start), "another last line{finished}");
    // The rest is for a busy machine.
    assert!(
        took < LIMIT + Duration::from_secs(10),
        "took {took:?}{finished}"
    );
    assert_hint(&finished, code);
}

/// A refusal says from its first line on that waiting will hardly help, and what to check; the other kind never does.
fn assert_hint(finished: &Finished, code: i32) {
    let hints = finished
        .stderr
        .matches("waiting will hardly change that; check ")
        .count();
    assert_eq!(hints > 0, code == 125, "the wrong kind{finished}");
}

#[test]
fn what_a_server_refuses_is_told_from_what_it_can_not_do_yet() {
    let server = Postgres::options()
        .max_connections(14)
        .setting("superuser_reserved_connections = 1")
        .hba("host all rejected 127.0.0.1/32 reject")
        .hba("host all app,few,closed 127.0.0.1/32 scram-sha-256")
        .hba("host shop all 127.0.0.1/32 scram-sha-256")
        .hba("host postgres postgres 127.0.0.1/32 scram-sha-256")
        .hba("host locked postgres 127.0.0.1/32 scram-sha-256")
        .hba("local all all trust")
        .start();
    for sql in [
        "CREATE ROLE rejected LOGIN PASSWORD 'x'",
        "CREATE ROLE app LOGIN PASSWORD 'app-pass'",
        "CREATE ROLE few LOGIN PASSWORD 'app-pass' CONNECTION LIMIT 0",
        "CREATE ROLE closed NOLOGIN PASSWORD 'app-pass'",
        "CREATE DATABASE private",
        "REVOKE CONNECT ON DATABASE private FROM public",
        "CREATE DATABASE locked ALLOW_CONNECTIONS false",
    ] {
        server.psql("postgres", sql);
    }
    let table = r#"
        postgres:PASSWORD@HOST/postgres  0    is ready after
        app:app-pass@HOST/postgres       0    is ready after
        postgres:wr0ng@HOST/postgres     125  password authentication failed for user "postgres" (28P01)
        nobody:wr0ng@HOST/shop           125  (28P01)
        postgres@HOST/postgres           125
        => the server asks for a password, and none is given (URL, PGPASSWORD, ~/.pgpass)
        app:app-pass@HOST/nothing        125  database "nothing" does not exist (3D000)
        app:app-pass@HOST/private        125  permission denied for database "private" (42501)
        postgres:PASSWORD@HOST/locked    125
        => database "locked" is not currently accepting connections (55000)
        rejected:x@HOST/postgres         125
        => pg_hba.conf rejects connection for host "127.0.0.1", user "rejected"
        few:app-pass@HOST/postgres       124  too many connections for role "few" (53300)
        closed:app-pass@HOST/postgres    125  role "closed" is not permitted to log in (28000)
        postgres:PASSWORD@HOST/postgres?options=-c%20nonsense%3D1  125
        => unrecognized configuration parameter "nonsense" (42704)
        postgres:PASSWORD@HOST/postgres?target_session_attrs=standby  124  the server is not a standby
        postgres@/postgres?host=SOCKET/nowhere     124
        => nowhere/.s.PGSQL.5432: no such file or directory (ENOENT)
        postgres@/postgres?host=SOCKET&port=PORT  0  is ready after
    "#;
    let (port, directory) = (server.port().to_string(), server.socket_directory());
    check(table_of(table, |url| {
        url.replace("HOST", &format!("127.0.0.1:{port}"))
            .replace("SOCKET", directory.to_str().unwrap())
            .replace("PORT", &port)
    }));
}

/// Rows of what follows `postgres://`, the code and the words.
fn table_of(table: &'static str, url: impl Fn(String) -> String) -> Vec<Row> {
    let row = |[rest, code, words]: [&'static str; 3]| {
        let rest = rest.replace("PASSWORD", PASSWORD);
        let url = url(format!("postgres://{rest}"));
        (url, code.parse().unwrap(), words)
    };
    rows(table).map(row).collect()
}

#[test]
fn a_server_whose_connections_are_all_taken_is_not_ready_yet() {
    let server = Postgres::options()
        .max_connections(3)
        .setting("superuser_reserved_connections = 0")
        .setting("max_wal_senders = 0")
        .start();
    let url = server.url("postgres");
    let _held: Vec<Process> = (0..3)
        .map(|_| {
            let mut psql = Run::program(common::postgres::programs().join("psql"))
                .line("-X -A -t -c \"SELECT 'held'\" -c 'SELECT pg_sleep(1000)'")
                .arg(&url)
                .start();
            psql.until_stdout("held");
            psql
        })
        .collect();
    check_one(wait(&url), 124, "sorry, too many clients already (53300)");
}

#[test]
fn a_server_that_recovers_is_not_ready_yet_and_a_replica_is_only_when_it_is_wanted() {
    let mut recovering = Postgres::options()
        .max_connections(100)
        .setting("hot_standby = off")
        .prepare();
    recovering.make_standby();
    recovering.launch_until_log("entering standby mode");
    let mut replica = Postgres::options().max_connections(100).prepare();
    replica.make_standby();
    replica.launch();
    let primary = Postgres::start();
    let table = "
        postgres:PASSWORD@RECOVERING/postgres                                      124  (57P03)
        postgres:PASSWORD@REPLICA/postgres                                         0    is ready after
        postgres:PASSWORD@REPLICA/postgres?target_session_attrs=read-write         124  the session is read-only
        postgres:PASSWORD@REPLICA/postgres?target_session_attrs=primary            124  the server is a standby
        postgres:PASSWORD@REPLICA/postgres?target_session_attrs=read-only          0    is ready after
        postgres:PASSWORD@REPLICA,MAIN/postgres?target_session_attrs=read-write      0  is ready after
        postgres:PASSWORD@REPLICA,MAIN/postgres?target_session_attrs=prefer-standby  0  is ready after
    ";
    let servers = [
        ("RECOVERING", &recovering),
        ("REPLICA", &replica),
        ("MAIN", &primary),
    ];
    check(table_of(table, |url| {
        servers.iter().fold(url, |url, (name, server)| {
            url.replace(name, &format!("127.0.0.1:{}", server.port()))
        })
    }));
}

#[test]
fn what_answers_and_is_not_postgresql_is_named() {
    let saying = |words: &'static [u8]| {
        Server::start(move |mut stream| {
            let _ = stream.read(&mut [0; 8]);
            let _ = stream.write_all(words);
        })
    };
    let (silent, closing) = (Server::silent(), Server::closing());
    let http = saying(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let (ssh, mysql) = (
        saying(b"SSH-2.0-OpenSSH_9.2\r\n"),
        saying(b"J\0\0\0\x0a8.0.36\0\x09\0\0\0"),
    );
    let url = |server: &Server, mode: &str| {
        format!(
            "postgres://u:{PASSWORD}@{}/d?sslmode={mode}",
            server.address()
        )
    };
    let refused = format!("postgres://u:{PASSWORD}@127.0.0.1:{}/d", unused_port());
    let mut table = vec![(refused, 124, "connection refused (ECONNREFUSED)")];
    let silence = "it accepts the connection and does not answer in time (ETIMEDOUT)";
    for (server, code, words) in [
        (&silent, 124, silence),
        (&closing, 124, "the server ended the connection (EOF)"),
        (
            &http,
            125,
            "is not PostgreSQL, it says \"HTTP/1.1 400 Bad Request\"",
        ),
        (
            &ssh,
            125,
            "is not PostgreSQL, it says \"SSH-2.0-OpenSSH_9.2\"",
        ),
        (&mysql, 125, "is not PostgreSQL"),
    ] {
        let modes = ["disable", "prefer", "require"];
        table.extend(modes.map(|mode| (url(server, mode), code, words)));
    }
    check(table);
}

#[test]
fn a_network_that_swallows_packets_ends_in_time_and_is_told_from_silence() {
    // Loopback takes the packets for that network, and nobody there takes them up: as a firewall that drops.
    let script = "ip link set lo up && ip route add 10.9.9.0/24 dev lo && exec \"$@\"";
    let run = wait(&format!("postgres://u:{PASSWORD}@10.9.9.7/d")).via([
        tool("unshare").to_str().unwrap(),
        "--net",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    tool("ip");
    check_one(
        run,
        124,
        "no answer to the attempt to connect: a firewall drops it",
    );
}

#[test]
fn a_name_that_appears_late_is_waited_for() {
    let server = Postgres::start();
    let directory = TempDir::new();
    let hosts = directory.file("hosts", "127.0.0.1 localhost\n");
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let url = server.url("postgres").replace("127.0.0.1", "late.invalid");
    let mut process = Run::portero()
        .args(["wait", "--wait-timeout", "30s", "URL"])
        .env("URL", url)
        .via(["unshare", "--mount", "sh", "-c", &script, "sh"])
        .start();
    process.until_stderr("can't resolve late.invalid");
    fs::OpenOptions::new()
        .append(true)
        .open(&hosts)
        .unwrap()
        .write_all(b"127.0.0.1 late.invalid\n")
        .unwrap();
    process.exits(0).assert_never_says(PASSWORD);
}

/// A pooler in front of a server.
struct PgBouncer {
    port: u16,
    _directory: TempDir,
    _process: Process,
}

impl PgBouncer {
    fn start(server: u16, mode: &str, settings: &str) -> Self {
        let directory = TempDir::new();
        let port = unused_port();
        let users = directory.file(
            "users",
            &format!("\"postgres\" \"{PASSWORD}\"\n\"stale\" \"app-pass\"\n"),
        );
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\nonly = host=127.0.0.1 port={server} dbname=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
             auth_file = {}\npool_mode = {mode}\nserver_login_retry = 1\nserver_connect_timeout = 1\n{settings}\n",
            users.display()
        );
        let file = directory.file("pgbouncer.ini", &configuration);
        let user = User::from_name("postgres").unwrap().unwrap();
        for path in [directory.path(), &users, &file] {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let process = Run::program(tool("pgbouncer"))
            .arg(&file)
            .user(user.uid.as_raw(), user.gid.as_raw())
            .start();
        let listens = poll_until(DEADLINE, || {
            std::net::TcpStream::connect(("127.0.0.1", port))
                .is_ok()
                .then_some(())
        });
        assert!(listens.is_some(), "PgBouncer does not listen{process}");
        Self {
            port,
            _directory: directory,
            _process: process,
        }
    }
}

#[test]
fn through_pgbouncer_the_two_kinds_are_told_apart_too() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE stale LOGIN PASSWORD 'another'");
    let down = unused_port();
    for mode in ["session", "transaction"] {
        let pooler = PgBouncer::start(server.port(), mode, "");
        let full = PgBouncer::start(server.port(), mode, "max_client_conn = 0");
        let orphan = PgBouncer::start(down, mode, "");
        let table = r#"
            pooler  postgres:PASSWORD  postgres  0    is ready after
            pooler  postgres:PASSWORD  only      0    is ready after
            pooler  postgres:wr0ng     postgres  125  SASL authentication failed (08P01)
            pooler  nobody:wr0ng       postgres  125  SASL authentication failed (08P01)
            pooler  stale:app-pass     postgres  125  password authentication failed for user "stale" (08P01)
            pooler  postgres:PASSWORD  nothing   125  database "nothing" does not exist
            pooler  postgres:PASSWORD  postgres?sslmode=require  125  server does not support TLS
            pooler  postgres:PASSWORD  postgres?options=-c%20nonsense%3D1  125
            => unsupported startup parameter: options (08P01)
            full    postgres:PASSWORD  postgres  124  no more connections allowed (max_client_conn) (08P01)
            orphan  postgres:PASSWORD  postgres  124
            => it accepts the connection and does not answer in time (ETIMEDOUT)
        "#;
        let table = rows(table).map(|[at, login, database, code, words]| {
            let pooler = match at {
                "full" => &full,
                "orphan" => &orphan,
                _ => &pooler,
            };
            let login = login.replace("PASSWORD", PASSWORD);
            let url = format!("postgres://{login}@127.0.0.1:{}/{database}", pooler.port);
            (url, code.parse().unwrap(), words)
        });
        check(table.collect());
    }
}
