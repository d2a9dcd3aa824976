//! What must not be seen: no secret and no password is in any command line, log, error or dry run, at any level.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::{Run, TempDir, rows, side_by_side};

/// Nothing else on the machine has this in its command line, the test itself included.
fn secret() -> String {
    format!("s3cr3t-of-{}", std::process::id())
}

/// A file that only root can read.
fn file_of_roots(directory: &TempDir, content: &str) -> PathBuf {
    let path = directory.file("token", content);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Every command line of the machine that holds `text`.
fn command_lines_with(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| line.contains(text))
        .collect()
}

#[test]
fn while_stages_and_command_run_no_command_line_and_no_output_holds_the_secret() {
    let (directory, secret) = (TempDir::writable_by_all(), secret());
    let token = file_of_roots(&directory, &format!("{secret}\n"));
    let (first, second, third) = (
        directory.join("1"),
        directory.join("2"),
        directory.join("3"),
    );
    let until = |what: &str, path: &PathBuf| {
        format!(
            "echo {what} ${{#TOKEN}}; until [ -e {} ]; do sleep 0.01; done",
            path.display()
        )
    };
    let mut process = Run::as_pid1()
        .env("TOKEN_FILE", &token)
        .env("PORTERO_DEFAULT", "HEADER=Bearer ${TOKEN}")
        .line("-v --user 1234:2345 --secret TOKEN --no-lock --wait")
        .arg(format!("file://{}", first.display()))
        .args(["--wait-timeout", "30s", "--migrate"])
        .arg(format!("sh -c '{}'", until("migrating", &second)))
        .line("-- sh -c")
        .arg(until("running $HEADER", &third).replace("$HEADER", "${#HEADER}"))
        .start();
    let look = |stage: &str| assert_eq!(command_lines_with(&secret), [""; 0], "{stage}");
    process.until_stderr("waiting");
    look("the wait");
    fs::write(&first, "").unwrap();
    process.until_stdout(&format!("migrating {}", secret.len()));
    look("the migration");
    fs::write(&second, "").unwrap();
    process.until_stdout(&format!("running {} {}", secret.len() + 7, secret.len()));
    look("COMMAND");
    fs::write(&third, "").unwrap();
    let finished = process.wait();
    finished.assert_exit(0).assert_never_says(&secret);
    // It would have been found.
    let mut loud = Run::program("/bin/sh")
        .args(["-c", "echo ready; read x", &secret])
        .start_with(std::process::Stdio::piped());
    loud.until_stdout("ready");
    assert_eq!(command_lines_with(&secret).len(), 1);
    loud.close_stdin();
    loud.wait();
}

#[test]
fn a_secret_that_only_root_can_read_reaches_command_to_the_letter_and_its_file_does_not() {
    let directory = TempDir::new();
    let token = file_of_roots(&directory, "p@ss 'w\"$rd${X}\\\n\r\n");
    Run::as_pid1()
        .env("TOKEN_FILE", &token)
        .args(["--user", "1234:2345", "--secret", "TOKEN", "--", "sh", "-c"])
        .arg("printf '<%s>' \"$TOKEN\"; echo ${TOKEN_FILE-none} $(id -u)")
        .exits(0)
        .assert_stdout("<p@ss 'w\"$rd${X}\\\n>none 1234\n")
        .assert_stderr("");
    // Who is not root can't read it: the line names the variable and the file.
    let finished = Run::as_pid1()
        .user(1234, 2345)
        .env("TOKEN_FILE", &token)
        .args(["--secret", "TOKEN", "--", "true"])
        .finish();
    finished
        .assert_exit(125)
        .assert_one_error_line()
        .assert_stderr_contains("can't read the secret TOKEN")
        .assert_stderr_contains("TOKEN_FILE");
}

/// Wherever an option lets a secret in, and whatever is wrong with that.
#[test]
fn no_error_no_warning_and_no_dry_run_shows_a_secret_at_any_level() {
    let (directory, secret) = (TempDir::new(), secret());
    let token = file_of_roots(&directory, &secret);
    let table = r#"
        --user ${TOKEN}
        --user 1000:${TOKEN}
        --chown /${TOKEN} --user 1:1
        --keep-cap ${TOKEN}
        --wait ${TOKEN}
        --wait tcp://${TOKEN}:99999
        --wait http://127.0.0.1:1/${TOKEN}?x=${TOKEN} --wait-timeout 100ms
        --wait file:///${TOKEN} --wait-timeout 100ms
        --wait unix:///${TOKEN} --wait-timeout 100ms
        --wait ${TOKEN}.invalid:1 --wait-timeout 100ms
        --database ${TOKEN}
        --wait-timeout 100ms --database postgres://${TOKEN}:${TOKEN}@127.0.0.1:1/${TOKEN}?application_name=${TOKEN}
        --wait-timeout ${TOKEN}
        --stop-delay ${TOKEN}
        --map-signal ${TOKEN}
        --map-exit ${TOKEN}
        --skip ${TOKEN}
        --no-lock --migrate ${TOKEN}
        --no-lock --migrate 'false ${TOKEN}'
        --default X=${TOKEN} --default Y=${X} --ca-cert ${TOKEN} --wait https://127.0.0.1:1/ --wait-timeout 100ms
        --expand-args
    "#;
    side_by_side(rows(table), |[options]| {
        let given = [
            ("TOKEN_FILE", token.as_os_str()),
            ("TOKEN", secret.as_ref()),
        ];
        for (name, value) in given {
            for output in ["-v", "--log-format json", "--dry-run"] {
                let run = Run::portero().env(name, value).line("--secret TOKEN");
                let finished = run
                    .line(output)
                    .line(options)
                    .line("-- /no/${TOKEN}")
                    .finish();
                finished.assert_never_says(&secret);
                let said = finished.stdout.len() + finished.stderr.len();
                assert!(
                    said > 0,
                    "nothing was said that could have shown it{finished}"
                );
            }
        }
    });
    Run::portero()
        .env("TOKEN_FILE", &token)
        .line("healthcheck --secret TOKEN --header 'X: ${TOKEN}'")
        .arg("http://127.0.0.1:1/${TOKEN}")
        .exits(1)
        .assert_never_says(&secret)
        .assert_stderr_contains("***");
}

