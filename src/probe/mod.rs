//! A probe is one question to one target: are you ready? `healthcheck` asks once, `wait` asks until its limit.

pub mod http;
#[cfg(feature = "postgres")]
mod postgres;
pub mod question;
#[cfg(feature = "redis")]
mod redis;
pub mod target;

use crate::net::address::Host;
use crate::net::deadline::Deadline;
use crate::net::readiness::Readiness;
use crate::net::stream;
use crate::probe::question::Question;
use crate::probe::target::{Target, TargetKind};

/// Asks `target` once, and comes back by the deadline.
pub fn ask(target: &Target, question: &Question, deadline: Deadline) -> Readiness {
    match &target.kind {
        TargetKind::Postgres(url) => match deadline.remaining() {
            Some(left) => url.ask(left),
            None => deadline.missed(),
        },
        TargetKind::Http(url) => http::ask(url, question, deadline),
        TargetKind::Redis(url) => url.ask(question, deadline),
        TargetKind::Tcp(host) => ready_when(stream::tcp(host, deadline)),
        TargetKind::Ports(ports) => any_port(&ports.hosts, deadline),
        TargetKind::Unix(path) => ready_when(stream::unix(path, deadline)),
        TargetKind::File(path) => stream::file(path),
    }
}

/// The first of several servers that accepts a connection; where none does, why each would not.
fn any_port(hosts: &[Host], deadline: Deadline) -> Readiness {
    let mut reasons = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        match stream::tcp(host, deadline.share(hosts.len() - index)) {
            Ok(_) => return Readiness::Ready(String::new()),
            Err(why) if hosts.len() == 1 => return why,
            Err(Readiness::NotYet(why) | Readiness::Refused(why) | Readiness::Ready(why)) => {
                reasons.push(format!("{host}: {why}"));
            }
        }
    }
    Readiness::NotYet(reasons.join("; "))
}

/// A connection that was made is all that is asked for.
fn ready_when<T>(connection: Result<T, Readiness>) -> Readiness {
    match connection {
        Ok(_) => Readiness::Ready(String::new()),
        Err(readiness) => readiness,
    }
}
