//! Where a server is to be found: its addresses or its socket, and how they are named in messages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tokio::time::{Instant, timeout};

use super::url::{Host, Server};

/// Where Debian's, Alpine's and the official image's servers have their socket; libpq's own default is built in.
const SOCKET_DIRECTORY: &str = "/var/run/postgresql";

/// One place to try.
#[derive(Clone)]
pub(super) struct Endpoint<'a> {
    pub server: &'a Server,
    /// For certificates, the password file and messages.
    pub name: String,
    pub socket: Socket,
}

/// What is connected to.
#[derive(Clone)]
pub(super) enum Socket {
    Tcp(IpAddr),
    Unix(PathBuf),
}

/// The addresses of one server. The lookup blocks a thread of the pool, which may outlive the limit; nobody waits for it.
pub(super) async fn resolve(server: &Server, end: Instant) -> Result<Vec<Endpoint<'_>>, String> {
    let name = server_name(server);
    let endpoint = |socket| Endpoint {
        server,
        name: name.clone(),
        socket,
    };
    if let Some(address) = server.address {
        return Ok(vec![endpoint(Socket::Tcp(address))]);
    }
    match &server.host {
        Host::Socket(directory) => return Ok(vec![endpoint(Socket::Unix(directory.clone()))]),
        Host::Default if Path::new(SOCKET_DIRECTORY).is_dir() => {
            return Ok(vec![endpoint(Socket::Unix(SOCKET_DIRECTORY.into()))]);
        }
        Host::Default | Host::Tcp(_) => {}
    }
    let limit = end.saturating_duration_since(Instant::now());
    match timeout(limit, tokio::net::lookup_host((name.as_str(), server.port))).await {
        Err(_) => Err(format!("no answer in time for the name {name} (ETIMEDOUT)")),
        // RFC 6761 (section 6.3) says what it is where there is no /etc/hosts to say it.
        Ok(Err(_)) if name.eq_ignore_ascii_case("localhost") => {
            let loopback = [
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ];
            Ok(loopback
                .map(|address| endpoint(Socket::Tcp(address)))
                .to_vec())
        }
        Ok(Err(error)) => Err(format!("can't resolve {name}: {}", lookup_reason(&error))),
        Ok(Ok(found)) => {
            let endpoints: Vec<_> = found
                .map(|found: SocketAddr| endpoint(Socket::Tcp(found.ip())))
                .collect();
            if endpoints.is_empty() {
                Err(format!("{name} has no address"))
            } else {
                Ok(endpoints)
            }
        }
    }
}

/// getaddrinfo's own words, without the standard library's preface.
fn lookup_reason(error: &std::io::Error) -> String {
    let text = crate::probe::words::error(error);
    text.strip_prefix("failed to lookup address information: ")
        .map_or(text.clone(), String::from)
}

/// The name that certificates and the password file know a server by; the latter says localhost for the usual socket.
pub(super) fn server_name(server: &Server) -> String {
    match &server.host {
        Host::Tcp(name) => name.clone(),
        Host::Socket(path) if path != Path::new(SOCKET_DIRECTORY) => {
            path.to_string_lossy().into_owned()
        }
        Host::Socket(_) | Host::Default => "localhost".into(),
    }
}

impl Endpoint<'_> {
    /// As it is named where several endpoints were tried.
    pub(super) fn label(&self) -> String {
        match &self.socket {
            Socket::Tcp(address) => SocketAddr::new(*address, self.server.port).to_string(),
            Socket::Unix(directory) => {
                format!("{}/.s.PGSQL.{}", directory.display(), self.server.port)
            }
        }
    }
}

/// Why each endpoint would not do.
#[derive(Default)]
pub(super) struct Reasons(Vec<(String, String)>);

impl Reasons {
    pub(super) fn add(&mut self, label: &str, reason: String) {
        if !self
            .0
            .iter()
            .any(|(known, said)| known == label && *said == reason)
        {
            self.0.push((label.to_owned(), reason));
        }
    }

    /// The reason alone when it is the same everywhere (`localhost` has two addresses), else each with its endpoint.
    pub(super) fn text(&self) -> String {
        match self.0.as_slice() {
            [(label, reason), rest @ ..] if rest.iter().all(|(_, other)| other == reason) => {
                // A missing socket says most by its path.
                if label.starts_with('/') {
                    format!("{label}: {reason}")
                } else {
                    reason.clone()
                }
            }
            several => {
                let texts: Vec<_> = several
                    .iter()
                    .map(|(label, reason)| format!("{label}: {reason}"))
                    .collect();
                texts.join("; ")
            }
        }
    }
}
