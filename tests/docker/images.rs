//! Images: bases made of Debian's packages, since a test must not depend on a registry, and those of the applications,
//! built as their teams would build them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::common::{Ended, Run, TempDir, portero_release, tool};
use crate::engine::{BUILD_LIMIT, docker, docker_with};

const DEBIAN: &str = "portero-test/debian:bookworm";

/// The image of `tests/docker/apps/NAME`, on the bases that its Dockerfile names.
pub fn app(name: &str) -> String {
    let tag = format!("app-{name}");
    built(&tag, &|| {
        let context = TempDir::new();
        copy(&source("apps").join(name), context.path());
        build(&tag, &context, &[])
    })
}

/// The image of the application of `tests/fastapi`, with `tests/docker/apps/NAME` laid over it.
pub fn fastapi(name: &str) -> String {
    let tag = format!("app-{name}");
    built(&tag, &|| {
        let context = TempDir::new();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fastapi");
        copy(&sources, context.path());
        copy(&source("apps").join(name), context.path());
        build(&tag, &context, &[])
    })
}

/// Builds `context` as `portero-test/NAME`, after the bases that its Dockerfile names, with `docker build OPTIONS`.
pub fn build(name: &str, context: &TempDir, options: &[&str]) -> String {
    let file = context.join("Dockerfile");
    for line in fs::read_to_string(&file).unwrap().lines() {
        for base in line
            .split([' ', '='])
            .filter_map(|word| word.strip_prefix("portero-test/"))
        {
            if matches!(base, "portero" | "debian:bookworm") || source("bases").join(base).exists()
            {
                make_base(base);
            }
        }
    }
    let tag = format!("portero-test/{name}");
    let directory = context.path().to_str().unwrap();
    docker(&[&["build", "--tag", &tag], options, &[directory]].concat());
    tag
}

/// Makes `portero-test/BASE` when it is not there yet. What Docker has built before costs little again.
pub fn make_base(base: &str) {
    let make = || match base {
        "portero" => {
            let context = TempDir::new();
            fs::copy(portero_release(), context.join("portero")).unwrap();
            context.file("Dockerfile", "FROM scratch\nCOPY portero /portero\n");
            build(base, &context, &[])
        }
        "debian:bookworm" => debian(),
        _ => {
            let context = TempDir::new();
            copy(&source("bases").join(base), context.path());
            build(base, &context, &[])
        }
    };
    built(base, &make);
}

/// What `make` built under this name, once in this run of the tests.
fn built(name: &str, make: &dyn Fn() -> String) -> String {
    static MADE: Mutex<Option<HashMap<String, &'static Mutex<Option<String>>>>> = Mutex::new(None);
    let slot = *MADE
        .lock()
        .unwrap()
        .get_or_insert_default()
        .entry(name.to_owned())
        .or_insert_with(|| Box::leak(Box::default()));
    let mut image = slot
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    image.get_or_insert_with(make).clone()
}

/// A small Debian as `debian:bookworm-slim` is one, kept by the engine between runs.
fn debian() -> String {
    if docker_with(&["image", "inspect", DEBIAN]).ended == Ended::Code(0) {
        return DEBIAN.into();
    }
    let directory = TempDir::new();
    let root = directory.join("root");
    let made = Run::program(tool("debootstrap"))
        .args(["--variant=minbase", "--include=ca-certificates", "bookworm"])
        .arg(&root)
        .arg("http://deb.debian.org/debian")
        .start()
        .wait_at_most(BUILD_LIMIT);
    made.assert_exit(0);
    // The certificates that this machine trusts, so that pip and npm work behind a company's proxy too.
    let certificates = "etc/ssl/certs/ca-certificates.crt";
    fs::copy(Path::new("/").join(certificates), root.join(certificates)).unwrap();
    // No package may start a service in the build of an image: policy-rc.d(8).
    let policy = directory.script("policy-rc.d", "#!/bin/sh\nexit 101\n");
    fs::copy(policy, root.join("usr/sbin/policy-rc.d")).unwrap();
    let archive = directory.join("root.tar");
    Run::program(tool("tar"))
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .start()
        .wait_at_most(BUILD_LIMIT)
        .assert_exit(0);
    docker(&["import", archive.to_str().unwrap(), DEBIAN]);
    DEBIAN.into()
}

pub fn source(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/docker")
        .join(of)
}

/// Copies what is in `from`, as it is, into `to`.
pub fn copy(from: &Path, to: &Path) {
    Run::program(tool("cp"))
        .arg("-r")
        .arg(from.join("."))
        .arg(to)
        .start()
        .wait_at_most(BUILD_LIMIT)
        .assert_exit(0);
}
