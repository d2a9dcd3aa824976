//! Thirty replicas, a server with twenty connections, and whoever is killed at random: no two migrations ever run at
//! once, every replica that was left alone ends well, and what is recorded has run to its end.
//!
//! Six seconds; `PORTERO_CHAOS_SECONDS=60` is the long form. `PORTERO_CHAOS_SEED=7` repeats a run's choices, though not
//! the machine's timing; the seed is printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::print_stdout,
    missing_docs
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::thread;
use std::time::{Duration, Instant};

use common::migration::{Migrations, Role, pids_of};
use common::{Ended, Finished, Postgres, Process, Run, poll_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const REPLICAS: usize = 30;
const CONNECTIONS: u32 = 20;
/// How long one version is rolled out before the next.
const ROLLOUT: Duration = Duration::from_millis(1500);
const BODY: &str = "setsid sh -c 'for i in 1 2 3 4 5 6 7 8; do echo \"tick $0\" >> log; sleep 0.02; done' \"$1\" survivor &\n\
     for i in 1 2 3 4 5 6; do echo \"tick $1\" >> log; sleep 0.02; done; wait";

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

struct Replica {
    name: String,
    version: String,
    process: Process,
    /// Whether anything was done to it.
    disturbed: bool,
}

struct End {
    version: String,
    disturbed: bool,
    finished: Finished,
}

struct Chaos {
    random: Random,
    server: Postgres,
    database: String,
    migrations: Migrations,
    started: Instant,
    alive: Vec<Replica>,
    ended: BTreeMap<String, End>,
    done: BTreeMap<String, usize>,
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let server = Postgres::options().max_connections(CONNECTIONS).start();
        let database = server.create_db();
        // Not a superuser, who could use up what is reserved for the test itself.
        server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'pw'");
        server.psql(
            "postgres",
            &format!("ALTER DATABASE {database} OWNER TO app"),
        );
        Self {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            server,
            database,
            migrations: Migrations::new(BODY),
            started: Instant::now(),
            alive: Vec::new(),
            ended: BTreeMap::new(),
            done: BTreeMap::new(),
        }
    }

    fn start_replicas(&mut self) {
        while self.alive.len() < REPLICAS {
            let newest = 1 + self.started.elapsed().as_millis() / ROLLOUT.as_millis();
            // Now and then an older one, as while a deployment rolls out or back.
            let version = format!(
                "v{}",
                newest.saturating_sub(self.random.of(&[0, 0, 1])).max(1)
            );
            let name = format!("r{}", self.alive.len() + self.ended.len());
            let script = self.migrations.script();
            let migration = format!("{} {version}:{name}", script.display());
            let process = Run::as_pid1()
                .env(
                    "DATABASE_URL",
                    self.server.url_with("app", "pw", &self.database),
                )
                .args(["--database", "DATABASE_URL", "--orphan-grace", "1s"])
                .args(["--migrate-once", &version, "--migrate", &migration])
                .args(["--", "echo", "command"])
                .start();
            self.alive.push(Replica {
                name,
                version,
                process,
                disturbed: false,
            });
        }
    }

    fn collect(&mut self) {
        for mut replica in std::mem::take(&mut self.alive) {
            if replica.process.poll().is_none() {
                self.alive.push(replica);
                continue;
            }
            let end = End {
                version: replica.version,
                disturbed: replica.disturbed,
                finished: replica.process.wait(),
            };
            self.ended.insert(replica.name, end);
        }
    }

    /// Kills somebody: of the replica that migrates, every other time.
    fn kill_somebody(&mut self) {
        let log = self.migrations.log();
        let last = log
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("begin "));
        let last = last.and_then(|last| Some(last.split_once(':')?.1.to_owned()));
        let migrating = self
            .alive
            .iter()
            .position(|replica| Some(&replica.name) == last.as_ref());
        let index = match migrating {
            Some(index) if self.random.below(2) == 0 => index,
            _ => self.random.below(self.alive.len()),
        };
        let role = self
            .random
            .of(&[Role::Init, Role::Stage, Role::Leader, Role::Survivor]);
        let signal = self
            .random
            .of(&[Signal::SIGKILL, Signal::SIGKILL, Signal::SIGTERM]);
        let pids = pids_of(&self.alive[index].process, role);
        if pids.is_empty() {
            return;
        }
        self.alive[index].disturbed = true;
        let pid = self.random.of(&pids);
        println!(
            "{:?} {signal} to {role:?} of {}",
            self.started.elapsed(),
            self.alive[index].name
        );
        // It may have ended meanwhile.
        if kill(Pid::from_raw(pid), signal).is_ok() {
            *self
                .done
                .entry(format!("{signal} to {role:?}"))
                .or_default() += 1;
        }
    }

    fn cut_connections(&mut self, whose: &str) {
        let cut = format!("SELECT count(pg_terminate_backend(pid)) FROM ({whose}) AS sessions");
        // It may be too full to ask.
        let cut = self.server.try_psql("postgres", &cut);
        let cut = cut.map_or(0, |count| count.parse::<usize>().unwrap());
        *self.done.entry("connections cut".into()).or_default() += cut;
    }

    fn act(&mut self) {
        let act = self.random.below(40);
        if act <= 5 {
            println!("{:?} act {act}", self.started.elapsed());
        }
        match act {
            0 => {
                self.server.stop();
                self.server.launch();
                *self.done.entry("server restarts".into()).or_default() += 1;
            }
            1 => self.cut_connections("SELECT pid FROM pg_stat_activity WHERE usename = 'app'"),
            2..=5 => self.cut_connections(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted",
            ),
            6..=20 => self.kill_somebody(),
            _ => {}
        }
    }

    /// Nothing is done to anybody from now on.
    fn settle(&mut self) {
        let all_ended = poll_until(Duration::from_secs(120), || {
            self.collect();
            self.alive.is_empty().then_some(())
        });
        assert!(
            all_ended.is_some(),
            "{} replicas do not end, the first:{}\n{}",
            self.alive.len(),
            self.alive[0].process,
            self.migrations.log()
        );
    }

    /// No two have run at once; else everything about those of the last few lines.
    fn assert_alone(&self) {
        if self.migrations.overlap().is_none() {
            return;
        }
        let log = self.migrations.log();
        let name = |line: &'_ str| {
            line.split_once(':')
                .map_or(String::new(), |(_, name)| name.into())
        };
        let names: BTreeSet<String> = log.lines().rev().take(40).map(name).collect();
        for name in &names {
            if let Some(end) = self.ended.get(name) {
                println!("{name} (ended):{}", end.finished);
            }
            if let Some(replica) = self.alive.iter().find(|replica| replica.name == *name) {
                println!("{name}:{}", replica.process);
            }
        }
        self.migrations.assert_alone();
    }

    fn check(&self) {
        self.assert_alone();
        for (name, end) in &self.ended {
            let lost = end.finished.ended == Ended::Code(125)
                && end.finished.stderr.contains("migration lock is lost");
            let well = end.finished.ended == Ended::Code(0) && end.finished.stdout == "command\n";
            assert!(
                end.disturbed || well || lost,
                "{name}, which was left alone:{}",
                end.finished
            );
        }
        let log = self.migrations.log();
        let recorded = self.server.psql(
            &self.database,
            "SELECT version FROM portero.migrations ORDER BY finished_at",
        );
        for version in recorded.lines() {
            let prefix = format!("end {version}:");
            let ran: Vec<&str> = log
                .lines()
                .filter_map(|line| line.strip_prefix(&prefix))
                .collect();
            // It runs again only if whoever ran it was hit between its end and the record.
            let again = ran.iter().rev().skip(1);
            let unrecorded = |name: &&&str| self.ended[**name].finished.ended != Ended::Code(0);
            assert!(
                !ran.is_empty(),
                "{version} is recorded and never ended:\n{log}"
            );
            assert_eq!(
                again.clone().count(),
                again.filter(unrecorded).count(),
                "{version} ran again:\n{log}"
            );
        }
        for end in self
            .ended
            .values()
            .filter(|end| end.finished.ended == Ended::Code(0))
        {
            assert!(
                recorded.lines().any(|version| version == end.version),
                "{} is not recorded",
                end.version
            );
        }
        if env::var_os("PORTERO_CHAOS_SHOW").is_some() {
            self.ended
                .iter()
                .for_each(|(name, end)| println!("{name}{}", end.finished));
        }
        let count = |well| {
            self.ended
                .values()
                .filter(|end| (end.finished.ended == Ended::Code(0)) == well)
                .count()
        };
        println!(
            "{} versions recorded; {} migrations began, {} ended; {} replicas ended well, {} did not; {:?}",
            recorded.lines().count(),
            log.matches("begin").count(),
            log.matches("end ").count(),
            count(true),
            count(false),
            self.done
        );
    }
}

#[test]
fn whoever_is_killed_no_two_migrate_at_once_and_all_others_end_well() {
    let seed = number("PORTERO_CHAOS_SEED", 1);
    let limit = Duration::from_secs(number("PORTERO_CHAOS_SECONDS", 6));
    println!("PORTERO_CHAOS_SEED={seed}");
    let mut chaos = Chaos::new(seed);
    while chaos.started.elapsed() < limit {
        chaos.start_replicas();
        chaos.act();
        thread::sleep(Duration::from_millis(20));
        chaos.collect();
        chaos.assert_alone();
    }
    chaos.settle();
    chaos.check();
}
