//! Poolers and proxies of the test's own in front of a server.

use std::fs;
use std::net::TcpStream;
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::postgres::{PASSWORD, Postgres, account, as_account};
use super::process::end_tree;
use super::server::unused_port;
use super::{DEADLINE, TempDir, poll_until, tool};

/// A program that takes connections at a port, and ends when it is dropped.
#[derive(Debug)]
struct Daemon {
    port: u16,
    child: Child,
    directory: TempDir,
    /// What ends it at once.
    last: Signal,
}

impl Daemon {
    /// What runs in a directory of its own, with these arguments; its port is the one that is named there.
    #[track_caller]
    fn start(program: &str, directory: TempDir, port: u16, arguments: &[&str]) -> Self {
        let log = fs::File::create(directory.join("log")).unwrap();
        let mut child = as_account(&tool(program))
            .args(arguments)
            .current_dir(directory.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let said = || fs::read_to_string(directory.join("log")).unwrap_or_default();
        let accepts = poll_until(DEADLINE, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{program} ended: {}", said());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        assert!(
            accepts.is_some(),
            "{program} takes no connections: {}",
            said()
        );
        Self {
            port,
            child,
            directory,
            last: Signal::SIGKILL,
        }
    }

    fn url(&self, password: &str, database: &str) -> String {
        format!(
            "postgres://postgres:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.child.id().cast_signed();
        let _ = kill(Pid::from_raw(pid), self.last);
        let ended = || self.child.try_wait().unwrap();
        if poll_until(Duration::from_secs(10), ended).is_none() {
            end_tree(pid);
            let _ = self.child.wait();
        }
    }
}

/// A directory that the programs may write to.
fn directory() -> TempDir {
    let directory = TempDir::new();
    let (uid, gid) = account();
    std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid)).unwrap();
    directory
}

/// A PgBouncer.
#[derive(Debug)]
pub struct PgBouncer(Daemon);

impl PgBouncer {
    /// `pool_mode` is `session`, `transaction` or `statement`.
    pub fn start(server: &Postgres, pool_mode: &str) -> Self {
        Self::start_with(server, pool_mode, 20)
    }

    /// The same, with so many of the server's connections to give.
    pub fn start_with(server: &Postgres, pool_mode: &str, pool_size: u32) -> Self {
        let (directory, port) = (directory(), unused_port());
        let users = directory.file("users", &format!("\"postgres\" \"{PASSWORD}\"\n"));
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = {pool_mode}\n\
             default_pool_size = {pool_size}\n",
            server.port(),
            users.display()
        );
        directory.file("settings", &settings);
        Self(Daemon::start("pgbouncer", directory, port, &["settings"]))
    }

    pub fn url(&self, database: &str) -> String {
        self.0.url(PASSWORD, database)
    }
}

/// An HAProxy that passes bytes on.
#[derive(Debug)]
pub struct HaProxy(Daemon);

impl HaProxy {
    /// It cuts connections that are silent for so many seconds, and asks each second whether there is a PostgreSQL.
    pub fn start(server: &Postgres, timeout: u32) -> Self {
        let (directory, port) = (directory(), unused_port());
        let settings = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client {timeout}s\n timeout server {timeout}s\n\
             listen postgres\n bind 127.0.0.1:{port}\n option pgsql-check user postgres\n\
             server one 127.0.0.1:{} check inter 1s\n",
            server.port()
        );
        directory.file("settings", &settings);
        let arguments = ["-db", "-f", "settings"];
        Self(Daemon::start("haproxy", directory, port, &arguments))
    }

    pub fn url(&self, database: &str) -> String {
        self.0.url(PASSWORD, database)
    }
}

/// A Pgpool-II.
#[derive(Debug)]
pub struct Pgpool(Daemon);

impl Pgpool {
    /// In front of one server, or of a primary and a standby that gets all reads.
    pub fn start(server: &Postgres, reader: Option<&Postgres>) -> Self {
        let (directory, port) = (directory(), unused_port());
        let here = directory.path().display();
        let mut settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nsocket_dir = '{here}'\npcp_socket_dir = '{here}'\n\
             pcp_port = {}\npid_file_name = '{here}/pid'\nlogdir = '{here}'\nenable_pool_hba = on\n\
             num_init_children = 8\nmax_pool = 1\nbackend_hostname0 = '127.0.0.1'\nbackend_port0 = {}\n",
            unused_port(),
            server.port()
        );
        settings += &match reader {
            None => "backend_clustering_mode = 'raw'\n".to_owned(),
            Some(reader) => format!(
                "backend_clustering_mode = 'streaming_replication'\nload_balance_mode = on\nbackend_weight0 = 0\n\
                 backend_hostname1 = '127.0.0.1'\nbackend_port1 = {}\nbackend_weight1 = 1\nsr_check_period = 1\n\
                 sr_check_user = 'postgres'\nsr_check_password = '{PASSWORD}'\nsr_check_database = 'postgres'\n",
                reader.port()
            ),
        };
        directory.file("settings", &settings);
        directory.file("rules", "host all all 127.0.0.1/32 scram-sha-256\n");
        directory.file("pool_passwd", &format!("postgres:TEXT{PASSWORD}\n"));
        directory.file("pcp", "");
        let arguments = ["-n", "-D", "-f", "settings", "-a", "rules", "-F", "pcp"];
        let mut daemon = Daemon::start("pgpool", directory, port, &arguments);
        // So that it gives its shared memory back.
        daemon.last = Signal::SIGQUIT;
        Self(daemon)
    }

    pub fn url(&self, password: &str, database: &str) -> String {
        self.0.url(password, database)
    }
}
