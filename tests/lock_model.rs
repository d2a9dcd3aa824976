//! The migration lock's protocol (src/database/lock.rs) as a model, explored exhaustively for two and three replicas:
//! every order in which they, the server, a proxy, a pooler and whoever kills portero can act. What is guaranteed holds
//! in each state; what is not is reachable, and by late news alone; and each part of the protocol is needed, for
//! without it something breaks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::print_stdout, clippy::type_complexity)]

use std::collections::{HashSet, VecDeque};

/// The protocol, or a mutation of it, and what the world around it does.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// A new lock counts only when who lost one in time to hear of it has heard of it.
    settling: bool,
    /// A session is known by its pid and its beginning, rather than by its pid alone.
    beginning: bool,
    /// The first process of a migration is killed with portero.
    parent_death: bool,
    /// Sharing is looked for before the lock is taken.
    check: bool,
    /// An unanswered look kills before the server frees the lock of a cut connection.
    look_first: bool,
    /// The connection is given up when its migration is dead, not before.
    kill_first: bool,
    /// A pooler gives all clients the same session.
    pooled: bool,
    /// A pooler may give a client another session later on.
    moving: bool,
    /// How often something may happen to a session, a connection or portero.
    disturbances: u8,
}

/// In one exploration, over all replicas.
const MOST_SESSIONS: usize = 4;

const PROTOCOL: Rules = Rules {
    settling: true,
    beginning: true,
    parent_death: false,
    check: true,
    look_first: true,
    kill_first: true,
    pooled: false,
    moving: false,
    disturbances: 4,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    Away,
    Looking,
    Settling,
    Held,
    Running,
    /// 125, or done.
    Ended,
}

/// The end of a session, on its way to who had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum News {
    None,
    /// It comes, and the migration is dead, before a lock that was got after it has settled.
    InTime,
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Replica {
    phase: Phase,
    portero: bool,
    /// The session that it has opened.
    session: Option<usize>,
    /// The session that answers its questions.
    link: Option<usize>,
    /// The migration's first process, a wrapper: it has the socket and waits for its child, for which it closed it.
    wrapper: bool,
    child: bool,
    news: News,
    /// Its connection swallows everything.
    cut: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    /// The smallest that is free: pids come again at once.
    pid: usize,
    alive: bool,
    /// The server, or something in between, ended it.
    ended_by_server: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// In the order of their beginnings.
    sessions: Vec<Session>,
    owner: Option<usize>,
    replicas: Vec<Replica>,
    /// Some news came late, or there was nobody to hear it.
    late: bool,
    /// What was done to them.
    disturbances: u8,
    /// Started with a lock that was not its own.
    wrong_start: bool,
}

impl World {
    fn new(replicas: usize) -> Self {
        let replica = Replica {
            phase: Phase::Away,
            portero: true,
            session: None,
            link: None,
            wrapper: false,
            child: false,
            news: News::None,
            cut: false,
        };
        Self {
            sessions: Vec::new(),
            owner: None,
            replicas: vec![replica; replicas],
            late: false,
            disturbances: 0,
            wrong_start: false,
        }
    }

    /// A session ends: the server frees its lock.
    fn end_session(&mut self, session: Option<usize>) {
        let Some(session) = session else { return };
        self.sessions[session].alive = false;
        if self.owner == Some(session) {
            self.owner = None;
        }
    }

    /// The socket is closed when nobody has it any more.
    fn close_if_unused(&mut self, r: usize) {
        let replica = self.replicas[r];
        if !replica.portero && !replica.wrapper {
            self.end_session(replica.session);
        }
    }

    fn kill_migration(&mut self, r: usize) {
        self.replicas[r].wrapper = false;
        self.replicas[r].child = false;
        self.replicas[r].phase = Phase::Ended;
    }

    /// Whether the server shows the lock as this replica's.
    fn look(&self, r: usize, rules: Rules) -> bool {
        let (Some(link), Some(own)) = (self.replicas[r].link, self.replicas[r].session) else {
            return false;
        };
        let same = if rules.beginning {
            link == own
        } else {
            self.sessions[link].pid == self.sessions[own].pid
        };
        same && self.sessions[link].alive && self.owner == Some(link) && !self.replicas[r].cut
    }

    /// The server, or a proxy, ends the session of `r`, which hears of it in time or late.
    fn server_ends(&self, r: usize, news: News) -> Self {
        let mut next = self.clone();
        let session = next.replicas[r].session.unwrap();
        next.end_session(Some(session));
        next.sessions[session].ended_by_server = true;
        let replica = &mut next.replicas[r];
        let unheard = !replica.portero && (replica.wrapper || replica.child);
        if replica.portero && replica.phase != Phase::Ended {
            replica.news = news;
        }
        next.late |= news == News::Late || unheard;
        next
    }

