//! `--chown`: the whole tree and nothing but the tree, whoever else is at work in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::{Finished, Run, TempDir, tool};

/// Gives these to 1234:2345 and runs `true`.
fn giving(paths: &[&Path]) -> Run {
    let run = Run::portero().args(["--user", "1234:2345"]);
    let run = paths
        .iter()
        .fold(run, |run, path| run.arg("--chown").arg(path));
    run.args(["--", "true"])
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let found = fs::symlink_metadata(path.as_ref()).unwrap();
    (found.uid(), found.gid())
}

/// `PORTERO_TEST_LONG=1` makes the races last for a minute each.
fn is_long() -> bool {
    std::env::var_os("PORTERO_TEST_LONG").is_some()
}

const USER: (u32, u32) = (1234, 2345);
const ROOT: (u32, u32) = (0, 0);

#[test]
fn a_tree_is_given_whole_and_what_is_given_already_is_left_alone() {
    let directory = TempDir::new();
    let top = directory.join("data");
    let files =
        ["", "a", "a/b", "a/b/.hidden", "a/file", "odd \n name", "z"].map(|name| top.join(name));
    for path in [&files[1], &files[2]] {
        fs::create_dir_all(path).unwrap();
    }
    for path in [&files[3], &files[4], &files[5], &files[6]] {
        fs::write(path, "").unwrap();
    }
    chown(&files[4], Some(1234), Some(2345)).unwrap();
    chown(&files[6], Some(1234), Some(0)).unwrap();
    let unchanged = fs::metadata(&files[4]).unwrap();
    giving(&[&top])
        .exits(0)
        .assert_one_error_line()
        .assert_stderr_contains("gave 6 of 7 files in")
        .assert_stderr_contains("to 1234:2345");
    for path in &files {
        assert_eq!(owner(path), USER, "{}", path.display());
    }
    let now = fs::metadata(&files[4]).unwrap();
    assert_eq!(
        (now.ctime(), now.ctime_nsec()),
        (unchanged.ctime(), unchanged.ctime_nsec())
    );
    // Once all is given nothing is changed, and nothing is said.
    giving(&[&top]).exits(0).assert_stderr("");
}

#[test]
fn single_files_and_several_paths_are_given_too() {
    let directory = TempDir::new();
    let (file, one, two) = (
        directory.file("f", ""),
        directory.join("1"),
        directory.join("2"),
    );
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    giving(&[&file, &one, &two.join(".")]).exits(0);
    for path in [&file, &one, &two] {
        assert_eq!(owner(path), USER, "{}", path.display());
    }
    assert_eq!(owner(directory.path()), ROOT);
    // As an image bakes it.
    Run::portero()
        .env("DATA", directory.path())
        .env("PORTERO_USER", "4321:5432")
        .env("PORTERO_CHOWN", "${DATA}/f ${DATA}/1 ${UNSET:-}")
        .args(["--", "true"])
        .exits(0);
    assert_eq!(
        [owner(&file), owner(&one), owner(&two)],
        [(4321, 5432), (4321, 5432), USER]
    );
}

#[test]
fn a_symlink_is_given_itself_and_never_what_it_points_to() {
    let directory = TempDir::new();
    let (top, outside) = (directory.join("data"), directory.join("outside"));
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::create_dir(&top).unwrap();
    let secret = directory.file("secret", "");
    symlink(&outside, top.join("to-directory")).unwrap();
    symlink(&secret, top.join("to-file")).unwrap();
    symlink("nowhere", top.join("dangling")).unwrap();
    giving(&[&top]).exits(0);
    for name in ["to-directory", "to-file", "dangling"] {
        assert_eq!(owner(top.join(name)), USER, "{name}");
    }
    for path in [outside.join("sub"), outside, secret] {
        assert_eq!(owner(&path), ROOT, "{}", path.display());
    }
}

#[test]
fn path_itself_is_never_a_symlink_and_others_than_root_cannot_lead_to_it() {
    let directory = TempDir::new();
    let real = directory.join("real");
    fs::create_dir_all(real.join("sub")).unwrap();
    let link = directory.join("link");
    symlink(&real, &link).unwrap();
    let refused = |path: &Path, why: &str| {
        giving(&[path]).refused().assert_stderr_contains(why);
        assert_eq!((owner(&real), owner(real.join("sub"))), (ROOT, ROOT));
    };
    refused(&link, "is a symlink");
    refused(&link.join("."), "is a symlink");
    // As through /var/run, where only root can have put the symlink; but TempDir's own place, /tmp, is everybody's.
    let volume = directory.join("volume");
    fs::create_dir(&volume).unwrap();
    symlink(&real, volume.join("way")).unwrap();
    for (uid, mode) in [(1234, 0o755), (0, 0o777), (0, 0o775)] {
        chown(&volume, Some(uid), None).unwrap();
        fs::set_permissions(&volume, fs::Permissions::from_mode(mode)).unwrap();
        refused(&volume.join("way/sub"), "name the real path");
    }
    chown(&volume, Some(0), None).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o755)).unwrap();
    giving(&[&volume.join("way/sub")]).exits(0);
    assert_eq!((owner(&real), owner(real.join("sub"))), (ROOT, USER));
}

