//! Thirty replicas, a server with twenty connections, four networks between them that delay, hold back and cut each
//! direction by itself, and whoever is killed at random: no two migrations run at once, but where the server has ended
//! the session of the one, and then for no longer than docs/lock.md says; every replica that was left alone ends well
//! or has lost its lock; and what is recorded has run to its end.
//!
//! Twenty seconds and what it takes to end; `PORTERO_CHAOS_SECONDS=60` is a longer form. `PORTERO_CHAOS_SEED=7` repeats
//! a run's choices, though not the machine's timing; the seed is printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::print_stdout)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use common::migration::{Migrations, Role, pids_of};
use common::proxy::{Proxy, Way};
use common::{Ended, Finished, Postgres, Process, Run, poll_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const REPLICAS: usize = 30;
const CONNECTIONS: u32 = 20;
/// How long one version is rolled out before the next.
const ROLLOUT: Duration = Duration::from_millis(1500);
/// Those replicas that migrate by a network of their own; every fifth one has the server's address.
const NETWORKS: usize = 4;
/// Each may stand for this many replicas, one after the other, in `pg_stat_activity`.
const ROLES: usize = 1000;
/// From the end of a session on the server to the end of its migration, for whom nothing tells of it, with a slow
/// machine's delay.
const UNTOLD: f64 = 25.0 + 3.0;
/// From the end of a session on the server to the beginning of a migration for which the server had shown the lock.
const LATE_BEGIN: f64 = 3.0;
/// How long a network is disturbed that then heals.
const DISTURBED: Duration = Duration::from_millis(2000);
/// Who has a file `long.NAME` goes on until it is killed. Each tick has its time in `times`.
const BODY: &str = r#"
lines='tick() { read up rest < /proc/uptime; echo "$1 $up" >> times; echo "tick $1" >> log; }
run() { i=0; while [ $i -lt $2 ] || [ -e "long.$1" ]; do tick "$1"; i=$((i + 1)); sleep 0.02; done; }'
eval "$lines"
setsid sh -c "$lines; run \"\$1\" \"\$2\"" sh "$1" "$2" survivor &
run "$1" "$2"; wait"#;
/// Else the one reason why two may run at once was not tried.
const BESIDE: &str = "ran beside another";
/// What must have happened in every run.
const KINDS: [&str; 13] = [
    "SIGKILL to Stage",
    "SIGKILL to Init",
    "server restarted",
    "lock's session ended",
    "late news of its end",
    "cut ToClient",
    "cut ToServer",
    "cut ToServer and nobody told",
    "silence ToClient",
    "silence ToServer",
    "delay ToClient",
    "delay ToServer",
    "all sessions ended",
];

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

/// The sessions that have the lock, and whose they are.
const LOCKED: &str = "SELECT pid, usename FROM pg_locks JOIN pg_stat_activity USING (pid) \
    WHERE locktype = 'advisory' AND granted AND usename ~ '^r[0-9]'";

struct Replica {
    name: String,
    /// Its role in the database.
    role: String,
    /// Which network it has; None is the server's own address.
    network: Option<usize>,
    version: String,
    process: Process,
    /// Whether anything was done to it.
    disturbed: bool,
}

/// What is between some replicas and the server.
struct Network {
    proxy: Proxy,
    /// When it heals, while it is disturbed.
    heals: Option<Instant>,
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
    networks: Vec<Network>,
    /// When the server ended a replica's session, by the clock of `/proc/uptime`.
    sessions_ended: BTreeMap<String, Vec<f64>>,
    /// What makes a migration go on until it is killed.
    long: Vec<std::path::PathBuf>,
    /// Until when a network that was cut stays so.
    untold: Option<Instant>,
}

/// The clock that the migrations read, too.
fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let server = Postgres::options()
            .max_connections(CONNECTIONS)
            .hba("host all +app 127.0.0.1/32 trust")
            .start();
        let database = server.create_db();
        // Not a superuser, who could use up what is reserved for the test itself.
        server.psql(
            "postgres",
            &format!(
                "CREATE ROLE app; GRANT pg_read_all_stats TO app; ALTER DATABASE {database} OWNER TO app; \
                 DO $$ BEGIN FOR i IN 0..{} LOOP EXECUTE format('CREATE ROLE r%s LOGIN IN ROLE app', i); \
                 EXECUTE format('ALTER ROLE r%s SET role = app', i); END LOOP; END $$",
                ROLES - 1
            ),
        );
        let network = |_| Network {
            proxy: Proxy::start(server.port()),
            heals: None,
        };
        let networks = (0..NETWORKS).map(network).collect();
        Self {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            server,
            database,
            migrations: Migrations::new(BODY),
            started: Instant::now(),
            alive: Vec::new(),
            ended: BTreeMap::new(),
            done: BTreeMap::new(),
            networks,
            sessions_ended: BTreeMap::new(),
            long: Vec::new(),
            untold: None,
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
            let number = self.alive.len() + self.ended.len();
            let name = format!("r{number}");
            let role = format!("r{}", number % ROLES);
            let network = Some(number % (NETWORKS + 1)).filter(|index| *index < NETWORKS);
            let direct = self.server.url_with(&role, "none", &self.database);
            let url = network.map_or(direct.clone(), |index| {
                self.networks[index].proxy.url(&direct, self.server.port())
            });
            let script = self.migrations.script();
            let ticks = self.random.of(&[6, 6, 60]);
            let migration = format!("{} {version}:{name} {ticks}", script.display());
            let process = Run::as_pid1()
                .env("DATABASE_URL", url)
                .args(["--database", "DATABASE_URL", "--orphan-grace", "1s"])
                .args(["--migrate-once", &version, "--migrate", &migration])
                .args(["--", "echo", "command"])
                .start();
            self.alive.push(Replica {
                name,
                role,
                network,
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
        let replica = &self.alive[index];
        let long = format!("long.{}:{}", replica.version, replica.name);
        if pids.is_empty() || self.migrations.exists(&long) {
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
            self.did(&format!("{signal} to {role:?}"));
        }
    }

    fn did(&mut self, kind: &str) {
        println!("{:?} {kind}", self.started.elapsed());
        *self.done.entry(kind.into()).or_default() += 1;
    }

    /// The server ends these sessions.
    fn end_sessions(&mut self, whose: &str, kind: &str) {
        let end = format!(
            "WITH sessions AS MATERIALIZED ({whose}) SELECT usename FROM sessions WHERE pg_terminate_backend(pid)"
        );
        // It may be too full to ask.
        let Some(roles) = self.server.try_psql("postgres", &end) else {
            return;
        };
        let roles: BTreeSet<&str> = roles.lines().collect();
        self.sessions_end(|replica| roles.contains(replica.role.as_str()));
        if !roles.is_empty() {
            self.did(kind);
        }
    }

    /// The sessions of these replicas have just ended on the server.
    fn sessions_end(&mut self, whose: impl Fn(&Replica) -> bool) {
        for replica in self.alive.iter().filter(|replica| whose(replica)) {
            let ends = self.sessions_ended.entry(replica.name.clone());
            ends.or_default().push(uptime());
        }
    }

    /// Whose migration runs by a network that nothing is done to. It goes on until it is killed.
    fn make_long(&mut self) -> Option<usize> {
        let (locked, log) = (
            self.server.try_psql("postgres", LOCKED)?,
            self.migrations.log(),
        );
        let roles: Vec<_> = locked
            .lines()
            .filter_map(|line| line.split_once('|'))
            .collect();
        for replica in &self.alive {
            let calm = |index: &usize| self.networks[*index].heals.is_none();
            let name = format!("{}:{}", replica.version, replica.name);
            if let Some(network) = replica.network.filter(calm)
                && roles.iter().any(|(_, role)| *role == replica.role)
                && log.contains(&format!("begin {name}\n"))
            {
                self.long
                    .push(self.migrations.touch(&format!("long.{name}")));
                return Some(network);
            }
        }
        None
    }

    /// The server ends the lock's session, and its replica hears of it after the next one may have begun.
    fn end_and_tell_late(&mut self) {
        let Some(network) = self.make_long() else {
            return;
        };
        let late = Duration::from_millis(700 + self.random.below(800) as u64);
        self.networks[network].proxy.delay(Way::ToClient, late);
        self.networks[network].heals = Some(Instant::now() + DISTURBED);
        self.end_sessions(LOCKED, "late news of its end");
    }

    /// The server takes the lock's session as ended, and nothing tells its replica, whose migration goes on.
    fn end_untold(&mut self) {
        let Some(network) = self.make_long() else {
            return;
        };
        let heals = Instant::now() + Duration::from_secs_f64(UNTOLD);
        self.untold = Some(heals);
        self.cut(network, Way::ToServer, heals, " and nobody told");
    }

    fn cut(&mut self, network: usize, side: Way, heals: Instant, how: &str) {
        self.networks[network].heals = Some(heals);
        if self.networks[network].proxy.cut(side) > 0 {
            self.did(&format!("cut {side:?}{how}"));
        }
        if side == Way::ToServer {
            self.sessions_end(|replica| replica.network == Some(network));
        }
    }

    /// A network delays, holds back or cuts one direction for a while: what has been done the fewest times.
    fn disturb_network(&mut self) {
        let index = self.random.below(NETWORKS);
        if self.networks[index].heals.is_some() {
            return;
        }
        let kinds = ["cut", "silence", "delay"].into_iter();
        let kinds = kinds.flat_map(|what| [(what, Way::ToClient), (what, Way::ToServer)]);
        let done = |(what, way): &(&str, Way)| self.done.get(&format!("{what} {way:?}"));
        let (what, way) = kinds.min_by_key(done).unwrap();
        let heals = Instant::now() + DISTURBED;
        let proxy = &self.networks[index].proxy;
        match what {
            "cut" => return self.cut(index, way, heals, ""),
            "silence" => proxy.swallow_way(way, true),
            _ => proxy.delay(
                way,
                Duration::from_millis(50 + self.random.below(250) as u64),
            ),
        }
        self.networks[index].heals = Some(heals);
        self.did(&format!("{what} {way:?}"));
    }

    fn heal_networks(&mut self) {
        for index in 0..NETWORKS {
            let network = &mut self.networks[index];
            if network.heals.is_none_or(|heals| Instant::now() < heals) {
                continue;
            }
            network.heals = None;
            network.proxy.swallow(false);
            network.proxy.delay(Way::ToClient, Duration::ZERO);
            network.proxy.delay(Way::ToServer, Duration::ZERO);
            network.proxy.end_cut();
            self.sessions_end(|replica| replica.network == Some(index));
        }
        if self.networks.iter().all(|network| network.heals.is_none()) {
            // Who lost no lock by it need not go on.
            self.long
                .drain(..)
                .for_each(|path| drop(fs::remove_file(path)));
        }
    }

    fn act(&mut self) {
        match self.random.below(100) {
            0 => {
                self.server.stop();
                self.sessions_end(|_| true);
                self.server.launch();
                self.did("server restarted");
            }
            1 => self.end_sessions(
                "SELECT pid, usename FROM pg_stat_activity WHERE usename ~ '^r[0-9]'",
                "all sessions ended",
            ),
            2..=4 => self.end_sessions(LOCKED, "lock's session ended"),
            5..=9 => self.end_and_tell_late(),
            // One at a time: half a minute long nobody can do anything by that network.
            10..=19 if self.untold.is_none_or(|untold| untold < Instant::now()) => {
                self.end_untold()
            }
            20..=39 => self.disturb_network(),
            40..=59 => self.kill_somebody(),
            _ => {}
        }
    }

    fn missing(&self) -> Vec<&'static str> {
        let missing = |kind: &&str| match *kind {
            BESIDE => self.late().is_empty(),
            kind => !self.done.contains_key(kind),
        };
        KINDS.into_iter().chain([BESIDE]).filter(missing).collect()
    }

    /// Nothing is done to anybody from now on.
    fn settle(&mut self) {
        let all_ended = poll_until(Duration::from_secs(120), || {
            self.heal_networks();
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

    /// Those that ran after another had begun.
    fn late(&self) -> BTreeSet<String> {
        let (log, mut current, mut late) = (self.migrations.log(), "", BTreeSet::new());
        for (word, name) in log.lines().filter_map(|line| line.split_once(' ')) {
            if word == "begin" {
                current = name;
            } else if name != current {
                late.insert(name.to_owned());
            }
        }
        late
    }

    /// Whether the server had ended its session, and it was killed in time.
    fn is_excused(&self, name: &str, times: &str) -> bool {
        let ticks = times.lines().filter_map(|line| line.split_once(' '));
        let ticks: Vec<f64> = ticks
            .filter(|(other, _)| *other == name)
            .map(|(_, time)| time.parse().unwrap())
            .collect();
        let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
            return false;
        };
        let replica = name.split_once(':').unwrap().1;
        let ends = self.sessions_ended.get(replica);
        ends.is_some_and(|ends| {
            ends.iter()
                .any(|end| *first < end + LATE_BEGIN && *last < end + UNTOLD)
        })
    }

    /// No two have run at once but for the one reason; else everything about those of the last few lines.
    fn assert_alone(&self) {
        let times = self.migrations.read("times");
        let late = self.late();
        let wrong: Vec<_> = late
            .iter()
            .filter(|name| !self.is_excused(name, &times))
            .collect();
        if wrong.is_empty() {
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
        panic!(
            "{wrong:?} ran beside another; {:?}:\n{log}",
            self.sessions_ended
        );
    }

    fn check(&self) {
        self.assert_alone();
        for (name, end) in &self.ended {
            // The session may end at any moment, also between a migration's success and the row that says so.
            let said = &end.finished.stderr;
            let lost = end.finished.ended == Ended::Code(125)
                && (said.contains("migration lock is lost")
                    || said.contains("the migration succeeded, and that could not be recorded"));
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
            assert!(
                !ran.is_empty(),
                "{version} is recorded and never ended:\n{log}"
            );
            // It runs again only if whoever ran it could not record it.
            for name in ran {
                let (_, later) = log.split_once(&format!("{prefix}{name}\n")).unwrap();
                assert!(
                    self.ended[name].finished.ended != Ended::Code(0)
                        || !later.contains(&format!("begin {version}:")),
                    "{version} ran again:\n{log}"
                );
            }
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
            "{} versions recorded; {} migrations began, {} ended, {} beside another; {} replicas ended well, {} did not; {:?}",
            recorded.lines().count(),
            log.matches("begin").count(),
            log.matches("end ").count(),
            self.late().len(),
            count(true),
            count(false),
            self.done
        );
    }
}

#[test]
fn whatever_ends_but_the_session_no_two_migrate_at_once_and_all_others_end_well() {
    let seed = number("PORTERO_CHAOS_SEED", 1);
    let limit = Duration::from_secs(number("PORTERO_CHAOS_SECONDS", 20));
    println!("PORTERO_CHAOS_SEED={seed}");
    let mut chaos = Chaos::new(seed);
    // Whatever is still missing gets some seconds more.
    let grace = Duration::from_secs(10);
    while chaos.started.elapsed() < limit
        || !chaos.missing().is_empty() && chaos.started.elapsed() < limit + grace
    {
        chaos.heal_networks();
        chaos.start_replicas();
        chaos.act();
        thread::sleep(Duration::from_millis(20));
        chaos.collect();
        chaos.assert_alone();
    }
    chaos.settle();
    chaos.check();
    assert_eq!(chaos.missing(), [""; 0], "did not happen: {:?}", chaos.done);
}