#[test]
fn no_warning_no_error_and_no_dry_run_shows_what_may_be_a_password_in_a_command() {
    let table = "
        -- true --password hunter2${X}              0    --expand-args
        --no-lock --migrate 'a hunter2; b' -- true  125  ';' is shell syntax
        --no-lock --migrate 'a $(hunter2)' -- true  125  '$(' is shell syntax
        --no-lock --migrate 'a `hunter2`' -- true   125  '`' is shell syntax
        --default =hunter2 -- true                  125  --default
        --default 'hunter2 is it' -- true           125  --default
        --expand-args -- true hunter2${UNSET}       125  UNSET
    ";
    for [line, code, said] in rows(table) {
        let finished = Run::portero().line(line).exits(code.parse().unwrap());
        finished
            .assert_one_error_line()
            .assert_never_says("hunter2");
        finished.assert_stderr_contains(said);
    }
    Run::portero()
        .line("--dry-run --no-lock --migrate \"m 'host=db password=hunter2'\"")
        .args([
            "--",
            "psql",
            "password='hunter2 hunter2'",
            "--password=hunter2",
            "postgres://u:hunter2@db/x",
        ])
        .args(["redis://:hunter2@db", "a?password=hunter2&b=c"])
        .args([
            "host=db password = hunter2",
            "password=ab'hunter2",
            "password=ab\\ hunter2",
        ])
        .args([
            "Password='a''hunter2'",
            "Host=db;Pwd=hunter2",
            "u:hunter2@tcp(db:3306)/x",
        ])
        .args(["MYSQL_PWD=hunter2"])
        .exits(0)
        .assert_never_says("hunter2")
        .assert_stdout_contains("b=c");
}

#[test]
fn a_default_whose_name_says_password_is_not_shown_in_a_dry_run() {
    let names =
        "DB_PASSWORD db_passwd API_KEY AUTH_TOKEN CLIENT_SECRET MYSQL_PWD BASIC_AUTH SENTRY_DSN";
    for name in names.split(' ') {
        let default = format!("{name}=hunter2");
        Run::portero()
            .line("--dry-run --default")
            .arg(&default)
            .line("--default MODE=plain -- true")
            .exits(0)
            .assert_never_says("hunter2")
            .assert_stdout_contains(&format!("{name}=***"))
            .assert_stdout_contains("MODE=plain");
    }
}

#[test]
fn a_secret_is_its_files_content_less_one_newline_and_has_one_place() {
    let directory = TempDir::new();
    let file = directory.join("token");
    let run = |run: Run| {
        run.args([
            "--secret",
            "TOKEN",
            "--",
            "sh",
            "-c",
            "printf %s. \"$TOKEN\" | od -An -c",
        ])
    };
    let table = [
        ("x", "   x   .\n"),
        ("x\n", "   x   .\n"),
        ("x\r\n", "   x   .\n"),
        ("x\n\n", "   x  \\n   .\n"),
    ];
    for (content, value) in table {
        directory.file("token", content);
        run(Run::portero().env("TOKEN_FILE", &file))
            .exits(0)
            .assert_stdout(value);
    }
    run(Run::portero().env("TOKEN_FILE", &file).env("TOKEN", "x"))
        .refused()
        .assert_stderr_contains("are both set");
    run(Run::portero()).exits(0).assert_stdout("   .\n");
}

#[test]
fn a_secret_file_that_no_variable_can_hold_is_refused_by_the_variables_name() {
    let directory = TempDir::new();
    let with = |file: PathBuf| {
        Run::portero()
            .env("TOKEN_FILE", file)
            .args(["--secret", "TOKEN", "--", "sh", "-c", "echo ${#TOKEN}"])
            .finish()
    };
    let largest = 128 * 1024 - "TOKEN=".len() - 1;
    let file = |length: usize| directory.file(&length.to_string(), &"x".repeat(length));
    with(file(largest))
        .assert_exit(0)
        .assert_stdout(&format!("{largest}\n"));
    let table = [
        (
            file(largest + 1),
            "larger than the 131070 bytes that a variable can hold",
        ),
        (file((1 << 20) + 1), "larger than 1 MiB"),
        (PathBuf::from("/proc/self/cmdline"), "has a NUL byte"),
        (
            directory.join("missing"),
            "can't read the secret TOKEN from",
        ),
        (directory.path().into(), "can't read the secret TOKEN from"),
    ];
    for (file, said) in table {
        with(file)
            .assert_exit(125)
            .assert_one_error_line()
            .assert_stderr_contains(said);
    }
}

#[test]
fn a_secret_of_a_few_letters_does_not_mangle_the_log() {
    let run = |secret: &str| {
        let run = Run::portero().env("TOKEN", secret);
        run.args(["--secret", "TOKEN", "--", "/no/such/door"])
            .finish()
    };
    for short in ["o", "su", "doo"] {
        run(short)
            .assert_exit(127)
            .assert_stderr("portero: /no/such/door: not found\n");
    }
    run("door").assert_stderr("portero: /no/such/***: not found\n");
}
