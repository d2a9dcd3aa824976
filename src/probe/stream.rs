//! Connections within a deadline: name resolution, TCP, unix sockets; and files, which are there or not.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::target::Host;
use super::{Deadline, Readiness, words};

/// The pause before a unix socket is tried again whose queue of connections is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// Connects to the first address of `host` that accepts.
///
/// # Errors
/// Why no address did: always [`Readiness::NotYet`].
pub fn tcp(host: &Host, deadline: Deadline) -> Result<TcpStream, Readiness> {
    any_of(&resolve(host, deadline)?, deadline)
}

/// Connects to `port` on this machine: 127.0.0.1, then `::1` when that is refused.
///
/// # Errors
/// As [`tcp`].
pub fn loopback(port: u16, deadline: Deadline) -> Result<TcpStream, Readiness> {
    any_of(&loopback_addresses(port), deadline)
}

/// Connects to the socket at `path`. std's own connect could block for ever while the socket's queue is full, so the
/// connect is non-blocking (connect(2), EAGAIN).
///
/// # Errors
/// As [`tcp`].
pub fn unix(path: &Path, deadline: Deadline) -> Result<UnixStream, Readiness> {
    let not_yet = |errno: Errno| Readiness::NotYet(words::error(&errno.into()));
    let address = UnixAddr::new(path).map_err(not_yet)?;
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(not_yet)?;
        match connect(fd.as_raw_fd(), &address) {
            Ok(()) => {
                let stream = UnixStream::from(fd);
                stream
                    .set_nonblocking(false)
                    .map_err(|error| Readiness::NotYet(words::error(&error)))?;
                return Ok(stream);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {
                let left = deadline.remaining().ok_or_else(|| deadline.missed())?;
                thread::sleep(QUEUE_PAUSE.min(left));
            }
            Err(errno) => return Err(not_yet(errno)),
        }
    }
}

/// Whether `path` exists; a symlink must lead somewhere.
pub fn file(path: &Path) -> Readiness {
    match path.try_exists() {
        Ok(true) => Readiness::Ready(String::new()),
        Ok(false) => Readiness::NotYet("no such file or directory (ENOENT)".to_owned()),
        Err(error) => Readiness::NotYet(words::error(&error)),
    }
}

/// The addresses of `host`. An address needs no resolver, nor does `localhost`: images without /etc/hosts do not
/// know it, and RFC 6761 (section 6.3) says what it is. Anything else is looked up in a thread, because
/// getaddrinfo(3) knows no deadline.
fn resolve(host: &Host, deadline: Deadline) -> Result<Vec<SocketAddr>, Readiness> {
    if let Ok(address) = host.name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, host.port)]);
    }
    if host.name.eq_ignore_ascii_case("localhost") {
        return Ok(loopback_addresses(host.port).to_vec());
    }
    let (sender, receiver) = mpsc::channel();
    let question = (host.name.clone(), host.port);
    thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || sender.send(question.to_socket_addrs().map(Vec::from_iter)))
        .map_err(|error| {
            Readiness::NotYet(format!("no thread to resolve {:?}: {error}", host.name))
        })?;
    let left = deadline.remaining().ok_or_else(|| deadline.missed())?;
    match receiver.recv_timeout(left) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(_)) => Err(Readiness::NotYet(format!("no such host {:?}", host.name))),
        Ok(Err(error)) => Err(unresolved(&host.name, &error)),
        Err(_) => Err(Readiness::NotYet(format!(
            "no answer to the look-up of {:?} in time",
            host.name
        ))),
    }
}

/// Why a name has no address. std keeps getaddrinfo(3)'s code to itself, so its text decides.
fn unresolved(name: &str, error: &io::Error) -> Readiness {
    let text = error.to_string();
    let reason = text.rsplit(": ").next().unwrap_or_default();
    // musl's words, then glibc's.
    let unknown = [
        "Name does not resolve",
        "Name has no usable address",
        "not known",
        "No address",
    ];
    if unknown.iter().any(|known| reason.contains(known)) {
        return Readiness::NotYet(format!("no such host {name:?}"));
    }
    Readiness::NotYet(format!(
        "cannot resolve {name:?}: {}",
        words::printable(reason)
    ))
}

fn loopback_addresses(port: u16) -> [SocketAddr; 2] {
    [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ]
}

/// The first of `addresses` that accepts. Each but the last gets half of what is left, so that one that swallows
/// packets leaves time for the next; on loopback nothing swallows them, and only a refusal leads on.
fn any_of(addresses: &[SocketAddr], deadline: Deadline) -> Result<TcpStream, Readiness> {
    let mut reason: Option<io::Error> = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.remaining().ok_or_else(|| deadline.missed())?;
        let last = index + 1 == addresses.len() || address.ip().is_loopback();
        match TcpStream::connect_timeout(address, if last { left } else { left / 2 }) {
            Ok(stream) => return Ok(stream),
            Err(error) if address.ip().is_loopback() && error.kind() == io::ErrorKind::TimedOut => {
                return Err(deadline.missed());
            }
            // That there is no way to one address (IPv6 without a route) explains less than what another one said.
            Err(error) => match &reason {
                Some(said) if !no_way(said) => {}
                _ => reason = Some(error),
            },
        }
    }
    let spent = deadline.remaining().is_none();
    Err(match reason {
        Some(error) if !(spent && error.kind() == io::ErrorKind::TimedOut) => {
            Readiness::NotYet(words::error(&error))
        }
        _ => deadline.missed(),
    })
}

fn no_way(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
    matches!(
        error.kind(),
        AddrNotAvailable | HostUnreachable | NetworkUnreachable
    )
}

#[cfg(test)]
mod tests;
