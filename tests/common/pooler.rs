//! A PgBouncer of the test's own in front of a server.

use std::fs;
use std::net::TcpStream;
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::postgres::{PASSWORD, Postgres, as_account};
use super::server::unused_port;
use super::{DEADLINE, TempDir, poll_until, tool};

/// A pooler that ends when it is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    child: Child,
    _directory: TempDir,
}

impl PgBouncer {
    /// `pool_mode` is `session`, `transaction` or `statement`.
    pub fn start(server: &Postgres, pool_mode: &str) -> Self {
        Self::start_with(server, pool_mode, 20)
    }

    /// The same, with so many of the server's connections to give.
    pub fn start_with(server: &Postgres, pool_mode: &str, pool_size: u32) -> Self {
        let (directory, port) = (TempDir::new(), unused_port());
        let users = directory.file("users", &format!("\"postgres\" \"{PASSWORD}\"\n"));
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = {pool_mode}\n\
             default_pool_size = {pool_size}\n",
            server.port(),
            users.display()
        );
        let settings = directory.file("settings", &settings);
        let log = fs::File::create(directory.join("log")).unwrap();
        let mut child = as_account(&tool("pgbouncer"))
            .arg(settings)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let accepts = poll_until(DEADLINE, || {
            assert!(
                child.try_wait().unwrap().is_none(),
                "pgbouncer ended: {:?}",
                fs::read_to_string(directory.join("log"))
            );
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        assert!(accepts.is_some(), "pgbouncer takes no connections");
        Self {
            port,
            child,
            _directory: directory,
        }
    }

    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres:{PASSWORD}@127.0.0.1:{}/{database}",
            self.port
        )
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGKILL,
        );
        let _ = self.child.wait();
    }
}
