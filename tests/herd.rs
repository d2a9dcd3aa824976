//! What a herd of replicas that start at once costs the database: one migration, few connections at a time, and fewer
//! and fewer logins a second. Forty replicas; `PORTERO_HERD=1000` is the long form, which prints what it measured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::print_stdout)]

mod common;

use std::env;
use std::time::{Duration, Instant};

use common::migration::Migrations;
use common::{Postgres, Run, poll_until};

const CONNECTIONS: u32 = 20;

/// Sessions now, since the start, and transactions of one database, and logins that were turned away.
fn counters(server: &Postgres, database: &str) -> (u64, u64, u64, usize) {
    let query = format!(
        "SELECT numbackends, sessions, xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{database}'"
    );
    let answer = poll_until(common::DEADLINE, || server.try_psql("postgres", &query)).unwrap();
    let mut numbers = answer.split('|').map(|number| number.parse().unwrap());
    let mut number = || numbers.next().unwrap();
    (
        number(),
        number(),
        number(),
        server.log().matches("FATAL").count(),
    )
}

#[test]
fn a_herd_migrates_once_and_all_of_it_ends_well() {
    let replicas = env::var("PORTERO_HERD").map_or(40, |count| count.parse().unwrap());
    let duration = if replicas > 100 { "30" } else { "3" };
    let connections = if replicas > 100 { 100 } else { CONNECTIONS };
    let server = Postgres::options().max_connections(connections).start();
    let database = server.create_db();
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'pw'");
    server.psql(
        "postgres",
        &format!("ALTER DATABASE {database} OWNER TO app"),
    );
    let migrations = Migrations::new(&format!("sleep {duration}"));
    let started = Instant::now();
    let start = |index: usize| {
        Run::portero()
            .env("DATABASE_URL", server.url_with("app", "pw", &database))
            .line("migrate --database DATABASE_URL --wait-timeout 10m --migrate-once v1 --")
            .arg(migrations.script())
            .arg(index.to_string())
            .start()
    };
    let mut alive: Vec<_> = (0..replicas).map(start).collect();
    println!("{replicas} replicas started in {:?}", started.elapsed());

    let mut before = counters(&server, &database);
    let first = before;
    let mut connected = Vec::new();
    let mut next = started.elapsed() + Duration::from_secs(5);
    let limit = Duration::from_secs(if replicas > 100 { 600 } else { 60 });
    while !alive.is_empty() {
        assert!(
            started.elapsed() < limit,
            "{} do not end, the first:{}",
            alive.len(),
            alive[0]
        );
        let (ended, rest): (Vec<_>, Vec<_>) = alive
            .into_iter()
            .map(|mut one| (one.poll(), one))
            .partition(|(ended, _)| ended.is_some());
        alive = rest.into_iter().map(|(_, one)| one).collect();
        for (_, one) in ended {
            one.exits(0);
        }
        std::thread::sleep(Duration::from_millis(50));
        connected.push(counters(&server, &database).0);
        if started.elapsed() >= next {
            next += Duration::from_secs(5);
            let now = counters(&server, &database);
            println!(
                "at {:>3} s: {:>4} left, {:>3} connected; a second: {:>4} sessions, {:>5} transactions, {:>4} turned away",
                started.elapsed().as_secs(),
                alive.len(),
                now.0,
                (now.1 - before.1) / 5,
                (now.2 - before.2) / 5,
                (now.3 - before.3) / 5
            );
            before = now;
        }
    }
    let elapsed = started.elapsed();
    println!("all ended after {elapsed:?}");
    connected.sort_unstable();
    let usual = connected
        .get(connected.len() / 2)
        .copied()
        .unwrap_or_default();
    assert!(
        usual <= u64::from(connections) / 2,
        "{usual} of {connections} connections are usual: {connected:?}"
    );
    // A pause is a quarter of the time waited so far, so that logins come more and more rarely. Who tried at a fixed
    // pace of the first pause, 0.1 s, would need ten a second.
    let logins = counters(&server, &database).1 - first.1;
    let few = u64::try_from(replicas).unwrap() * (20 + elapsed.as_secs());
    assert!(logins <= few, "{logins} logins, not {few} at most");
    assert_eq!(
        migrations.log().matches("begin").count(),
        1,
        "{}",
        migrations.log()
    );
}
