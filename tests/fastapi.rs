//! The whole path once, for real: two replicas of a FastAPI application on an empty database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::postgres::PASSWORD;
use common::server::unused_port;
use common::{
    Ended, Finished, Postgres, Process, Run, Server, TempDir, packages, process, succeed, tool,
};
use nix::sys::signal::Signal;

const UID: u32 = 12_345;

#[test]
fn two_replicas_migrate_once_serve_and_end_with_the_code_of_uvicorn() {
    let application = Application::new();
    let server = Postgres::start();
    let database = server.create_db();
    let url = server
        .url(&database)
        .replacen("postgres://", "postgresql+psycopg://", 1);
    let cache = format!("127.0.0.1:{}", unused_port());
    let ports = [unused_port(), unused_port()];

    let mut replicas = ports.map(|port| {
        application
            .run(Run::as_pid1(), &url)
            .arg("--default-port")
            .arg(port.to_string())
            .line("--expand-args --user")
            .arg(format!("{UID}:{UID}"))
            .args([
                "--database",
                "DATABASE_URL",
                "--wait",
                &format!("tcp://{cache}"),
            ])
            .line("--migrate 'alembic upgrade head' -- uvicorn main:app --host 0.0.0.0 --port ${PORT}")
            .start()
    });
    for (replica, port) in replicas.iter_mut().zip(ports) {
        replica.until_stderr(&cache);
        let finished = healthcheck(port);
        finished.assert_exit(1).assert_stdout("");
        assert!(
            finished.stderr.starts_with("unhealthy: "),
            "expected an unhealthy line{finished}"
        );
    }
    assert_eq!(
        server.psql(&database, "SELECT to_regclass('migration_runs')"),
        "",
        "migrated before the wait was over"
    );

    let _cache = Server::accepting(&cache);
    for (replica, port) in replicas.iter_mut().zip(ports) {
        until_healthy(replica, port);
        let answer = get(port, "/whoami");
        let expected = format!("{{\"uid\":{UID},\"parent\":1,\"port\":\"{port}\"}}");
        assert!(
            answer.ends_with(&expected),
            "{answer:?} lacks {expected}{replica}"
        );
        for entry in process::tree(replica.pid()) {
            let status = fs::read_to_string(format!("/proc/{entry}/status")).unwrap();
            let uid = process::field(&status, "Uid");
            assert_eq!(
                uid,
                Some(format!("{UID} {UID} {UID} {UID}")),
                "a process is not the dropped user{replica}"
            );
        }
        let names: Vec<String> = replica
            .processes()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(
            names.len(),
            2,
            "portero and uvicorn, and nothing that was left: {names:?}{replica}"
        );
    }
    assert_eq!(
        server.psql(&database, "SELECT count(*) FROM migration_runs"),
        "1"
    );
    assert_eq!(
        server.psql(&database, "SELECT version_num FROM alembic_version"),
        "0001"
    );

    let code = application.code_after_term(&url);
    for replica in replicas {
        let pids = process::tree(replica.pid());
        replica.signal(Signal::SIGTERM);
        let finished = replica.wait();
        finished.assert_exit(code).assert_never_says(PASSWORD);
        for pid in pids {
            assert!(
                !Path::new(&format!("/proc/{pid}")).exists(),
                "process {pid} is left{finished}"
            );
        }
    }
    for port in ports {
        healthcheck(port).assert_exit(1);
    }
}

/// What the second image knows and the first does not.
const SECOND_REVISION: &str = r#"
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("INSERT INTO migration_runs DEFAULT VALUES")
"#;

