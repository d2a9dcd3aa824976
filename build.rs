//! Refuses to make a binary that is not static, and leaves the unwind tables out of the release binary: a tenth of its
//! size, for back-traces that it never prints.
//!
//! A panic in portero is one line and `_exit(125)`, so nothing unwinds. rustc keeps the tables all the same, since std
//! was compiled with them; only the linker can drop them. The C library's start-up objects keep theirs: they mark the
//! ends of the section.
//!
//! And it puts src/sys/fatal.rs between `malloc` and all who call it: std asks for memory behind the allocator's back,
//! and where there is none it would print a back-trace.

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/no-unwind-tables.ld");
    // The fuzzers never leave the machine that they are built on.
    if var("CARGO_CFG_FUZZING").is_ok() {
        return;
    }
    let of_cargo = |name: &str| var(name).unwrap_or_default();
    let is_musl = of_cargo("CARGO_CFG_TARGET_ENV") == "musl";
    if !is_musl || !is_static() {
        refuse(is_musl);
        return;
    }
    println!("cargo::rustc-link-arg-bins=-Wl,--wrap=malloc");
    if of_cargo("PROFILE") == "release" {
        // By itself, not in a -Wl list: the path may have a comma.
        println!("cargo::rustc-link-arg-bins=-T");
        println!(
            "cargo::rustc-link-arg-bins={}/src/no-unwind-tables.ld",
            of_cargo("CARGO_MANIFEST_DIR")
        );
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}

/// As rustc says it of a program: what Cargo tells of the target's features counts macros in, which are never static.
fn is_static() -> bool {
    let of_cargo = |name: &str| var(name).unwrap_or_default();
    let flags = of_cargo("CARGO_ENCODED_RUSTFLAGS");
    let asked = Command::new(of_cargo("RUSTC"))
        .args(["--print", "cfg", "--target", &of_cargo("TARGET")])
        .args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()))
        .output();
    let said = asked.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).contains("target_feature=\"crt-static\"")
}

/// In a clone .cargo/config.toml chooses the target; `cargo install` of anything else does not read it, and would make a
/// binary that dies without a word in an image that has another C library or none.
fn refuse(is_musl: bool) {
    let of_cargo = |name: &str| var(name).unwrap_or_default();
    let target = of_cargo("TARGET");
    let directory = of_cargo("CARGO_MANIFEST_DIR");
    let source = if directory.contains("/registry/src/") {
        format!("portero@{}", of_cargo("CARGO_PKG_VERSION"))
    } else if directory.contains("/git/checkouts/") {
        "--git URL".into()
    } else {
        format!("--path '{directory}'")
    };
    let remedy = if is_musl {
        // As in Alpine's own packages of Rust.
        format!("RUSTFLAGS='-C target-feature=+crt-static' cargo install --locked {source}")
    } else {
        let musl = format!("{}-unknown-linux-musl", of_cargo("CARGO_CFG_TARGET_ARCH"));
        // ring's C needs nothing of the C library but memcpy: the machine's own compiler does, and no musl-gcc is needed.
        format!("rustup target add {musl} && CC=cc cargo install --locked --target {musl} {source}")
    };
    println!(
        "cargo::error=a build for {target} is not static here, and would not run in every image; this one is: {remedy}"
    );
}
