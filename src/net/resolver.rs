//! Names to addresses, as the image's other programs find them: the one resolver of waits, migrations and health
//! checks.
//!
//! The questions are asked by getaddrinfo(3), and musl's is not glibc's: it asks for both families at once and drops a
//! good answer when the other one is an error; it ends its walk through the search list at the first domain that fails,
//! walks it only for names with few dots, and cuts it at 256 bytes; and it takes no answer but success and "no such
//! name", so that SERVFAIL and REFUSED are silence to it until its own time-out (resolv.conf, `timeout`: 5 s). Hence
//! each family is asked for by itself, the list is walked here with names that are whole
//! (`db.shop.svc.cluster.local.`), and a name that has no answer in its share of the time is passed over, and still
//! listened to.

mod files;

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::net::deadline::Deadline;
use crate::net::resolver::files::Resolver;
use crate::sys::names::{Family, NoAddress, addresses};
use crate::wording;

/// How long one name of the search list may go without an answer before the next is asked for as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the second family may take when the first has answered: a name server that swallows AAAA questions must
/// not use up the deadline.
const GRACE: Duration = Duration::from_millis(200);

/// The stack of a look-up's thread: musl's resolver keeps its packets there, some 20 kB.
const STACK: usize = 128 * 1024;

/// What all messages of names that could not be resolved begin with.
const UNRESOLVED: &str = "can't resolve ";

/// Whether a reason is that a name has no address.
pub fn is_unresolved(reason: &str) -> bool {
    reason.contains(UNRESOLVED)
}

/// The addresses of `name`, those first that are to be tried first, and never none.
///
/// # Errors
/// Why there are none: no such host, or a name server that does not tell, as far as that can be known.
pub fn resolve(name: &str, deadline: Deadline) -> Result<Vec<IpAddr>, String> {
    if let Some(known) = without_asking(name) {
        return Ok(known);
    }
    let resolver = Resolver::of_this_machine();
    let shown = wording::printable(name);
    if let Some(option) = resolver.silenced_by {
        return Err(format!(
            "{UNRESOLVED}{shown}: /etc/resolv.conf has {option}0, with which nobody is asked: make it {option}1"
        ));
    }
    match ask(&resolver.candidates(name), deadline) {
        Ok(found) => Ok(ordered(found)),
        Err(Unknown::NotFound) => Err(format!("{UNRESOLVED}{shown}: no such host")),
        Err(Unknown::NoThread(error)) => Err(no_thread(name, &error)),
        Err(Unknown::Untold) if !resolver.is_configured => Err(format!(
            "{UNRESOLVED}{shown}: there is no /etc/resolv.conf, and no name server on 127.0.0.1 that answers"
        )),
        Err(Unknown::Untold) => Err(format!(
            "{UNRESOLVED}{shown}: the name server fails, refuses or does not answer"
        )),
    }
}

/// What is said where a look-up has no thread to be in.
pub fn no_thread(name: &str, error: &io::Error) -> String {
    let (shown, reason) = (wording::printable(name), wording::error(error));
    format!("{UNRESOLVED}{shown}: no thread to ask in: {reason}")
}

/// What no name server is needed for: an address in any spelling that the C library knows, `localhost` (images
/// without /etc/hosts don't know it; RFC 6761, section 6.3, says what it is), and what stands in /etc/hosts, where
/// `localhost` may be another address. As in glibc, a name that stands there with one family has no other.
fn without_asking(name: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Some(vec![address]);
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.eq_ignore_ascii_case("localhost") {
        return Some(localhost(files::hosts(bare)));
    }
    let numeric = CString::new(name)
        .ok()
        .and_then(|name| addresses(&name, Family::V4, true).ok());
    let known = numeric.unwrap_or_else(|| ordered(files::hosts(name)));
    (!known.is_empty()).then_some(known)
}

/// The two usual addresses, also where /etc/hosts has but one of them: what runs here may listen on either. IPv4 comes
/// first.
fn localhost(mut named: Vec<IpAddr>) -> Vec<IpAddr> {
    let usual: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    if named.iter().all(|address| usual.contains(address)) {
        return usual.to_vec();
    }
    named.sort_by_key(IpAddr::is_ipv6);
    named.dedup();
    named
}

/// Why a name has no address.
enum Unknown {
    NotFound,
    /// Nobody said that there is none.
    Untold,
    NoThread(io::Error),
}

