//! The Docker engine: containers and networks that end with the values that stand for them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::common::process::field;
use crate::common::{Ended, Finished, Run, poll_until, tool};

/// How long a container may take to do what it does in a second or two on an idle machine.
pub const LIMIT: Duration = Duration::from_secs(90);

/// How long the making of an image may take.
pub const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// `docker ARGS`, whatever comes of it.
pub fn docker_with(args: &[&str]) -> Finished {
    require_engine();
    Run::program(tool("docker"))
        .args(args)
        .start()
        .wait_at_most(BUILD_LIMIT)
}

/// What `docker ARGS` printed; a failure is the test's.
#[track_caller]
pub fn docker(args: &[&str]) -> String {
    let finished = docker_with(args);
    finished.assert_exit(0);
    finished.stdout.trim_end().to_owned()
}

fn require_engine() {
    static CHECKED: OnceLock<bool> = OnceLock::new();
    let runs = *CHECKED.get_or_init(|| {
        let asked = Run::program(tool("docker")).arg("info").finish();
        asked.ended == Ended::Code(0)
    });
    assert!(
        runs,
        "no Docker engine answers: start dockerd (tests/run.sh does it; apt-get install -y docker.io)"
    );
}

/// A name that nothing else has, in this run of the tests or another at the same time.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("portero-test-{what}-{}-{count}", std::process::id())
}

/// A bridge network of its own, with names for its containers.
#[derive(Debug)]
pub struct Network(String);

impl Network {
    pub fn new() -> Self {
        let name = unique("net");
        docker(&["network", "create", &name]);
        Self(name)
    }

    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker_with(&["network", "rm", &self.0]);
    }
}

/// A container, which is removed with the value.
#[derive(Debug)]
pub struct Container(String);

impl Container {
    /// `docker run --detach OPTIONS IMAGE COMMAND`.
    #[track_caller]
    pub fn run(image: &str, options: &[&str], command: &[&str]) -> Self {
        let container = Self(unique("run"));
        let start = ["run", "--detach", "--name", &container.0];
        let command = [&start[..], options, &[image], command].concat();
        // On a busy machine the engine itself may give up before its shim has opened the container's streams.
        let mut tried = docker_with(&command);
        for _ in 0..2 {
            if !tried.stderr.contains("context deadline exceeded") {
                break;
            }
            docker(&["rm", "--force", &container.0]);
            tried = docker_with(&command);
        }
        tried.assert_exit(0);
        container
    }

    /// A container that something else started, Compose for one.
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// One field, by a template of Go's.
    #[track_caller]
    pub fn inspect(&self, template: &str) -> String {
        docker(&["inspect", "--format", template, &self.0])
    }

    /// What it said, stdout and stderr.
    pub fn logs(&self) -> String {
        let finished = docker_with(&["logs", &self.0]);
        finished.stdout + &finished.stderr
    }

    /// `docker exec`.
    pub fn exec(&self, argv: &[&str]) -> Finished {
        docker_with(&[&["exec", &self.0], argv].concat())
    }

    /// Its address on its network, or on one of them.
    pub fn address(&self) -> String {
        self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// Waits until `question` has an answer. A failure shows what the container and its health check said.
    #[track_caller]
    pub fn until<T>(&self, what: &str, question: impl FnMut() -> Option<T>) -> T {
        poll_until(LIMIT, question).unwrap_or_else(|| panic!("never {what}{}", self.report()))
    }

    #[track_caller]
    pub fn until_said(&self, text: &str) {
        self.until(text, || self.logs().contains(text).then_some(()));
    }

    /// Waits until Docker calls it healthy; `unhealthy` on the way is a failure.
    #[track_caller]
    pub fn until_healthy(&self) {
        let status = self.until("healthy", || {
            let status = self.inspect("{{.State.Status}} {{.State.Health.Status}}");
            (status != "running starting").then_some(status)
        });
        assert_eq!(status, "running healthy", "{}", self.report());
    }

    /// Waits until it has ended by itself, and returns its exit code.
    #[track_caller]
    pub fn until_ended(&self) -> i32 {
        self.until("ended", || {
            (self.inspect("{{.State.Status}}") == "exited").then_some(())
        });
        self.exit_code()
    }

    pub fn exit_code(&self) -> i32 {
        self.inspect("{{.State.ExitCode}}").parse().unwrap()
    }

    /// `docker stop`: how long it took, and the exit code.
    pub fn stop(&self) -> (Duration, i32) {
        let start = Instant::now();
        docker(&["stop", &self.0]);
        (start.elapsed(), self.exit_code())
    }

    /// Every process of it, as the engine's machine numbers them; those of `docker exec` are among them.
    pub fn pids(&self) -> Vec<i32> {
        let listed = docker_with(&["top", &self.0, "-o", "pid"]);
        let pids = listed.stdout.lines().skip(1);
        pids.filter_map(|pid| pid.trim().parse().ok()).collect()
    }

    /// `field` of the status of each of its processes, with the process's name.
    pub fn statuses(&self, name: &str) -> Vec<(String, String)> {
        let status = |pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok();
        let read = self.pids().into_iter().filter_map(status);
        read.filter_map(|status| Some((field(&status, "Name")?, field(&status, name)?)))
            .collect()
    }

    pub fn report(&self) -> String {
        let health = self
            .inspect("{{if .State.Health}}{{range .State.Health.Log}}{{.Output}}{{end}}{{end}}");
        format!(
            "\n  container: {}\n--- logs\n{}\n--- health\n{health}\n---",
            self.inspect("{{.Config.Image}} {{.Args}} {{.State.Status}} {{.State.ExitCode}}"),
            self.logs().trim_end()
        )
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker_with(&["rm", "--force", "--volumes", &self.0]);
    }
}
