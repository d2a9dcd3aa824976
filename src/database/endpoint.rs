//! Where a server is to be found: its addresses or its socket, and how they are named in messages.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::socket::UnixAddr;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::database::url::{PostgresUrl, Server, ServerHost};
use crate::net::address::MAX_SOCKET_PATH;
use crate::net::deadline::Deadline;
use crate::net::resolver;

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

/// Whether every socket of the URL has a path that the kernel takes.
///
/// # Errors
/// A directory whose sockets no waiting makes shorter.
pub fn check_sockets(url: &PostgresUrl) -> Result<(), String> {
    for server in &url.servers {
        if let ServerHost::Socket(directory) = &server.host {
            let path = socket_path(directory, server.port);
            UnixAddr::new(&path).map_err(|_| {
                format!(
                    "its socket has a path of {} bytes, and the kernel takes {MAX_SOCKET_PATH}",
                    path.as_os_str().len()
                )
            })?;
        }
    }
    Ok(())
}

/// Where libpq looks for the socket of a port.
pub(super) fn socket_path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

/// The addresses of one server. The look-up blocks a thread of its own, until `end` at most.
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
        ServerHost::Socket(directory) => {
            return Ok(vec![endpoint(Socket::Unix(directory.clone()))]);
        }
        ServerHost::Default if Path::new(SOCKET_DIRECTORY).is_dir() => {
            return Ok(vec![endpoint(Socket::Unix(SOCKET_DIRECTORY.into()))]);
        }
        ServerHost::Default | ServerHost::Tcp(_) => {}
    }
    let deadline = Deadline::after(Some(end.saturating_duration_since(Instant::now())));
    let asked = name.clone();
    let (answer, found) = oneshot::channel();
    // Not one of tokio's, which panics where none is to be had.
    thread::Builder::new()
        .name("resolver".into())
        .spawn(move || answer.send(resolver::resolve(&asked, deadline)))
        .map_err(|error| resolver::no_thread(&name, &error))?;
    let found = found.await.map_err(|error| error.to_string())??;
    let endpoints = found.into_iter().map(|found| endpoint(Socket::Tcp(found)));
    Ok(endpoints.collect())
}

/// The name that certificates and the password file know a server by; the latter says localhost for the usual socket.
pub(super) fn server_name(server: &Server) -> String {
    match &server.host {
        ServerHost::Tcp(name) => name.clone(),
        ServerHost::Socket(path) if path != Path::new(SOCKET_DIRECTORY) => {
            path.to_string_lossy().into_owned()
        }
        ServerHost::Socket(_) | ServerHost::Default => "localhost".into(),
    }
}

impl Endpoint<'_> {
    /// As it is named where several endpoints were tried.
    pub(super) fn label(&self) -> String {
        match &self.socket {
            Socket::Tcp(address) => SocketAddr::new(*address, self.server.port).to_string(),
            Socket::Unix(directory) => socket_path(directory, self.server.port)
                .display()
                .to_string(),
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
