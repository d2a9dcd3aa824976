//! A PostgreSQL server of the test's own, from the system's packages or of another version, in a directory and on a
//! port of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use super::process::end_tree;
pub use super::releases::programs;
use super::releases::{Release, system, template};
use super::server::unused_port;
use super::{DEADLINE, TempDir, poll_until, succeed, tool};

/// The password of the server's one role, `postgres`, for connections over TCP.
pub const PASSWORD: &str = "s3cr3t-Pa55word";

/// In the server's data directory.
const OPENSSL_CONF: &str = "openssl.cnf";

/// What a server is to be like.
#[derive(Clone, Debug, Default)]
pub struct Options {
    tls: bool,
    max_connections: Option<u32>,
    hba: Vec<String>,
    settings: Vec<String>,
    release: Option<Release>,
    openssl: Option<&'static str>,
}

impl Options {
    /// Of another version than the system's.
    pub fn release(mut self, release: Release) -> Self {
        self.release = Some(release);
        self
    }

    /// Speak TLS with a certificate for `localhost` and 127.0.0.1 that [`Postgres::ca`] signed.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    pub fn max_connections(mut self, count: u32) -> Self {
        self.max_connections = Some(count);
        self
    }

    /// A line of `pg_hba.conf`, before the usual ones.
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.into());
        self
    }

    /// A line of `postgresql.conf`.
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.into());
        self
    }

    /// What OpenSSL is told of the server's TLS before the server itself tells it anything (`config(5ssl)`).
    pub fn openssl(mut self, line: &'static str) -> Self {
        self.openssl = Some(line);
        self
    }

    /// Starts a server and waits until it takes connections.
    pub fn start(&self) -> Postgres {
        for _ in 0..10 {
            let mut server = self.prepare();
            if server.try_start() {
                return server;
            }
        }
        panic!("PostgreSQL found no free port in ten tries");
    }

    /// A server with its address, not started yet.
    pub fn prepare(&self) -> Postgres {
        let directory = TempDir::new();
        let data = directory.join("data");
        let release = self.release.clone().unwrap_or_else(system);
        succeed(
            Command::new(tool("cp"))
                .arg("-a")
                .arg(template(&release))
                .arg(&data),
        );
        let (uid, gid) = account();
        std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid)).unwrap();

        let port = unused_port();
        let mut settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             full_page_writes = off\nshared_buffers = 16MB\nmax_connections = {}\nlog_min_messages = warning\n",
            directory.path().display(),
            self.max_connections.unwrap_or(50),
        );
        if self.tls {
            certificates(directory.path(), uid, gid);
            let file = |name| directory.join(name).display().to_string();
            settings += &format!(
                "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
                file("server.crt"),
                file("server.key")
            );
        }
        for line in &self.settings {
            settings += &format!("{line}\n");
        }
        fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
        if let Some(line) = self.openssl {
            let sections =
                "openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = each\n[each]";
            fs::write(data.join(OPENSSL_CONF), format!("{sections}\n{line}\n")).unwrap();
        }
        let mut rules = String::from("local all all trust\n");
        for line in &self.hba {
            rules += &format!("{line}\n");
        }
        rules += "host all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).unwrap();
        Postgres {
            port,
            directory,
            programs: release.programs,
            child: None,
        }
    }
}

/// A server that ends, and whose files go, when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    directory: TempDir,
    programs: PathBuf,
    child: Option<Child>,
}

impl Postgres {
    /// A plain server: one role, [`PASSWORD`] over TCP, no TLS.
    pub fn start() -> Self {
        Options::default().start()
    }

    /// A plain server, and the URL of a new database there.
    pub fn with_database() -> (Self, String) {
        let server = Self::start();
        let url = server.url(&server.create_db());
        (server, url)
    }

    /// A plain server that has an address and is not started yet.
    pub fn prepare() -> Self {
        Options::default().prepare()
    }

    pub fn options() -> Options {
        Options::default()
    }

    /// Starts a prepared or a stopped server and waits until it takes connections.
    #[track_caller]
    pub fn launch(&mut self) {
        assert!(
            self.try_start(),
            "port {} was taken meanwhile:\n{}",
            self.port,
            self.log()
        );
    }

    /// Lets a prepared server start as a hot standby that never hears of its primary.
    pub fn make_standby(&self) {
        let (uid, gid) = account();
        let signal = self.directory.join("data/standby.signal");
        fs::write(&signal, "").unwrap();
        std::os::unix::fs::chown(&signal, Some(uid), Some(gid)).unwrap();
    }

    /// Starts a prepared server and waits until its log has `text`; it need not take connections.
    #[track_caller]
    pub fn launch_until_log(&mut self, text: &str) {
        self.spawn();
        let came = poll_until(DEADLINE, || self.log().contains(text).then_some(()));
        assert!(came.is_some(), "{text:?} is not logged:\n{}", self.log());
    }

