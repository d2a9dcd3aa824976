//! The health check ends with 0 or 1 and in time, whatever surrounds it: Docker reserves 2, and calls all else
//! unhealthy without a reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::fuse::dead_mount;
use common::server::unused_port;
use common::{DEADLINE, Run, Server, TempDir, poll_until, portero, tool};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Runs the command by a script whose `"$@"` it is.
fn by_script(run: Run, script: &str) -> Run {
    run.via(["/bin/bash", "-c", script, "bash"])
}

/// A root directory with portero in it and nothing else.
fn bare_root() -> TempDir {
    let root = TempDir::new();
    fs::copy(portero(), root.join("portero")).unwrap();
    root
}

/// `portero healthcheck` in that root, mounted read-only, as this user.
fn in_bare_root(root: &Path, user: &str) -> Run {
    let root = root.to_str().unwrap();
    let script = format!(
        "mount --bind {root} {root} && mount -o remount,ro,bind {root} && exec {} --userspec={user} {root} \"$@\"",
        tool("chroot").display()
    );
    let unshare = tool("unshare");
    let run = Run::program("/portero").arg("healthcheck");
    run.via([
        unshare.to_str().unwrap(),
        "--mount",
        "/bin/bash",
        "-c",
        &script,
        "bash",
    ])
}

#[test]
fn a_place_for_the_line_is_not_needed_for_the_verdict() {
    let directory = TempDir::new();
    let fifo = directory.join("fifo");
    let full_pipe = format!(
        "mkfifo {fifo} && exec 3<>{fifo} && dd if=/dev/zero of={fifo} oflag=nonblock bs=4096 2>/dev/null; \
         exec \"$@\" >&3 2>&3",
        fifo = fifo.display()
    );
    let limited = format!(
        "ulimit -f 0; exec \"$@\" >{file} 2>{file}",
        file = directory.join("file").display()
    );
    let scripts = [
        "exec \"$@\" >/dev/full 2>/dev/full",
        "exec \"$@\" >&-",
        "exec \"$@\" 2>&-",
        "exec \"$@\" <&- >&- 2>&-",
        "exec \"$@\" >/dev/null </dev/null 2>/proc/self/mem",
        // The reader has gone.
        "exec 3> >(exit 0); wait $!; exec \"$@\" >&3 2>&3",
        &limited,
        &full_pipe,
    ];
    let server = Server::http(200, "");
    let (healthy, unhealthy) = (server.port(), unused_port());
    for script in scripts {
        for (port, code) in [(healthy, 0), (unhealthy, 1)] {
            let _ = fs::remove_file(&fifo);
            let run = Run::portero().args(["healthcheck", "--port", &port.to_string()]);
            by_script(run, script).exits(code);
        }
    }
}

#[test]
fn a_root_without_dev_and_etc_and_proc_that_is_read_only_is_enough_for_any_user() {
    let root = bare_root();
    let server = Server::http(200, "");
    let (healthy, unhealthy) = (server.port().to_string(), unused_port().to_string());
    for user in ["0:0", "1000:1000", "1000680000:0", "4294967294:4294967294"] {
        for target in ["", "http://localhost:PORT/", "tcp://LOCALHOST:PORT"] {
            let at = |port: &str| {
                let run = in_bare_root(root.path(), user).env("PORT", port);
                match target {
                    "" => run,
                    target => run.arg(target.replace("PORT", port)),
                }
            };
            let finished = at(&healthy).finish();
            finished
                .assert_exit(0)
                .assert_stderr("")
                .assert_stdout_contains("healthy: ");
            let finished = at(&unhealthy).finish();
            finished
                .assert_exit(1)
                .assert_one_line_of("unhealthy: ")
                .assert_stderr_contains("connection refused (ECONNREFUSED)");
        }
    }
    let closed = format!(
        "exec {} --mount /bin/bash -c 'exec {} {} \"$@\" <&- >&- 2>&-' bash \"$@\"",
        tool("unshare").display(),
        tool("chroot").display(),
        root.path().display()
    );
    for (port, code) in [(&healthy, 0), (&unhealthy, 1)] {
        let run = Run::program("/portero")
            .arg("healthcheck")
            .env("PORT", port);
        by_script(run, &closed).exits(code);
    }
    let heads = server.requests();
    assert!(
        heads
            .iter()
            .all(|head| head.is_empty() || head.starts_with("GET /")),
        "something else went over a connection: {heads:?}"
    );
}

#[test]
fn a_name_that_nothing_can_resolve_is_unhealthy_in_time() {
    let root = bare_root();
    let start = Instant::now();
    in_bare_root(root.path(), "1000:1000")
        .args(["--timeout", "2s", "http://nowhere.invalid/"])
        .exits(1)
        .assert_one_line_of("unhealthy: GET nowhere.invalid/: ");
    assert!(start.elapsed() < DEADLINE);
}

#[test]
fn too_few_descriptors_are_unhealthy() {
    for limit in 3..8 {
        let run = Run::portero().args(["healthcheck", "--port", "1", "--timeout", "5s"]);
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        by_script(run.arg("postgres://u:p@127.0.0.1:1/d"), &script)
            .exits(1)
            .assert_one_line_of("unhealthy: ");
    }
}

