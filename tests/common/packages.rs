//! Packages of other languages, at the versions that a file pins, installed once under target/ and kept.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::{succeed, tool};

/// A virtual environment with the packages of a requirements.txt.
pub fn python(requirements: &Path) -> PathBuf {
    kept("python", requirements, |directory| {
        // The system's own Python: one that root installed for itself is closed to other users.
        succeed(
            Command::new(tool("python3"))
                .args(["-m", "venv"])
                .arg(directory),
        );
        succeed(
            Command::new(directory.join("bin/pip"))
                .args([
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--requirement",
                ])
                .arg(requirements),
        );
    })
}

/// A directory with the node_modules of a package.json.
pub fn node(package: &Path) -> PathBuf {
    kept("node", package, |directory| {
        fs::copy(package, directory.join("package.json")).unwrap();
        succeed(
            Command::new(tool("npm"))
                .args([
                    "install",
                    "--no-package-lock",
                    "--no-audit",
                    "--no-fund",
                    "--prefix",
                ])
                .arg(directory)
                // Those of the machine, a company's proxy included.
                .env("NODE_EXTRA_CA_CERTS", "/etc/ssl/certs/ca-certificates.crt"),
        );
    })
}

/// A directory that `make` fills, once for each content of `file`.
pub fn kept(kind: &str, file: &Path, make: impl FnOnce(&Path)) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let mut hasher = DefaultHasher::new();
    fs::read(file).unwrap().hash(&mut hasher);
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // What is installed names its own place: after a move it is installed anew.
    target.hash(&mut hasher);
    let name = format!("portero-{kind}-{:016x}", hasher.finish());
    // Below /root, say, a dropped user could not read it.
    let reachable = target
        .ancestors()
        .all(|path| fs::metadata(path).unwrap().permissions().mode() & 0o001 != 0);
    let directory = if reachable { target } else { "/var/tmp".into() }.join(name);
    let complete = directory.join("complete");
    if !complete.exists() {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        make(&directory);
        succeed(
            Command::new(tool("chmod"))
                .args(["-R", "a+rX"])
                .arg(&directory),
        );
        fs::write(complete, "").unwrap();
    }
    directory
}
