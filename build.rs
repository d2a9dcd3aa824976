//! Leaves the unwind tables out of the release binary: a tenth of its size, for back-traces that it never prints.
//!
//! A panic in portero is one line and `_exit(125)`, so nothing unwinds. rustc keeps the tables all the same, since std
//! was compiled with them; only the linker can drop them. The C library's start-up objects keep theirs: they mark the
//! ends of the section.
//!
//! And it puts src/sys/fatal.rs between `malloc` and all who call it: std asks for memory behind the allocator's back,
//! and where there is none it would print a back-trace.

fn main() {
    println!("cargo::rerun-if-changed=src/no-unwind-tables.ld");
    let fuzzing = std::env::var_os("CARGO_CFG_FUZZING").is_some();
    if !fuzzing {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap=malloc");
    }
    if std::env::var("PROFILE").as_deref() == Ok("release") && !fuzzing {
        let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        // By itself, not in a -Wl list: the path may have a comma.
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={directory}/src/no-unwind-tables.ld");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}
