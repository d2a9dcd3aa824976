//! What `cargo install` finds: a crate without tests, and a build that is static or says how it would be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use common::{Run, TempDir};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of the toolchain that runs the tests.
fn of_toolchain(program: impl AsRef<OsStr>) -> Run {
    let names = [
        "PATH",
        "HOME",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
    ];
    let set = names
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)));
    set.fold(Run::program(program), |run, (name, value)| {
        run.env(name, value)
    })
}

/// What build.rs tells Cargo of a build for `target` with these flags of rustc's, of the crate in `directory`.
fn build_script(program: &Path, target: &str, flags: &str, directory: &str) -> String {
    let mut parts = target.split('-');
    let run = of_toolchain(program)
        .env("RUSTC", "rustc")
        .env("TARGET", target)
        .env("CARGO_CFG_TARGET_ARCH", parts.next().unwrap())
        .env("CARGO_CFG_TARGET_ENV", parts.next_back().unwrap())
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_MANIFEST_DIR", directory)
        .env("CARGO_PKG_VERSION", "1.2.3")
        .env("PROFILE", "release");
    run.exits(0).stdout
}

#[test]
fn a_build_that_is_not_static_is_refused_with_the_line_that_makes_one() {
    let directory = TempDir::new();
    let program = directory.join("build");
    of_toolchain("rustc")
        .args(["--edition=2024", "-o"])
        .arg(&program)
        .arg(root().join("build.rs"))
        .exits(0);
    let registry = "/home/me/.cargo/registry/src/index/portero-1.2.3";
    let line = "rustup target add aarch64-unknown-linux-musl && CC=cc cargo install --locked --target \
                aarch64-unknown-linux-musl";
    let (glibc, musl) = ("aarch64-unknown-linux-gnu", "aarch64-unknown-linux-musl");
    let (with, without) = (
        "-Ctarget-feature=+crt-static",
        "-Cdebuginfo=0\u{1f}-Ctarget-feature=-crt-static",
    );
    for (target, flags, from, remedy) in [
        (glibc, "", registry, format!("{line} portero@1.2.3")),
        (glibc, with, registry, format!("{line} portero@1.2.3")),
        (
            glibc,
            "",
            "/home/me/.cargo/git/checkouts/p/1",
            format!("{line} --git URL"),
        ),
        (
            glibc,
            "",
            "/home/me/a clone",
            format!("{line} --path '/home/me/a clone'"),
        ),
        // As Alpine's own Rust has it by default.
        (
            musl,
            without,
            registry,
            "RUSTFLAGS='-C target-feature=+crt-static' cargo install --locked portero@1.2.3".into(),
        ),
    ] {
        let said = build_script(&program, target, flags, from);
        let error = format!(
            "cargo::error=a build for {target} is not static here, and would not run in every image; this one is: \
             {remedy}\n"
        );
        assert!(said.ends_with(&error), "{said}{error}");
        assert!(!said.contains("link-arg"), "{said}");
    }
    for flags in ["", with] {
        let said = build_script(&program, musl, flags, registry);
        let is_taken = !said.contains("error") && said.contains("link-arg");
        assert!(is_taken, "{said}");
    }
}

#[test]
fn the_crate_has_what_builds_it_and_no_tests() {
    let listed = of_toolchain("cargo")
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .cwd(root())
        .exits(0);
    let made = [
        ".cargo_vcs_info.json",
        "Cargo.toml",
        "Cargo.toml.orig",
        "Cargo.lock",
    ];
    let kept = ["build.rs", "CHANGELOG.md", "LICENSE", "README.md"];
    let mut sources = 0;
    for file in listed.stdout.lines() {
        let is_source = file.starts_with("src/");
        assert!(
            is_source || made.contains(&file) || kept.contains(&file),
            "{file}"
        );
        sources += usize::from(is_source);
    }
    assert!(sources > 100, "{listed}");
    for file in kept {
        assert!(
            listed.stdout.lines().any(|listed| listed == file),
            "{file} is missing"
        );
    }
}

#[test]
fn the_top_level_has_twelve_visible_names_at_most() {
    let tracked = Run::program("/usr/bin/git")
        .args(["-c", "safe.directory=*", "ls-files"])
        .cwd(root())
        .exits(0);
    let names = tracked
        .stdout
        .lines()
        .filter_map(|path| path.split('/').next());
    let names: BTreeSet<_> = names.filter(|name| !name.starts_with('.')).collect();
    assert!((8..=12).contains(&names.len()), "{names:?}");
}