/// Asks for one name after the other, both families side by side, until one has an address.
fn ask(candidates: &[String], deadline: Deadline) -> Result<Vec<IpAddr>, Unknown> {
    let mut asked: Vec<[Arc<Lookup>; 2]> = Vec::new();
    for (index, name) in candidates.iter().enumerate() {
        let Some(left) = deadline.remaining() else {
            break;
        };
        let later = candidates.len() - index - 1;
        let patience = match u32::try_from(later) {
            Ok(0) => left,
            Ok(later) => PATIENCE.min(left / (later + 1)),
            Err(_) => Duration::ZERO,
        };
        asked.push([
            Lookup::join(name, Family::V4).map_err(Unknown::NoThread)?,
            Lookup::join(name, Family::V6).map_err(Unknown::NoThread)?,
        ]);
        let found = listen(&asked, later == 0, Instant::now() + patience);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let not_found = |lookup: &Arc<Lookup>| lookup.answer() == Some(Err(NoAddress::NotFound));
    let all_asked = asked.len() == candidates.len();
    if all_asked && asked.iter().flatten().all(not_found) {
        Err(Unknown::NotFound)
    } else {
        Err(Unknown::Untold)
    }
}

/// Listens until a name has addresses, `end` has come, or nothing more is to be expected: for the last name of a list
/// that means of all of them, else of this one alone.
fn listen(asked: &[[Arc<Lookup>; 2]], last: bool, end: Instant) -> Vec<IpAddr> {
    let mut under_way = under_way();
    let mut end = end;
    let mut heard = false;
    loop {
        let found = asked.iter().find(|pair| pair.iter().any(|it| it.found()));
        let waits_for = match found {
            Some(pair) => std::slice::from_ref(pair),
            None if last => asked,
            None => asked.last().map(std::slice::from_ref).unwrap_or_default(),
        };
        if found.is_some() && !heard {
            heard = true;
            end = end.min(Instant::now() + GRACE);
        }
        let left = end.saturating_duration_since(Instant::now());
        let settled = waits_for.iter().flatten().all(|it| it.answer().is_some());
        if settled || left.is_zero() {
            let answers = found.into_iter().flatten().filter_map(|it| it.answer());
            return answers.flatten().flatten().collect();
        }
        under_way = ANSWERED
            .wait_timeout(under_way, left)
            .map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
    }
}

/// One question for one family, in a thread of its own, as getaddrinfo(3) knows no deadline.
struct Lookup {
    name: String,
    family: Family,
    answer: Mutex<Option<Result<Vec<IpAddr>, NoAddress>>>,
}

/// The look-ups that have no answer yet. Who asks the same question joins: a name server that is silent then has one
/// thread for each name and family, however often a wait tries.
static UNDER_WAY: Mutex<Vec<Arc<Lookup>>> = Mutex::new(Vec::new());

/// Some look-up has its answer.
static ANSWERED: Condvar = Condvar::new();

fn under_way() -> MutexGuard<'static, Vec<Arc<Lookup>>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lookup {
    /// The look-up that is under way, or a new one.
    fn join(name: &str, family: Family) -> io::Result<Arc<Self>> {
        let mut under_way = under_way();
        let same = |other: &&Arc<Self>| other.name == name && other.family == family;
        if let Some(lookup) = under_way.iter().find(same) {
            return Ok(Arc::clone(lookup));
        }
        let lookup = Arc::new(Self {
            name: name.to_owned(),
            family,
            answer: Mutex::new(None),
        });
        let asking = Arc::clone(&lookup);
        thread::Builder::new()
            .name("resolver".to_owned())
            .stack_size(STACK)
            .spawn(move || asking.ask())?;
        under_way.push(Arc::clone(&lookup));
        Ok(lookup)
    }

    fn ask(self: &Arc<Self>) {
        let answer = CString::new(self.name.as_str())
            .map_err(|_| NoAddress::NotFound)
            .and_then(|name| addresses(&name, self.family, false));
        // Under the lock of all, so that nobody begins to wait between the answer and the call.
        let mut under_way = under_way();
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        under_way.retain(|other| !Arc::ptr_eq(other, self));
        ANSWERED.notify_all();
    }

    fn answer(&self) -> Option<Result<Vec<IpAddr>, NoAddress>> {
        self.answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn found(&self) -> bool {
        matches!(self.answer(), Some(Ok(found)) if !found.is_empty())
    }
}

/// In glibc's order (RFC 3484, section 6) as far as it matters to one who tries them all: last what there is no way to,
/// before that IPv6 before IPv4.
fn ordered(mut found: Vec<IpAddr>) -> Vec<IpAddr> {
    if found.len() > 1 {
        found.sort_by_cached_key(|address| (!has_way(address), address.is_ipv4()));
        found.dedup();
    }
    found
}

/// Whether the kernel knows a route and an address of its own to go from; nothing is sent.
fn has_way(address: &IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0))
        .and_then(|socket| socket.connect((*address, 53)))
        .is_ok()
}

#[cfg(test)]
mod tests;
