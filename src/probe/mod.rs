//! A probe is one question to one target: are you ready? `healthcheck` asks once, `wait` asks until its limit.

pub mod files;
pub mod http;
mod link;
pub mod names;
pub mod postgres;
mod redis;
mod stream;
pub mod target;
#[cfg(test)]
pub mod testing;
pub mod tls;
pub mod words;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use self::http::Expectation;
use self::target::{Kind, RedisUrl, Target};
use self::tls::OwnFiles;
use crate::exit::Failure;

/// What a target answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is ready. What it said, in a few words (`200`, `SELECT 1`), or nothing.
    Ready(String),
    /// Not yet: refused, timed out, not found, starting up. Waiting helps.
    NotYet(String),
    /// It answers, and says no: a wrong password, no such database, a certificate refused. Waiting will hardly help.
    Refused(String),
}

/// How certificates of `https` and `rediss` targets are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// A file of PEM certificates to trust instead of the system's roots.
    pub ca_cert: Option<PathBuf>,
    /// Do not verify at all.
    pub insecure: bool,
}

/// When a probe must have its answer. One deadline spans everything that the probe does.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// What stands for no limit: longer than any container lives, and short enough for every clock's arithmetic.
    const UNLIMITED: Duration = Duration::from_hours(365 * 24);

    /// A deadline that starts now; `None` is no limit.
    pub fn after(limit: Option<Duration>) -> Self {
        Self::since(Instant::now(), limit)
    }

    /// The same that started before: what it says names the whole limit, as the user gave it, not what was left.
    pub fn since(started: Instant, limit: Option<Duration>) -> Self {
        let limit = limit.map_or(Self::UNLIMITED, |limit| limit.min(Self::UNLIMITED));
        Self {
            at: started + limit,
            limit,
        }
    }

    /// The time that is left, never zero; `None` when it has passed.
    pub fn remaining(self) -> Option<Duration> {
        self.at
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// The first of so many equal parts of what is left.
    pub fn share(self, parts: usize) -> Self {
        let now = Instant::now();
        let left = self.at.saturating_duration_since(now);
        let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
        Self {
            at: now + left / parts,
            ..self
        }
    }

    /// What to say when it has passed.
    pub fn missed(self) -> Readiness {
        Readiness::NotYet(format!("no answer within {}", words::duration(self.limit)))
    }
}

/// What is asked of targets besides being there: which HTTP answer is wanted, and whose certificates are good.
#[derive(Debug)]
pub struct Question {
    expectation: Expectation,
    verification: Verification,
    /// Whether a server on a loopback address is believed without a CA to verify it by.
    trust_loopback: bool,
    verifying: OnceLock<Result<Arc<ClientConfig>, String>>,
    trusting: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Question {
    /// What `wait` asks: any status of 200-399, and certificates that verify.
    pub fn of_wait(verification: Verification) -> Self {
        Self {
            expectation: Expectation::default(),
            verification,
            trust_loopback: false,
            verifying: OnceLock::new(),
            trusting: OnceLock::new(),
        }
    }

    /// What `healthcheck` asks. https to loopback addresses is verified only by a CA that was given: nobody can sit
    /// between (the kubelet's rule for its probes).
    pub fn of_healthcheck(expectation: Expectation, verification: Verification) -> Self {
        Self {
            expectation,
            trust_loopback: true,
            ..Self::of_wait(verification)
        }
    }

    /// Reads the files that asking `target` takes, before it is asked.
    ///
    /// # Errors
    /// A certificate or key that can't be read: no waiting changes that (125).
    pub fn check(&self, target: &Target) -> Result<(), Failure> {
        let needs_roots = match &target.kind {
            Kind::Http(url) => url.tls,
            _ => false,
        };
        let checked = match &target.kind {
            Kind::Postgres(url) => postgres::check_files(url),
            Kind::Redis(url) if url.tls => self.redis_tls(None, url).map(|_| ()),
            // Roots of the system are not asked for where a loopback address may do without them.
            _ if needs_roots && (self.verification.ca_cert.is_some() || !self.trust_loopback) => {
                self.tls(None, true).map(|_| ())
            }
            _ => Ok(()),
        };
        checked.map_err(|why| Failure::failed(format!("{target}: {why}")))
    }

    /// The TLS configuration for a server at `peer`, whose URL leaves it at verifying or does not; made at most once of
    /// each kind.
    fn tls(&self, peer: Option<IpAddr>, verify: bool) -> Result<Arc<ClientConfig>, String> {
        let verify = verify && !self.verification.insecure && !self.is_believed(peer);
        let cell = if verify {
            &self.verifying
        } else {
            &self.trusting
        };
        let own = OwnFiles::default();
        cell.get_or_init(|| tls::client_config(&self.verification, &own, verify).map(Arc::new))
            .clone()
    }

    /// Whether nobody can sit between, and no CA is given to verify by.
    fn is_believed(&self, peer: Option<IpAddr>) -> bool {
        let loopback = peer.is_some_and(|address| address.to_canonical().is_loopback());
        self.trust_loopback && loopback && self.verification.ca_cert.is_none()
    }

    /// The same for Redis, whose URL may name files of its own. `--ca-cert` goes before all that the URL says.
    fn redis_tls(&self, peer: Option<IpAddr>, url: &RedisUrl) -> Result<Arc<ClientConfig>, String> {
        let verify = url.verify || self.verification.ca_cert.is_some();
        if url.files == OwnFiles::default() {
            // Roots of the system are not asked for where a loopback address may do without them.
            let early =
                peer.is_none() && self.trust_loopback && self.verification.ca_cert.is_none();
            return self.tls(peer, verify && !early);
        }
        let believed = url.files.roots.is_none() && self.is_believed(peer);
        tls::client_config(&self.verification, &url.files, verify && !believed).map(Arc::new)
    }
}

/// Asks `target` once, and comes back by the deadline.
pub fn ask(target: &Target, question: &Question, deadline: Deadline) -> Readiness {
    match &target.kind {
        Kind::Postgres(url) => match deadline.remaining() {
            Some(left) => postgres::ask(url, left),
            None => deadline.missed(),
        },
        Kind::Http(url) => http::ask(url, question, deadline),
        Kind::Redis(url) => redis::ask(url, question, deadline),
        Kind::Tcp(host) => ready_when(stream::tcp(host, deadline)),
        Kind::Unix(path) => ready_when(stream::unix(path, deadline)),
        Kind::File(path) => stream::file(path),
    }
}

/// A connection that was made is all that is asked for.
fn ready_when<T>(connection: Result<T, Readiness>) -> Readiness {
    match connection {
        Ok(_) => Readiness::Ready(String::new()),
        Err(readiness) => readiness,
    }
}

/// Between half of a pause and all of it, so that replicas that started together do not stay in step.
pub fn jittered(pause: Duration) -> Duration {
    // The standard library seeds every RandomState anew: that is randomness enough here.
    let random = RandomState::new().build_hasher().finish() % 1024;
    pause / 2 + (pause / 2) * u32::try_from(random).unwrap_or_default() / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_vary_but_never_exceed_their_length() {
        let pause = Duration::from_secs(1);
        let drawn: Vec<_> = (0..100).map(|_| jittered(pause)).collect();
        assert!(
            drawn
                .iter()
                .all(|&drawn| drawn >= pause / 2 && drawn <= pause),
            "{drawn:?}"
        );
        assert!(drawn.iter().any(|&other| other != drawn[0]));
    }
}
