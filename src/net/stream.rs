//! Connections within a deadline: TCP, unix sockets; and files, which are there or not.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use std::{io, thread};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::net::address::Host;
use crate::net::deadline::Deadline;
use crate::net::readiness::Readiness;
use crate::net::resolver;
use crate::wording;

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
    let not_yet = |errno: Errno| Readiness::NotYet(wording::error(&errno.into()));
    let address = UnixAddr::new(path).map_err(not_yet)?;
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(not_yet)?;
        match connect(fd.as_raw_fd(), &address) {
            Ok(()) => {
                let stream = UnixStream::from(fd);
                stream
                    .set_nonblocking(false)
                    .map_err(|error| Readiness::NotYet(wording::error(&error)))?;
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
        Err(error) => Readiness::NotYet(wording::error(&error)),
    }
}

fn resolve(host: &Host, deadline: Deadline) -> Result<Vec<SocketAddr>, Readiness> {
    let found = resolver::resolve(&host.name, deadline).map_err(Readiness::NotYet)?;
    let address = |address| SocketAddr::new(address, host.port);
    Ok(found.into_iter().map(address).collect())
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
            Readiness::NotYet(wording::error(&error))
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
