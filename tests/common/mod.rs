//! The harness of all tests: real processes in real PID namespaces, real PostgreSQL and Redis servers, raw TCP servers
//! and terminals. What a test starts ends with the value that stands for it; what is missing on the machine panics with
//! the line that installs it, and nothing is ever skipped.

#![allow(dead_code, unused_imports, clippy::pedantic)]

pub mod cgroup;
pub mod early;
pub mod faults;
pub mod figures;
pub mod fuse;
pub mod inits;
pub mod migration;
pub mod network;
pub mod packages;
pub mod pooler;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod releases;
pub mod retries;
pub mod server;
pub mod table;
pub mod terminal;
pub mod tls;
pub mod verdict;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use postgres::Postgres;
pub use process::{Ended, Finished, Process, Run};
pub use redis::Redis;
pub use server::Server;
pub use table::{rows, words};
pub use terminal::Terminal;

/// What `--version` says.
pub const VERSION: &str = concat!(
    "portero ",
    env!("CARGO_PKG_VERSION"),
    " (postgres, tls, redis)\n"
);

/// How long anything may take on a slow, shared machine before a test calls it a failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a command that prepares something; its failure is a panic with what it said.
#[track_caller]
pub fn succeed(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// The binary under test: cargo's, unless `PORTERO_UNDER_TEST` names another build.
pub fn portero() -> &'static Path {
    static OTHER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let other = OTHER.get_or_init(|| {
        let path = std::env::var_os("PORTERO_UNDER_TEST")?;
        Some(fs::canonicalize(path).unwrap())
    });
    other
        .as_deref()
        .unwrap_or(Path::new(env!("CARGO_BIN_EXE_portero")))
}

/// portero as PID 1 and as an ordinary process.
pub fn both_places() -> [Run; 2] {
    [Run::as_pid1(), Run::portero()]
}

/// Asks `question` until it answers, for at most `limit`.
pub fn poll_until<T>(limit: Duration, mut question: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = question() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// With the bytes that `\r`, `\n` and `\0` stand for.
pub fn unescaped(text: &str) -> String {
    let escapes = [("\\r", "\r"), ("\\n", "\n"), ("\\0", "\0")];
    let text = text.to_owned();
    escapes
        .iter()
        .fold(text, |text, (escape, byte)| text.replace(escape, byte))
}

/// Runs `test` on all cases at once, so that together they take as long as the slowest.
pub fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Send + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| test(case));
        }
    });
}

/// The path of a program of the system, or a panic that says how to install it.
pub fn tool(name: &str) -> PathBuf {
    installed(name).unwrap_or_else(|| {
        let package = match name {
            "cc" => "gcc",
            "chown" | "chroot" | "cp" | "env" | "sleep" | "stty" | "true" => "coreutils",
            "docker" | "dockerd" => "docker.io",
            "find" => "findutils",
            "ip" => "iproute2",
            "ldd" => "libc-bin",
            "nsenter" | "setpriv" | "setsid" | "taskset" | "unshare" => "util-linux",
            "pgpool" => "pgpool2",
            "ps" => "procps",
            "qemu-aarch64-static" => "qemu-user-static",
            "python3" => "python3 python3-venv",
            "redis-cli" => "redis-tools",
            "setcap" => "libcap2-bin",
            "tini-static" => "tini",
            other => other,
        };
        panic!("{name} is missing: apt-get install -y {package} (tests/run.sh does it)")
    })
}

/// The path of a program of the system, when it is there.
pub fn installed(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
}

/// A directory of its own, readable by every user, removed with the value.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("portero-test-{}-{count}", std::process::id()));
        // A leftover of a killed run that had the same process id.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    /// A directory that every user may write to.
    pub fn writable_by_all() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = Self::new();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        directory
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that every user may read.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a script that every user may run.
    pub fn script(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The release binary, which images get: the file named by `PORTERO_RELEASE`, or else the one that
/// `cargo build --release` makes.
pub fn portero_release() -> PathBuf {
    // Beside the profile that the tests run with.
    let profile = PathBuf::from(env!("CARGO_BIN_EXE_portero")).with_file_name("");
    let built = profile.with_file_name("release").join("portero");
    let path = std::env::var_os("PORTERO_RELEASE").map_or(built, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --release` first",
        path.display()
    );
    path
}

/// Where the release binary without any feature is, once it is built.
pub fn minimal_path() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.join("target/minimal/x86_64-unknown-linux-musl/release/portero")
}

/// The release binary without any feature.
pub fn portero_minimal() -> PathBuf {
    let path = minimal_path();
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --release --no-default-features --target-dir target/minimal` first",
        path.display()
    );
    path
}