#[test]
fn a_signal_ends_it_with_1_or_not_at_all() {
    use Signal::*;
    let stops = [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGABRT];
    let others = [SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ, SIGVTALRM, SIGWINCH];
    let server = Server::silent();
    let asking = |pid1: bool, timeout: &str| {
        let before = server.connections();
        let run = Run::portero().args(["healthcheck", "--timeout", timeout]);
        let run = run.arg(format!("http://{}/", server.address()));
        let process = if pid1 { run.pid1() } else { run }.start();
        let asked = poll_until(DEADLINE, || (server.connections() > before).then_some(()));
        assert!(asked.is_some(), "it never asked{process}");
        process
    };
    for pid1 in [false, true] {
        for signal in stops {
            let process = asking(pid1, "60s");
            process.signal(signal);
            process.exits(1).assert_stdout("");
        }
        let process = asking(pid1, "2s");
        others.into_iter().for_each(|signal| process.signal(signal));
        let finished = process.wait();
        finished.assert_exit(1).assert_stdout("");
        finished.assert_stderr_contains("no answer within 2s");
    }
}

#[test]
fn what_is_no_regular_file_is_unhealthy_at_once() {
    let directory = TempDir::new();
    let fifo = directory.join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let fifo = fifo.to_str().unwrap();
    let url = "https://127.0.0.1:1/";
    let run = || Run::portero().args(["healthcheck", "--timeout", "none", url]);
    for run in [
        run().args(["--ca-cert", fifo]),
        run()
            .args(["--header", "A: ${TOKEN}"])
            .env("PORTERO_SECRET", "TOKEN")
            .env("TOKEN_FILE", fifo),
    ] {
        run.exits(1)
            .assert_stdout("")
            .assert_one_line_of("unhealthy: ")
            .assert_stderr_contains("it is not a regular file");
    }
}

#[test]
fn a_file_that_never_answers_is_unhealthy_in_time() {
    let directory = TempDir::new();
    let point = directory.join("mount").display().to_string();
    let file = format!("{point}/file");
    let url = "https://127.0.0.1:1/";
    let run = || dead_mount(Run::portero(), &point).args(["healthcheck", "--timeout", "500ms"]);
    for run in [
        run().args(["--ca-cert", &file, url]),
        run().arg(format!("file://{file}")),
        run().arg(format!("unix://{file}")),
        run().arg(format!("http+unix://{file}:/")),
        run().arg(format!(
            "postgres://u:p@127.0.0.1:1/d?sslmode=verify-ca&sslrootcert={file}"
        )),
        run().arg(format!("rediss://127.0.0.1:1/?ssl_ca_certs={file}")),
        run()
            .args(["--header", "A: ${TOKEN}", url])
            .env("PORTERO_SECRET", "TOKEN")
            .env("TOKEN_FILE", &file)
            .env("PORTERO_HEALTH_TIMEOUT", "600s"),
    ] {
        let start = Instant::now();
        run.exits(1)
            .assert_stdout("")
            .assert_one_line_of("unhealthy: no answer in time: a file");
        let took = start.elapsed();
        assert!(
            took >= Duration::from_millis(500) && took < DEADLINE,
            "{took:?}"
        );
    }
}

#[test]
fn no_bytes_in_arguments_and_variables_end_it_otherwise() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe/\n\x1b[0m");
    let run = || Run::portero().arg("healthcheck");
    let long = "x".repeat(100_000);
    for run in [
        run().arg(odd),
        run().arg("--port").arg(odd),
        run().arg("--path").arg(odd).env("PORT", "1"),
        run().arg("--header").arg(odd).env("PORT", "1"),
        run().env("PORT", odd),
        run().env("PORTERO_HEALTH_TARGET", odd),
        run().env("PORTERO_HEALTH_TIMEOUT", odd).env("PORT", "1"),
        run().env("PORTERO_LOG_LEVEL", odd).env("PORT", "1"),
        run().env("PORTERO_USER", odd).env("PORT", "1"),
        run().arg(&long),
        run()
            .args(["--port", "1", "--header"])
            .arg(format!("X: {long}")),
        run().arg(format!("http://127.0.0.1:1/{long}")),
    ] {
        let finished = run.finish();
        finished
            .assert_exit(1)
            .assert_stdout("")
            .assert_one_line_of("unhealthy: ");
        assert!(finished.stderr.len() <= 200, "{finished}");
    }
}

#[test]
fn a_check_that_had_no_processor_at_its_limit_still_says_who_did_not_answer() {
    let server = Server::silent();
    let url = format!("http://{}/up", server.address());
    let check = Run::portero()
        .args(["healthcheck", "--timeout", "500ms", &url])
        .start();
    let asked = poll_until(DEADLINE, || (server.connections() > 0).then_some(()));
    assert!(asked.is_some(), "it never asked{check}");
    check.signal(Signal::SIGSTOP);
    let rang = poll_until(DEADLINE, || {
        let pending = u64::from_str_radix(&check.status_field("ShdPnd"), 16).unwrap();
        (pending >> (libc::SIGALRM - 1) & 1 == 1).then_some(())
    });
    assert!(rang.is_some(), "its alarm never rang{check}");
    check.signal(Signal::SIGCONT);
    let finished = check.exits(1);
    finished.assert_stderr_contains("/up: no answer within 500ms");
}
