//! `--mkdir` and `--umask`: what is there before COMMAND, whose it is, and who may use what COMMAND makes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use common::{Run, TempDir};

/// Owner, group and mode.
fn found(path: impl AsRef<Path>) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path.as_ref()).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

#[test]
fn what_is_missing_is_made_for_the_user_and_what_is_there_is_left_alone() {
    let directory = TempDir::new();
    let there = directory.join("there");
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o751)).unwrap();
    let made = there.join("a/b c/d");
    for _ in 0..2 {
        Run::portero()
            .args(["--user", "1234:2345", "--umask", "027", "--mkdir"])
            .arg(format!("'{}' {}", made.display(), there.display()))
            .args(["--", "sh", "-c", "umask"])
            .exits(0)
            .assert_stdout("0027\n")
            .assert_stderr("");
        for path in [there.join("a"), there.join("a/b c"), made.clone()] {
            assert_eq!(found(&path), (1234, 2345, 0o750), "{}", path.display());
        }
        assert_eq!(found(&there), (0, 0, 0o751));
    }
}

#[test]
fn without_a_user_a_directory_is_whoevers_and_the_umask_is_the_one_that_portero_has() {
    let directory = TempDir::new();
    let path = directory.join("a/b");
    Run::portero()
        .arg("--mkdir")
        .arg(&path)
        .args(["--", "true"])
        .exits(0);
    assert_eq!(found(&path).0, 0);
    // Not root: as whoever portero is, in what is that user's.
    let own = directory.join("own");
    for (user, path) in [("77:88", &own), ("77:88", &own.join("x/y"))] {
        let outer = ["--user", "77:88", "--exec", "--"];
        let run = Run::portero();
        let run = if path == &own {
            run
        } else {
            run.args(outer).arg(common::portero())
        };
        run.args(["--umask", "7", "--user", user, "--mkdir"])
            .arg(path)
            .args(["--", "true"])
            .exits(0);
        assert_eq!(found(path), (77, 88, 0o770));
    }
}

#[test]
fn a_path_that_can_not_be_made_is_refused_and_no_symlink_leads_elsewhere() {
    let directory = TempDir::new();
    let file = directory.file("file", "");
    let outside = directory.join("outside");
    fs::create_dir(&outside).unwrap();
    let link = directory.join("link");
    symlink(&outside, &link).unwrap();
    let refused = [
        (file.clone(), "something else is there"),
        (file.join("a"), "something else is there"),
        (link.clone(), "is a symlink"),
        ("/proc/none/a".into(), "can't make /proc/none/a"),
    ];
    for (path, why) in refused {
        Run::portero()
            .args(["--user", "1234:2345", "--mkdir"])
            .arg(&path)
            .args(["--", "true"])
            .refused()
            .assert_stderr_contains(why);
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    for mode in ["8", "1000", "-1", "0o22", "u=rwx"] {
        Run::portero()
            .args([&format!("--umask={mode}"), "--", "true"])
            .refused()
            .assert_stderr_contains("is not octal, 0-777");
    }
}
