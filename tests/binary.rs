//! The release binary: static, and small.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use common::{Run, portero_minimal, portero_release, tool};

#[test]
fn it_is_static() {
    let finished = Run::program(tool("ldd"))
        .arg(portero_release())
        .env("LC_ALL", "C")
        .finish();
    let said = format!("{}{}", finished.stdout, finished.stderr);
    let is_static = said.contains("not a dynamic executable") || said.contains("statically linked");
    assert!(is_static, "it needs libraries{finished}");
}

#[test]
fn it_is_no_larger_than_2_3_mb_and_750_kb_without_features() {
    for (path, most) in [(portero_release(), 2_300_000), (portero_minimal(), 750_000)] {
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size <= most, "{}: {size} bytes", path.display());
        assert!(size > 100_000, "{size} bytes: that can't be all of it");
    }
}

#[test]
fn it_runs() {
    Run::program(portero_release())
        .arg("--version")
        .exits(0)
        .assert_stdout(common::VERSION);
    Run::program(portero_release())
        .args(["--", "sh", "-c", "exit 7"])
        .pid1()
        .exits(7)
        .assert_stderr("");
}