    fn next(&self, rules: Rules) -> Vec<Self> {
        let mut all = Vec::new();
        for r in 0..self.replicas.len() {
            if self.replicas[r].portero {
                self.portero_acts(r, rules, &mut all);
            }
            self.others_act(r, rules, &mut all);
            let before = all.len();
            if self.disturbances < rules.disturbances {
                self.disturb(r, rules, &mut all);
            }
            for disturbed in &mut all[before..] {
                disturbed.disturbances += 1;
            }
        }
        all
    }

    fn portero_acts(&self, r: usize, rules: Rules, all: &mut Vec<Self>) {
        let (mut next, replica) = (self.clone(), self.replicas[r]);
        match replica.phase {
            // Who finds the lock held changes nothing; two that find it free at once are here.
            Phase::Away if self.owner.is_none() && self.sessions.len() < MOST_SESSIONS => {
                let shared = self.sessions.iter().position(|session| session.alive);
                let session = shared.filter(|_| rules.pooled).unwrap_or_else(|| {
                    let taken = |pid| self.sessions.iter().any(|s| s.alive && s.pid == pid);
                    let pid = (0..).find(|pid| !taken(*pid)).unwrap();
                    next.sessions.push(Session {
                        pid,
                        alive: true,
                        ended_by_server: false,
                    });
                    next.sessions.len() - 1
                });
                next.replicas[r].session = Some(session);
                next.replicas[r].link = Some(session);
                next.replicas[r].phase = Phase::Looking;
                all.push(next);
            }
            Phase::Looking if rules.pooled && rules.check => {
                next.replicas[r].phase = Phase::Ended;
                all.push(next);
            }
            Phase::Looking => {
                let link = replica.link.unwrap();
                if self.sessions[link].alive && self.owner.is_none_or(|owner| owner == link) {
                    next.owner = Some(link);
                    next.replicas[r].phase = Phase::Settling;
                } else {
                    next.end_session(replica.session.filter(|_| !rules.pooled));
                    next.replicas[r].phase = Phase::Away;
                }
                all.push(next);
            }
            Phase::Settling => {
                let told = self.replicas.iter().all(|other| other.news != News::InTime);
                if self.look(r, rules) && (told || !rules.settling) {
                    next.replicas[r].phase = Phase::Held;
                    all.push(next);
                }
            }
            Phase::Held if self.look(r, rules) => {
                next.wrong_start |= self.owner != replica.session;
                next.replicas[r].phase = Phase::Running;
                next.replicas[r].wrapper = true;
                next.replicas[r].child = true;
                all.push(next);
            }
            Phase::Running if !replica.wrapper && !replica.child => {
                next.end_session(replica.session);
                next.replicas[r].phase = Phase::Ended;
                all.push(next);
            }
            _ => {}
        }
        self.portero_hears(r, rules, all);
    }

    fn portero_hears(&self, r: usize, rules: Rules, all: &mut Vec<Self>) {
        let replica = self.replicas[r];
        if replica.news != News::None {
            let mut next = self.clone();
            next.kill_migration(r);
            next.replicas[r].news = News::None;
            all.push(next);
        }
        if replica.cut && replica.phase != Phase::Ended {
            let mut next = self.clone();
            if !rules.kill_first {
                next.end_session(replica.session);
                all.push(next.clone());
            }
            next.kill_migration(r);
            all.push(next);
        }
    }

    /// What comes of it, and by itself.
    fn others_act(&self, r: usize, rules: Rules, all: &mut Vec<Self>) {
        let replica = self.replicas[r];
        let has_session = self.has_session(r);
        // Keepalives: after portero's own limit.
        let dead = replica.phase == Phase::Ended || !replica.portero;
        if has_session && replica.cut && (dead || !rules.look_first) {
            let mut next = self.server_ends(r, News::None);
            next.replicas[r].news = News::None;
            all.push(next);
        }
        if replica.link.is_none() && replica.session.is_some() {
            for link in (0..self.sessions.len()).filter(|s| self.sessions[*s].alive) {
                let mut next = self.clone();
                next.replicas[r].link = Some(link);
                all.push(next);
            }
        }
        // A program's own end: the child's first.
        if replica.wrapper || replica.child {
            let mut next = self.clone();
            if replica.child {
                next.replicas[r].child = false;
            } else {
                next.replicas[r].wrapper = false;
            }
            next.close_if_unused(r);
            all.push(next);
        }
    }

    /// Whether there is a session to disturb.
    fn has_session(&self, r: usize) -> bool {
        let replica = self.replicas[r];
        replica.session.is_some_and(|s| self.sessions[s].alive)
            && !matches!(replica.phase, Phase::Away | Phase::Looking)
    }