#[test]
fn a_path_that_can_not_be_meant_is_refused_with_the_remedy() {
    let directory = TempDir::new();
    let file = directory.file("file", "");
    let table: [(PathBuf, &str); 5] = [
        (directory.join("missing"), "RUN mkdir -p"),
        (file.join("below"), "does not exist"),
        ("/".into(), "the whole root"),
        ("/tmp/..".into(), "the whole root"),
        (".".into(), "the whole root"),
    ];
    for (path, why) in table {
        giving(&[&path]).refused().assert_stderr_contains(why);
    }
    Run::portero()
        .args(["--chown", "/data", "--", "true"])
        .refused()
        .assert_stderr_contains("--chown: needs --user");
}

#[test]
fn a_mount_below_path_stays_as_it_is_be_it_of_the_same_file_system() {
    let directory = TempDir::new();
    let top = directory.join("data");
    for name in ["bound", "memory", "kept"] {
        fs::create_dir_all(top.join(name)).unwrap();
    }
    let other = directory.join("other");
    fs::create_dir_all(other.join("sub")).unwrap();
    fs::write(top.join("single"), "").unwrap();
    let single = directory.file("config", "");
    let (top_text, other_text) = (top.display(), other.display());
    let script = format!(
        "mount --bind {other_text} {top_text}/bound; mount -t tmpfs none {top_text}/memory; \
         touch {top_text}/memory/x; mount --bind {} {top_text}/single",
        single.display()
    );
    let inside = format!(
        "stat -c %u {top_text}/memory {top_text}/memory/x {top_text}/bound {top_text}/single"
    );
    let run = Run::portero()
        .args(["--user", "1234:2345", "--chown"])
        .arg(&top)
        .args(["--", "sh", "-c", &inside]);
    run.mounts(&script).exits(0).assert_stdout("0\n0\n0\n0\n");
    for path in [&other, &other.join("sub"), &single] {
        assert_eq!(owner(path), ROOT, "{}", path.display());
    }
    for path in [&top, &top.join("kept")] {
        assert_eq!(owner(path), USER, "{}", path.display());
    }
}

#[test]
fn path_may_be_a_mount_itself() {
    let directory = TempDir::new();
    let (top, other) = (directory.join("data"), directory.join("other"));
    fs::create_dir(&top).unwrap();
    fs::create_dir_all(other.join("sub")).unwrap();
    let script = format!("mount --bind {} {}", other.display(), top.display());
    giving(&[&top]).mounts(&script).exits(0);
    assert_eq!((owner(&other), owner(other.join("sub"))), (USER, USER));
}

#[test]
fn setuid_setgid_and_file_capabilities_do_not_come_along() {
    let directory = TempDir::new();
    let program = directory.join("program");
    fs::copy(tool("true"), &program).unwrap();
    let script = "import os, struct, sys; os.setxattr(sys.argv[1], 'security.capability', \
                  struct.pack('<5I', 0x02000001, 0x400, 0, 0, 0))";
    Run::program(tool("python3"))
        .args(["-c", script])
        .arg(&program)
        .exits(0);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    giving(&[&program]).exits(0);
    assert_eq!(owner(&program), USER);
    assert_eq!(fs::metadata(&program).unwrap().mode() & 0o7777, 0o755);
    let script = "import os, sys; print(os.listxattr(sys.argv[1]))";
    Run::program(tool("python3"))
        .args(["-c", script])
        .arg(&program)
        .finish()
        .assert_stdout("[]\n");
}

#[test]
fn a_file_with_other_names_is_given_only_where_nobody_could_have_linked_what_was_not_theirs() {
    for (protected, expected) in [("1\n", USER), ("0\n", ROOT), ("", ROOT)] {
        let directory = TempDir::new();
        let top = directory.join("data");
        fs::create_dir(&top).unwrap();
        let outside = directory.file("passwd", "");
        fs::hard_link(&outside, top.join("link")).unwrap();
        let sysctl = directory.file("sysctl", protected);
        let script = format!(
            "mount --bind {} /proc/sys/fs/protected_hardlinks",
            sysctl.display()
        );
        let finished: Finished = giving(&[&top]).mounts(&script).finish();
        finished.assert_exit(0);
        assert_eq!(owner(&outside), expected, "{protected:?}{finished}");
        assert_eq!(owner(&top), USER, "{finished}");
        assert_eq!(
            finished.stderr.contains("1 files in") && finished.stderr.contains("hard links"),
            expected == ROOT,
            "{finished}"
        );
    }
}

