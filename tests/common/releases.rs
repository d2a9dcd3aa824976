//! The versions of PostgreSQL that tests run: the system's, and others from npm's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use super::postgres::{PASSWORD, as_account};
use super::{TempDir, packages, succeed, tool};

/// A version of the server, and the directory of its programs.
#[derive(Clone, Debug)]
pub struct Release {
    pub version: u32,
    pub programs: PathBuf,
}

/// The system's newest, and the oldest and the newest that its packages are to be had of elsewhere.
pub fn all() -> [Release; 3] {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/versions/package.json");
    let installed = packages::node(&package).join("node_modules");
    let of = |version| Release {
        version,
        programs: installed.join(format!("postgres-{version}/native/bin")),
    };
    [of(12), system(), of(18)]
}

/// The newest of the system's packages.
pub fn system() -> Release {
    static FOUND: OnceLock<Option<Release>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        versions
            .filter_map(|entry| {
                let version = entry.file_name().to_str()?.parse().ok()?;
                let programs = entry.path().join("bin");
                let complete = programs.join("initdb").exists();
                complete.then_some(Release { version, programs })
            })
            .max_by_key(|release| release.version)
    });
    found.clone().unwrap_or_else(|| {
        panic!("initdb is missing in /usr/lib/postgresql/*/bin: apt-get install -y postgresql (tests/run.sh does it)")
    })
}

/// The directory of the system's newest server's programs, `psql` too.
pub fn programs() -> PathBuf {
    system().programs
}

/// A fresh data directory, made once and kept under target/: initdb takes seconds, a copy takes none.
pub fn template(release: &Release) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{}", release.version));
    if kept.exists() {
        return kept;
    }
    // Not under target/ at once: the server's user may be unable to enter it.
    let directory = TempDir::writable_by_all();
    let password = directory.file("password", PASSWORD);
    succeed(
        as_account(&release.programs.join("initdb"))
            .args([
                "--no-sync",
                "--auth=scram-sha-256",
                "--username=postgres",
                "--locale=C",
            ])
            .args(["--encoding=UTF8", "--pwfile"])
            .arg(password)
            .arg("-D")
            .arg(directory.join("data")),
    );
    let partial = kept.with_extension(std::process::id().to_string());
    succeed(
        Command::new(tool("cp"))
            .arg("-a")
            .arg(directory.join("data"))
            .arg(&partial),
    );
    if fs::rename(&partial, &kept).is_err() {
        // Another test process was first.
        fs::remove_dir_all(&partial).unwrap();
    }
    kept
}
