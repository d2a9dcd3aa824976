//! A Redis server of the test's own, from the system's package, on a port and in a directory of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::process::end_tree;
use super::server::unused_port;
use super::{DEADLINE, TempDir, poll_until, postgres, tool};

/// A server that ends, and whose files go, when it is dropped.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    settings: Vec<String>,
    directory: TempDir,
    child: Option<Child>,
}

impl Redis {
    /// A server with these lines of redis.conf, which takes connections.
    #[track_caller]
    pub fn start(settings: &[&str]) -> Self {
        let mut server = Self::prepare(settings);
        server.launch();
        server
    }

    /// The same with TLS and no plain port, its certificate for localhost and 127.0.0.1 signed by [`Redis::ca`].
    #[track_caller]
    pub fn start_with_tls(settings: &[&str]) -> Self {
        let mut server = Self::prepare(settings);
        let root = nix::unistd::getuid().as_raw();
        postgres::certificates(server.directory.path(), root, root);
        let file = |name| server.directory.join(name).display().to_string();
        let tls = [
            "port 0".to_owned(),
            format!("tls-port {}", server.port),
            "tls-auth-clients no".to_owned(),
            format!("tls-cert-file {}", file("server.crt")),
            format!("tls-key-file {}", file("server.key")),
            format!("tls-ca-cert-file {}", file("ca.crt")),
        ];
        // What comes last counts: the caller's.
        server.settings.splice(0..0, tls);
        server.launch();
        server
    }

    /// A server that has an address and is not started yet.
    pub fn prepare(settings: &[&str]) -> Self {
        Self {
            port: unused_port(),
            settings: settings.iter().map(|line| (*line).to_owned()).collect(),
            directory: TempDir::new(),
            child: None,
        }
    }

    /// A line of redis.conf for the next launch.
    pub fn set(&mut self, line: &str) {
        self.settings.push(line.to_owned());
    }

    /// Starts the server, and waits until its socket is there: it may still be loading.
    #[track_caller]
    pub fn launch(&mut self) {
        let socket = self.socket();
        let _ = fs::remove_file(&socket);
        let mut lines = vec![
            format!("port {}", self.port),
            "bind 127.0.0.1".to_owned(),
            format!("unixsocket {}", socket.display()),
            format!("dir {}", self.directory.path().display()),
            "save \"\"".to_owned(),
            "enable-debug-command local".to_owned(),
            "shutdown-timeout 0".to_owned(),
        ];
        lines.extend(self.settings.iter().cloned());
        let configuration = self
            .directory
            .file("redis.conf", &(lines.join("\n") + "\n"));
        let log = File::create(self.directory.join("log")).unwrap();
        let child = Command::new(tool("setpriv"))
            .args(["--pdeathsig", "KILL"])
            .arg(tool("redis-server"))
            .arg(configuration)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let answers = poll_until(DEADLINE, || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(ended, None, "Redis did not start:\n{}", self.log());
            // Any answer will do: a password may be wanted, the data may still be loading.
            let said = self.cli(&["PING"]).output().unwrap();
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            (!said.is_empty() && !said.contains("Could not connect")).then_some(())
        });
        assert!(answers.is_some(), "Redis does not answer:\n{}", self.log());
    }

    /// What a command answers, by the server's unix socket.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> String {
        let output = self.cli(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Starts a command that does not come back; the caller ends it.
    pub fn begin(&self, words: &[&str]) -> Child {
        self.cli(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn cli(&self, words: &[&str]) -> Command {
        let mut cli = Command::new(tool("redis-cli"));
        cli.arg("-s")
            .arg(self.socket())
            .args(words)
            .env_clear()
            .stdin(Stdio::null());
        cli
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("redis.sock")
    }

    /// The certificate that signed the server's own, of a server with TLS.
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    /// Ends the server at once; its files stay for the next [`Redis::launch`].
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            end_tree(i32::try_from(child.id()).unwrap());
            let _ = child.wait();
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