/// Somebody who may write to the tree puts symlinks to directories and files of root's in the place of those that are
/// walked, all the time.
#[test]
fn a_symlink_swapped_in_during_the_walk_leads_nowhere() {
    let rounds = if is_long() { 3000 } else { 60 };
    let directory = TempDir::new();
    let (top, outside) = (directory.join("data"), directory.join("outside"));
    fs::create_dir_all(outside.join("sub")).unwrap();
    for name in ["sub/file", "file"] {
        fs::write(outside.join(name), "").unwrap();
    }
    let sysctl = directory.file("sysctl", "0\n");
    let mut places = Vec::new();
    for number in 0..12 {
        let place = top.join(format!("{number}"));
        fs::create_dir_all(place.join("sub")).unwrap();
        fs::write(place.join("sub/file"), "").unwrap();
        fs::write(place.join("file"), "").unwrap();
        symlink(&outside, top.join(format!("link-{number}"))).unwrap();
        symlink(outside.join("file"), place.join("link")).unwrap();
        places.push(place);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let swaps = Arc::new(AtomicU64::new(0));
    let racer = thread::spawn({
        let (places, stop, swaps) = (places.clone(), Arc::clone(&stop), Arc::clone(&swaps));
        move || {
            while !stop.load(Ordering::Relaxed) {
                for (number, place) in places.iter().enumerate() {
                    let link = place.with_file_name(format!("link-{number}"));
                    // There and back.
                    for _ in 0..2 {
                        swap(&place.join("file"), &place.join("link"));
                    }
                    for _ in 0..2 {
                        swap(place, &link);
                    }
                    swaps.fetch_add(4, Ordering::Relaxed);
                }
            }
        }
    });
    for round in 0..rounds {
        // Another user each time, so that there is always something to give; by name and by descriptor.
        let run = Run::portero()
            .arg("--user")
            .arg(if round % 2 == 0 {
                "1234:2345"
            } else {
                "4321:5432"
            })
            .arg("--chown")
            .arg(&top)
            .args(["--", "true"]);
        let unprotected = format!(
            "mount --bind {} /proc/sys/fs/protected_hardlinks",
            sysctl.display()
        );
        let finished = match round % 4 {
            0 | 1 => run.finish(),
            _ => run.mounts(&unprotected).finish(),
        };
        finished.assert_exit(0);
        for name in ["", "file", "sub", "sub/file"] {
            assert_eq!(owner(outside.join(name)), ROOT, "outside/{name}{finished}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    racer.join().unwrap();
    assert!(swaps.load(Ordering::Relaxed) > 1000, "the race was none");
}

/// The same with a second name of a file of root's, where the system lets everybody make one.
#[test]
fn a_hard_link_swapped_in_during_the_walk_gives_nothing_away() {
    let directory = TempDir::new();
    let top = directory.join("data");
    fs::create_dir(&top).unwrap();
    let outside = directory.file("outside", "");
    let sysctl = directory.file("sysctl", "0\n");
    let stop = Arc::new(AtomicBool::new(false));
    let racer = thread::spawn({
        let (top, outside, stop) = (top.clone(), outside.clone(), Arc::clone(&stop));
        move || {
            let (file, new) = (top.join("file"), top.join("new"));
            while !stop.load(Ordering::Relaxed) {
                fs::write(&new, "").unwrap();
                fs::rename(&new, &file).unwrap();
                fs::hard_link(&outside, &new).unwrap();
                fs::rename(&new, &file).unwrap();
                fs::remove_file(&file).unwrap();
            }
        }
    });
    let script = format!(
        "mount --bind {} /proc/sys/fs/protected_hardlinks",
        sysctl.display()
    );
    for _ in 0..if is_long() { 3000 } else { 40 } {
        let finished = giving(&[&top]).mounts(&script).finish();
        finished.assert_exit(0);
        assert_eq!(owner(&outside), ROOT, "{finished}");
    }
    stop.store(true, Ordering::Relaxed);
    racer.join().unwrap();
}

/// Exchanges two names by way of a third.
fn swap(one: &Path, two: &Path) {
    let between = one.with_file_name(format!("{}-between", one.file_name().unwrap().display()));
    fs::rename(one, &between).unwrap();
    fs::rename(two, one).unwrap();
    fs::rename(&between, two).unwrap();
}

/// Deeper than descriptors, a stack of frames or a path of PATH_MAX bytes would allow.
#[test]
fn depth_costs_neither_descriptors_nor_stack() {
    let directory = TempDir::new();
    let top = directory.join("data");
    fs::create_dir(&top).unwrap();
    let deepen = "import os, sys\nos.chdir(sys.argv[1])\nfor _ in range(3000):\n os.mkdir('d'); open('f', 'w').close(); os.chdir('d')";
    Run::program(tool("python3"))
        .args(["-c", deepen])
        .arg(&top)
        .exits(0);
    giving(&[&top])
        .via(["sh", "-c", "ulimit -n 8 -s 128; exec \"$@\"", "sh"])
        .exits(0)
        .assert_stderr_contains("gave 6001 of 6001 files");
    Run::program(tool("find"))
        .arg(&top)
        .args(["!", "-user", "1234"])
        .exits(0)
        .assert_stdout("");
    // std's own removal is recursive.
    Run::program("/bin/rm").arg("-rf").arg(&top).exits(0);
}

#[test]
fn without_root_nothing_is_given_and_a_warning_says_so() {
    let directory = TempDir::new();
    let file = directory.file("file", "");
    for (uid, gid, said) in [
        (1234, 2345, "--chown is skipped"),
        (4321, 0, "--user and --chown are skipped"),
    ] {
        giving(&[&file])
            .user(uid, gid)
            .exits(0)
            .assert_one_error_line()
            .assert_stderr_contains(said);
        assert_eq!(owner(&file), ROOT);
    }
}

#[test]
fn what_is_missing_to_give_is_said_and_nothing_is_missing_when_nothing_differs() {
    let directory = TempDir::new();
    let top = directory.join("data");
    fs::create_dir_all(top.join("sub")).unwrap();
    fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).unwrap();
    let setpriv = tool("setpriv");
    let only = |capabilities: &str| {
        giving(&[&top]).via([
            setpriv.to_str().unwrap(),
            &format!("--bounding-set=-all,{capabilities}"),
        ])
    };
    only("+setuid,+setgid")
        .refused()
        .assert_stderr_contains("--cap-add CHOWN");
    only("+setuid,+setgid,+chown").exits(0);
    assert_eq!((owner(&top), owner(top.join("sub"))), (USER, USER));
    only("+setuid,+setgid").exits(0).assert_stderr("");

    fs::set_permissions(top.join("sub"), fs::Permissions::from_mode(0o700)).unwrap();
    only("+setuid,+setgid,+chown")
        .exits(125)
        .assert_stderr_contains("--cap-add DAC_READ_SEARCH");

    chown(&top, Some(0), Some(0)).unwrap();
    let read_only = format!("mount --bind -o ro {0} {0}", top.display());
    giving(&[&top])
        .mounts(&read_only)
        .refused()
        .assert_stderr_contains("Read-only file system");
}

#[test]
fn a_stop_ends_the_walk_and_command_never_starts() {
    let directory = TempDir::new();
    let top = directory.join("data");
    let mark = directory.join("started");
    fs::create_dir_all(top.join("sub")).unwrap();
    let mark = mark.to_str().unwrap();
    let table: [(&[&str], &[&str]); 3] = [
        (&[], &["--", "touch", mark]),
        (&["migrate", "--no-lock"], &["--", "touch", mark]),
        (&["wait"], &["file:///proc"]),
    ];
    for (command, rest) in table {
        // The signal waits from the start, so that it comes during the walk however fast that is.
        let env = tool("env");
        let pending = "kill -TERM $$; exec \"$@\"";
        Run::as_pid1()
            .args(command)
            .args(["--user", "1234:2345", "--chown"])
            .arg(&top)
            .args(rest)
            .via([
                env.to_str().unwrap(),
                "--block-signal=TERM",
                "sh",
                "-c",
                pending,
                "sh",
            ])
            .exits(143);
        for path in [top.clone(), top.join("sub")] {
            assert_eq!(owner(&path), ROOT, "{command:?} went on");
        }
        assert!(!Path::new(mark).exists());
    }
}

#[test]
fn a_health_check_gives_nothing_and_a_dry_run_only_says_it() {
    let directory = TempDir::new();
    let file = directory.file("file", "");
    Run::portero()
        .args(["healthcheck", "--user", "1234:2345", "--chown"])
        .arg(&file)
        .arg("file:///tmp")
        .exits(0);
    Run::portero()
        .args(["--dry-run", "--user", "1234:2345", "--chown"])
        .arg(&file)
        .args(["--", "true"])
        .exits(0)
        .assert_stdout_contains(&format!("chown: {}\n", file.display()));
    assert_eq!(owner(&file), ROOT);
}