    /// What disturbs them, as often as the rules allow.
    fn disturb(&self, r: usize, rules: Rules, all: &mut Vec<Self>) {
        let replica = self.replicas[r];
        let has_session = self.has_session(r);
        if has_session && !replica.cut {
            all.push(self.server_ends(r, News::InTime));
            all.push(self.server_ends(r, News::Late));
            let mut next = self.clone();
            next.replicas[r].cut = true;
            all.push(next);
        }
        if rules.moving && has_session {
            let mut next = self.server_ends(r, News::Late);
            next.replicas[r].link = None;
            all.push(next);
        }
        if replica.portero {
            let mut next = self.clone();
            next.replicas[r].portero = false;
            next.replicas[r].news = News::None;
            next.late |= replica.news != News::None && (replica.wrapper || replica.child);
            if rules.parent_death {
                next.replicas[r].wrapper = false;
            }
            next.close_if_unused(r);
            all.push(next);
        }
    }

    /// Two migrations at once.
    fn overlap(&self) -> bool {
        let alive = |replica: &&Replica| replica.wrapper || replica.child;
        self.replicas.iter().filter(alive).count() > 1
    }

    /// A migration that outlives its portero and has no session any more, though the server did not end it.
    fn abandoned(&self) -> bool {
        let abandoned = |replica: &Replica| {
            let session = &self.sessions[replica.session.unwrap()];
            replica.child && !replica.portero && !session.alive && !session.ended_by_server
        };
        self.replicas
            .iter()
            .any(|replica| replica.session.is_some() && abandoned(replica))
    }
}

/// What can happen at all.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    wrong_start: bool,
    abandoned: bool,
    overlap_without_late_news: bool,
    overlap_by_late_news: bool,
    migrations: bool,
    states: usize,
}

impl Found {
    fn breaks_a_promise(&self) -> bool {
        self.wrong_start || self.abandoned || self.overlap_without_late_news
    }
}

fn explore(replicas: usize, rules: Rules) -> Found {
    let first = World::new(replicas);
    let mut seen = HashSet::from([first.clone()]);
    let mut queue = VecDeque::from([first]);
    let mut found = Found::default();
    while let Some(world) = queue.pop_front() {
        found.wrong_start |= world.wrong_start;
        found.abandoned |= world.abandoned();
        found.overlap_without_late_news |= world.overlap() && !world.late;
        found.overlap_by_late_news |= world.overlap() && world.late;
        found.migrations |= world.replicas.iter().any(|replica| replica.child);
        for mut next in world.next(rules) {
            // Replicas are all alike.
            next.replicas.sort();
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    found.states = seen.len();
    found
}

#[test]
fn what_is_guaranteed_holds_in_every_state_and_late_news_alone_lets_two_migrate() {
    for replicas in [2, 3] {
        for moving in [false, true] {
            // Half a million states and more take minutes on a busy machine.
            let disturbances = match (replicas, moving) {
                (2, _) => 4,
                (_, false) => 2,
                _ => 1,
            };
            let rules = Rules {
                moving,
                disturbances,
                ..PROTOCOL
            };
            let found = explore(replicas, rules);
            println!("{replicas} replicas, moving {moving}: {found:?}");
            assert!(!found.breaks_a_promise(), "{found:?}");
            // The limit that nothing on the client's side can take away.
            assert!(found.migrations && found.overlap_by_late_news, "{found:?}");
            assert!(found.states > 1000, "{found:?}");
        }
    }
}

#[test]
fn a_pooler_that_shares_sessions_lets_nobody_migrate() {
    let pooled = Rules {
        pooled: true,
        ..PROTOCOL
    };
    let found = explore(3, pooled);
    assert!(!found.migrations && !found.breaks_a_promise(), "{found:?}");
}

#[test]
fn without_any_one_part_of_the_protocol_a_promise_breaks() {
    let p = PROTOCOL;
    let mutations: [(&str, Rules, fn(&Found) -> bool); 6] = [
        (
            "no settling",
            Rules {
                settling: false,
                ..p
            },
            |found| found.overlap_without_late_news,
        ),
        (
            "known by pid alone",
            Rules {
                beginning: false,
                moving: true,
                ..p
            },
            |found| found.wrong_start,
        ),
        (
            "parent-death signal",
            Rules {
                parent_death: true,
                ..p
            },
            |found| found.abandoned && found.overlap_without_late_news,
        ),
        (
            "sharing not looked for",
            Rules {
                check: false,
                pooled: true,
                ..p
            },
            |found| found.overlap_without_late_news,
        ),
        (
            "keepalives before the look",
            Rules {
                look_first: false,
                ..p
            },
            |found| found.overlap_without_late_news,
        ),
        (
            "given up before the kill",
            Rules {
                kill_first: false,
                ..p
            },
            |found| found.overlap_without_late_news,
        ),
    ];
    for (name, rules, breaks) in mutations {
        let found = explore(2, rules);
        assert!(breaks(&found), "{name}: {found:?}");
    }
}