#[test]
fn after_a_rollback_an_image_that_does_not_know_the_newest_revision_starts() {
    let (old, new) = (Application::new(), Application::new());
    fs::write(
        new.files.join("migrations/versions/0002_second.py"),
        SECOND_REVISION,
    )
    .unwrap();
    let server = Postgres::start();
    let database = server.create_db();
    let url = server
        .url(&database)
        .replacen("postgres://", "postgresql+psycopg://", 1);
    let run = |application: &Application, once: &[&str]| {
        application
            .run(Run::as_pid1(), &url)
            .line("--database DATABASE_URL --migrate 'alembic upgrade head'")
            .args(once)
            .args(["--", "echo", "command"])
            .finish()
    };
    let revision = || server.psql(&database, "SELECT version_num FROM alembic_version");
    for (application, version, expected) in [
        (&old, "v1", "0001"),
        (&new, "v2", "0002"),
        (&old, "v1", "0002"),
    ] {
        run(application, &["--migrate-once", version])
            .assert_exit(0)
            .assert_stdout("command\n");
        assert_eq!(revision(), expected, "{version}");
    }
    // That is what it is for: alembic itself refuses.
    run(&old, &[])
        .assert_exit(255)
        .assert_stdout("FAILED: Can't locate revision identified by '0002'\n");
}

/// The application's files where the dropped user can read them, and the virtual environment.
struct Application {
    files: TempDir,
    environment: PathBuf,
}

impl Application {
    fn new() -> Self {
        let files = TempDir::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fastapi");
        succeed(
            Command::new(tool("cp"))
                .arg("-r")
                .arg(source.join("."))
                .arg(files.path()),
        );
        succeed(
            Command::new(tool("chmod"))
                .args(["-R", "a+rX"])
                .arg(files.path()),
        );
        Self {
            files,
            environment: packages::python(&source.join("requirements.txt")),
        }
    }

    /// In the application's directory, with its programs in the path, and no bytecode left in its files.
    fn run(&self, run: Run, url: &str) -> Run {
        run.cwd(self.files.path())
            .env(
                "PATH",
                format!("{}/bin:/usr/bin:/bin", self.environment.display()),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("DATABASE_URL", url)
    }

    /// What a shell would show as the exit code of uvicorn itself, without portero, after SIGTERM.
    fn code_after_term(&self, url: &str) -> i32 {
        let port = unused_port();
        let mut bare = self
            .run(Run::program(self.environment.join("bin/uvicorn")), url)
            .args(["main:app", "--port", &port.to_string()])
            .start();
        until_healthy(&mut bare, port);
        bare.signal(Signal::SIGTERM);
        match bare.wait().ended {
            Ended::Code(code) => code,
            Ended::Signal(number) => 128 + number,
        }
    }
}

fn healthcheck(port: u16) -> Finished {
    Run::portero()
        .env("PORT", port.to_string())
        .arg("healthcheck")
        .finish()
}

fn get(port: u16, path: &str) -> String {
    let mut answer = String::new();
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return answer;
    };
    let _ = write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    );
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Waits until the application answers, and then asks portero.
fn until_healthy(process: &mut Process, port: u16) {
    process.until(
        |_| get(port, "/health").starts_with("HTTP/1.1 200 "),
        "an answer of /health",
    );
    let finished = healthcheck(port);
    finished.assert_exit(0).assert_stderr("");
    let line = format!("healthy: GET 127.0.0.1:{port}/health 200 in ");
    assert!(
        finished.stdout.starts_with(&line),
        "expected {line:?}{finished}"
    );
}

/// The test's own parts without portero: a failure here is one of the application or of its packages.
#[test]
fn the_application_works_by_itself() {
    let application = Application::new();
    let server = Postgres::start();
    let url = server
        .url(&server.create_db())
        .replacen("postgres://", "postgresql+psycopg://", 1);
    application
        .run(
            Run::program(application.environment.join("bin/alembic")),
            &url,
        )
        .user(UID, UID)
        .args(["upgrade", "head"])
        .exits(0);
    let port = unused_port();
    let mut bare = application
        .run(
            Run::program(application.environment.join("bin/uvicorn")),
            &url,
        )
        .user(UID, UID)
        .args(["main:app", "--port", &port.to_string()])
        .start();
    bare.until(
        |_| get(port, "/health").ends_with("{\"migrations\":1}"),
        "an answer of /health",
    );
    assert!(get(port, "/whoami").contains(&UID.to_string()), "{bare}");
}
