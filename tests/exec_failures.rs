//! A COMMAND that can't be executed: 127 when it was not found, 126 otherwise, and one line that says which file, why,
//! and what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finished, Run, TempDir, both_places, tool};

/// One file that can't be executed.
struct Case {
    command: PathBuf,
    code: i32,
    says: Vec<String>,
}

impl Case {
    fn new(command: PathBuf, code: i32, says: &[&str]) -> Self {
        let says = says.iter().map(|&text| text.to_owned()).collect();
        Self {
            command,
            code,
            says,
        }
    }

    #[track_caller]
    fn assert(&self, finished: &Finished) {
        finished
            .assert_exit(self.code)
            .assert_stdout("")
            .assert_one_error_line();
        for text in &self.says {
            finished.assert_stderr_contains(text);
        }
    }
}

/// A copy of a program of the system, with these bytes in place of those at `offset`.
fn patched(directory: &TempDir, name: &str, offset: usize, bytes: &[u8]) -> PathBuf {
    let mut program = fs::read(tool("true")).unwrap();
    program[offset..offset + bytes.len()].copy_from_slice(bytes);
    let path = directory.script(name, "");
    fs::write(&path, program).unwrap();
    path
}

/// The same with the name of its dynamic loader replaced by one that does not exist.
fn without_loader(directory: &TempDir) -> PathBuf {
    let program = fs::read(tool("true")).unwrap();
    let loader: &[u8] = if cfg!(target_arch = "x86_64") {
        b"/lib64/ld-linux"
    } else {
        b"/lib/ld-linux"
    };
    let at = program
        .windows(loader.len())
        .position(|window| window == loader)
        .expect("/bin/true is dynamic");
    patched(directory, "no-loader", at + 1, b"abc")
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn cases(directory: &TempDir) -> Vec<Case> {
    let loop_ = directory.join("loop");
    std::os::unix::fs::symlink(&loop_, &loop_).unwrap();
    let dangling = directory.join("dangling");
    std::os::unix::fs::symlink("nothing", &dangling).unwrap();
    let plain = directory.file("plain", "#!/bin/sh\n");
    // Another machine's programs: e_machine is at 18 (elf(5)); 8 is MIPS.
    let foreign = if cfg!(target_arch = "x86_64") {
        [0xb7, 0]
    } else {
        [0x3e, 0]
    };
    let foreign_name = if cfg!(target_arch = "x86_64") {
        "arm64"
    } else {
        "x86-64"
    };
    vec![
        Case::new("/no/such/command".into(), 127, &["not found"]),
        Case::new(plain.join("below"), 127, &["not found"]),
        Case::new(dangling, 127, &["not found"]),
        Case::new(loop_, 126, &["loop"]),
        Case::new(directory.path().to_owned(), 126, &["it is a directory"]),
        Case::new(plain, 126, &["no x bit", "chmod +x"]),
        Case::new(directory.script("empty", ""), 126, &["it is empty"]),
        Case::new(
            directory.script("no-line", "echo hello\n"),
            126,
            &["#!/bin/sh"],
        ),
        Case::new(directory.script("blank-line", "#!\n"), 126, &["#!"]),
        Case::new(
            directory.script("no-interpreter", "#!/no/such/sh -e\n"),
            126,
            &["interpreter", "/no/such/sh", "does not exist"],
        ),
        Case::new(
            directory.script("from-windows", "#!/bin/sh\r\necho\r\n"),
            126,
            &["/bin/sh", "carriage return"],
        ),
        Case::new(
            directory.script(
                "plain-interpreter",
                &format!("#!{}\n", directory.join("plain").display()),
            ),
            126,
            &["plain-interpreter", "interpreter"],
        ),
        Case::new(
            patched(directory, "foreign", 18, &foreign),
            126,
            &[foreign_name, "--platform", std::env::consts::ARCH],
        ),
        Case::new(
            patched(directory, "exotic", 18, &[8, 0]),
            126,
            &["another architecture", "--platform"],
        ),
        Case::new(
            without_loader(directory),
            126,
            &["interpreter", "abc", "does not exist"],
        ),
    ]
}

#[test]
fn every_reason_has_its_code_and_one_line_that_names_file_reason_and_remedy() {
    let directory = TempDir::new();
    for mut case in cases(&directory) {
        let shown = case.command.to_str().unwrap().to_owned();
        case.says.push(shown);
        for run in both_places() {
            for options in [&[][..], &["--exec"]] {
                let run = run.clone().args(options).arg("--").arg(&case.command);
                case.assert(&run.finish());
            }
        }
    }
}

#[test]
fn a_migration_that_cannot_be_executed_is_told_alike() {
    let directory = TempDir::new();
    for case in cases(&directory) {
        let finished = Run::as_pid1()
            .args(["-q", "--no-lock", "--migrate"])
            .arg(&case.command)
            .args(["--", "echo", "started"])
            .finish();
        case.assert(&finished);
    }
}

#[test]
fn along_path_a_file_that_is_refused_counts_only_when_no_other_is_found() {
    let directory = TempDir::new();
    for name in ["refused", "good", "none", "odd"] {
        fs::create_dir(directory.join(name)).unwrap();
    }
    directory.file("refused/program", "#!/bin/sh\nexit 1\n");
    directory.script("good/program", "#!/bin/sh\nexit 42\n");
    directory.script("odd/program", "echo no first line\n");
    fs::create_dir(directory.join("none/program")).unwrap();
    // PATH by names, `.` as it is; what comes of it.
    let table: [(&str, i32, &str); 12] = [
        ("good", 42, ""),
        ("refused:good", 42, ""),
        // A directory of that name is passed by, too.
        ("none:good", 42, ""),
        ("nowhere:refused", 126, "refused/program: it has no x bit"),
        ("refused:nowhere", 126, "refused/program: it has no x bit"),
        ("none:refused", 126, "none/program: it is a directory"),
        // What is found and is no program ends the search, as execvp(3) does where it has no shell to try.
        ("odd:good", 126, "odd/program: it is no program"),
        ("nowhere", 127, "program: not found in"),
        (
            "nowhere:nowhere",
            127,
            "program: not found in any directory of PATH",
        ),
        // The empty entry is the current directory.
        (":nowhere", 42, ""),
        ("nowhere:", 42, ""),
        ("nowhere::refused", 42, ""),
    ];
    for (path, code, says) in table {
        let words = path.split(':').map(|name| match name {
            "" => String::new(),
            name => directory.join(name).to_str().unwrap().to_owned(),
        });
        let path = words.collect::<Vec<_>>().join(":");
        let finished = Run::portero()
            .env("PATH", &path)
            .cwd(directory.join("good"))
            .args(["--", "program"])
            .finish();
        finished.assert_exit(code);
        if says.is_empty() {
            finished.assert_stderr("");
        } else {
            finished
                .assert_one_error_line()
                .assert_stderr_contains(says);
        }
    }
}

#[test]
fn an_empty_path_is_the_current_directory_and_an_unset_one_the_usual_places() {
    let directory = TempDir::new();
    directory.script("program", "#!/bin/sh\nexit 42\n");
    let start = |command: &str| {
        Run::portero()
            .cwd(directory.path())
            .env("PATH", "")
            .args(["--", command])
            .finish()
    };
    start("program").assert_exit(42);
    start("true")
        .assert_exit(127)
        .assert_stderr_contains("true: not found");
    for (command, code) in [("program", 127), ("true", 0)] {
        Run::portero()
            .cwd(directory.path())
            .via([tool("env").to_str().unwrap(), "--unset=PATH"])
            .args(["--", command])
            .exits(code);
    }
}

#[test]
fn a_relative_path_starts_where_portero_was_started() {
    let directory = TempDir::new();
    fs::create_dir(directory.join("bin")).unwrap();
    directory.script("bin/program", "#!/bin/sh\nexit 42\n");
    for (from, command, code) in [
        ("", "bin/program", 42),
        ("", "./bin/program", 42),
        ("bin", "./program", 42),
        ("bin", "../bin/program", 42),
        ("", "./program", 127),
    ] {
        for run in both_places() {
            run.cwd(directory.join(from))
                // It is not looked for along PATH.
                .env("PATH", directory.join("bin"))
                .args(["--wait", "file:///etc/passwd", "--", command])
                .exits(code);
        }
    }
}

#[test]
fn a_directory_on_the_way_that_the_user_may_not_enter_is_named() {
    let directory = TempDir::new();
    fs::create_dir_all(directory.join("closed/deeper")).unwrap();
    let program = directory.script("closed/deeper/program", "#!/bin/sh\n");
    mode(&directory.join("closed"), 0o700);
    let closed = format!("may not enter {}", directory.join("closed").display());
    let table: [(Run, &str); 3] = [
        (Run::as_pid1().args(["--user", "1234:2345"]), "uid 1234"),
        (Run::portero().args(["--user", "1234:2345"]), "uid 1234"),
        (Run::as_pid1().user(1000, 1000), "uid 1000"),
    ];
    for (run, uid) in table {
        let by_path = run.clone().arg("--").arg(&program).finish();
        let along_path = run
            .env("PATH", program.parent().unwrap())
            .args(["--", "program"])
            .finish();
        for finished in [by_path, along_path] {
            finished
                .assert_exit(126)
                .assert_one_error_line()
                .assert_stderr_contains(&closed)
                .assert_stderr_contains(uid);
        }
    }
    // One that is not executable for others only.
    let own = directory.script("own", "#!/bin/sh\n");
    mode(&own, 0o700);
    Run::as_pid1()
        .args(["--user", "1234:2345", "--"])
        .arg(&own)
        .exits(126)
        .assert_one_error_line()
        .assert_stderr_contains("uid 1234");
}

#[test]
fn a_file_capability_that_the_drop_forbids_is_told_with_the_remedy() {
    let directory = TempDir::new();
    let program = directory.join("program");
    fs::copy(tool("true"), &program).unwrap();
    mode(&program, 0o755);
    let set = Command::new(tool("setcap"))
        .arg("cap_net_bind_service=ep")
        .arg(&program)
        .status()
        .unwrap();
    assert!(set.success(), "setcap: {set}");
    let start = |options: &[&str]| {
        Run::as_pid1()
            .args(["--user", "1234:2345"])
            .args(options)
            .arg("--")
            .arg(&program)
            .finish()
    };
    start(&[])
        .assert_exit(126)
        .assert_one_error_line()
        .assert_stderr_contains(program.to_str().unwrap())
        .assert_stderr_contains("cap")
        .assert_stderr_contains("--keep-cap")
        .assert_stderr_contains("--allow-new-privileges");
    start(&["--allow-new-privileges"]).assert_exit(0);
    start(&["--keep-cap", "net_bind_service"]).assert_exit(0);
}

#[test]
fn arguments_that_are_too_long_are_126() {
    // The limit of one string is 32 pages (execve(2), "Limits on size of arguments and environment"): a word that
    // passes it only once it is expanded.
    let half = "x".repeat(70_000);
    Run::portero()
        .env("HALF", half)
        .args(["--expand-args", "--", "true", "${HALF}${HALF}"])
        .exits(126)
        .assert_one_error_line()
        .assert_stderr_contains("true: Argument list too long");
}

/// What a shell would have made of it: one string that is a whole command line, and a variable without braces.
#[test]
fn a_name_that_only_a_shell_would_understand_is_refused_with_what_to_write() {
    let words = "give each word by itself, not all in one pair of quotes";
    let braces = "no shell expands a $ here: write ${NAME}";
    let arguments = "and for COMMAND --expand-args";
    let target = "or the variable's NAME alone";
    let migrate = |command| vec!["--no-lock", "--migrate", command, "true"];
    let table = [
        (vec!["--", "sh -c 'echo hi'"], 127, vec![words]),
        (vec!["--", "/bin/sh -c true"], 127, vec![words]),
        (vec!["--", "uvicorn\tmain:app"], 127, vec![words]),
        (vec!["--", "$APP"], 127, vec![braces, arguments]),
        (vec!["--", "/opt/$APP/run"], 127, vec![braces, arguments]),
        (vec!["--", "${APP} serve"], 127, vec![braces, words]),
        (migrate("'alembic upgrade head'"), 127, vec![words]),
        (migrate("$MIGRATE"), 127, vec![braces]),
        (
            vec!["--wait", "$DB", "--", "true"],
            125,
            vec![braces, target],
        ),
        (vec!["--database", "$DB", "--", "true"], 125, vec![braces]),
        (vec!["--user", "$USER", "--", "true"], 125, vec![braces]),
        (vec!["wait", "db:$PORT"], 125, vec![braces]),
        (vec!["healthcheck", "$HEALTH"], 1, vec![braces, target]),
        (
            vec!["healthcheck", "http://localhost:$PORT/"],
            1,
            vec![braces],
        ),
    ];
    for (arguments, code, says) in table {
        let finished = Run::portero().args(&arguments).finish();
        finished.assert_exit(code);
        for words in says {
            finished.assert_stderr_contains(words);
        }
        let line = finished.stderr.lines().last().unwrap();
        assert!(code != 1 || line.len() < 200, "{finished}");
    }
    // What is not found without any of it is told as before.
    let plain = Run::portero().args(["--", "no-such-program"]).finish();
    plain
        .assert_exit(127)
        .assert_stderr("portero: no-such-program: not found in any directory of PATH\n");
}