    fn spawn(&mut self) {
        let (uid, gid) = account();
        let log = File::create(self.directory.join("log")).unwrap();
        let child = Command::new(tool("setpriv"))
            .args([
                &format!("--reuid={uid}"),
                &format!("--regid={gid}"),
                "--clear-groups",
                "--pdeathsig",
                "QUIT",
            ])
            .arg(self.programs.join("postgres"))
            .arg("-D")
            .arg(self.directory.join("data"))
            .env_clear()
            .env("LC_ALL", "C")
            // Where there is none it changes nothing.
            .env(
                "OPENSSL_CONF",
                self.directory.join("data").join(OPENSSL_CONF),
            )
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// False when another program has the port.
    fn try_start(&mut self) -> bool {
        self.spawn();
        let accepts = poll_until(DEADLINE, || {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                // Of the server before it in this directory, on a busy machine a session may still be ending.
                if self.log().contains("pre-existing shared memory block") {
                    self.spawn();
                    return None;
                }
                return Some(false);
            }
            self.client("postgres", "SELECT 1")
                .output()
                .unwrap()
                .status
                .success()
                .then_some(true)
        });
        match accepts {
            Some(true) => true,
            Some(false) if self.log().contains("Address already in use") => {
                self.child = None;
                false
            }
            Some(false) => panic!("PostgreSQL did not start:\n{}", self.log()),
            None => panic!("PostgreSQL takes no connections:\n{}", self.log()),
        }
    }

    /// A server and a standby of it that has this database.
    pub fn with_standby() -> (Self, Self, String) {
        let server = Self::options()
            .hba("local replication all trust")
            .max_connections(100)
            .start();
        let database = server.create_db();
        let standby = server.standby();
        let query = format!("SELECT 1 FROM pg_database WHERE datname = '{database}'");
        let followed = || (standby.psql("postgres", &query) == "1").then_some(());
        assert!(
            poll_until(DEADLINE, followed).is_some(),
            "the standby does not follow"
        );
        (server, standby, database)
    }

    /// A hot standby that follows this server, which must take replication connections on its socket.
    pub fn standby(&self) -> Self {
        let standby = Options::default()
            .max_connections(100)
            .setting("hot_standby = on")
            .prepare();
        let data = standby.directory.join("data");
        let own = fs::read(data.join("postgresql.auto.conf")).unwrap();
        fs::remove_dir_all(&data).unwrap();
        succeed(
            as_account(&programs().join("pg_basebackup"))
                .args([
                    "-U",
                    "postgres",
                    "--checkpoint=fast",
                    "--no-sync",
                    "-R",
                    "-D",
                ])
                .arg(&data)
                .arg("-h")
                .arg(self.socket_directory())
                .args(["-p", &self.port.to_string()]),
        );
        // What comes last counts.
        let settings = data.join("postgresql.auto.conf");
        let mut all = fs::read(&settings).unwrap();
        all.extend(own);
        fs::write(&settings, all).unwrap();
        let mut standby = standby;
        standby.launch();
        standby
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// The certificate that signed the server's own, of a server with TLS.
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    /// `postgres://` with role and password, for this database.
    pub fn url(&self, database: &str) -> String {
        self.url_with("postgres", PASSWORD, database)
    }

    pub fn url_with(&self, user: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{user}:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// What SQL answers, rows as lines, columns separated by `|`; an error is a panic.
    #[track_caller]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self.client(database, sql).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        assert!(
            output.status.success(),
            "{sql}: {}\n{}",
            text(&output.stderr),
            self.log()
        );
        text(&output.stdout)
    }

    /// The same, or None where the server is full or away.
    pub fn try_psql(&self, database: &str, sql: &str) -> Option<String> {
        let output = self.client(database, sql).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        output.status.success().then(|| text.trim_end().to_owned())
    }

    /// A new, empty database of a name of its own.
    pub fn create_db(&self) -> String {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("db{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Ends the server at once, as a crash of its host would; its data stay for the next [`Postgres::launch`].
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = i32::try_from(child.id()).unwrap();
        // Immediate shutdown: see pg_ctl(1).
        let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        if poll_until(Duration::from_secs(10), || child.try_wait().unwrap()).is_none() {
            end_tree(pid);
            let _ = child.wait();
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn client(&self, database: &str, sql: &str) -> Command {
        let mut psql = Command::new(programs().join("psql"));
        psql.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            sql,
        ])
        .arg("-h")
        .arg(self.socket_directory())
        .args(["-p", &self.port.to_string()])
        .env_clear()
        .stdin(Stdio::null());
        psql
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A certificate authority `ca.crt` and, signed by it, `server.crt` and `server.key` for localhost and 127.0.0.1. Two
/// levels, because a certificate that is its own authority is refused as a server's by strict clients.
pub fn certificates(directory: &Path, uid: u32, gid: u32) {
    let extensions = directory.join("extensions");
    fs::write(
        &extensions,
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n",
    )
    .unwrap();
    let openssl = |arguments: &str| {
        succeed(
            Command::new(tool("openssl"))
                .args(arguments.split(' '))
                .current_dir(directory)
                .stdin(Stdio::null()),
        );
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.crt -days 30 -subj /CN=portero-tests-ca"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=localhost"
    ));
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 30 -extfile extensions",
    );
    for name in ["server.key", "server.crt"] {
        std::os::unix::fs::chown(directory.join(name), Some(uid), Some(gid)).unwrap();
    }
}

/// Who runs the server: it refuses to run as root.
pub fn account() -> (u32, u32) {
    let user = User::from_name("postgres").unwrap();
    let user =
        user.unwrap_or_else(|| panic!("there is no user postgres: apt-get install -y postgresql"));
    (user.uid.as_raw(), user.gid.as_raw())
}

/// A program that refuses to run as root.
pub fn as_account(program: &Path) -> Command {
    let (uid, gid) = account();
    let mut command = Command::new(tool("setpriv"));
    command
        .args([
            &format!("--reuid={uid}"),
            &format!("--regid={gid}"),
            "--clear-groups",
            "--pdeathsig",
            "QUIT",
        ])
        .arg(program)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}
