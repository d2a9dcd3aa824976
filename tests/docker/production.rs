//! What every image with portero in it owes its operators.

use std::time::Duration;

use crate::engine::{Container, docker};

/// What portero stands for: none of these may be needed beside it.
const REPLACED: [&str; 12] = [
    "curl",
    "wget",
    "dumb-init",
    "tini",
    "tini-static",
    "catatonit",
    "gosu",
    "su-exec",
    "wait-for-it",
    "wait-for-it.sh",
    "dockerize",
    "docker-entrypoint.sh",
];

/// Healthy; PID 1 and every process are the user `uid`, without a capability; nobody is a zombie.
#[track_caller]
pub fn assert_runs_as(container: &Container, uid: u32) {
    container.until_healthy();
    let all_four = format!("{uid} {uid} {uid} {uid}");
    let users = container.statuses("Uid");
    assert!(!users.is_empty(), "no process{}", container.report());
    assert!(
        users.iter().all(|(_, user)| *user == all_four),
        "not all are {uid}: {users:?}{}",
        container.report()
    );
    for set in ["CapEff", "CapPrm", "CapAmb"] {
        let capabilities = container.statuses(set);
        assert!(
            capabilities
                .iter()
                .all(|(_, set)| set.trim_start_matches('0').is_empty()),
            "{set}: {capabilities:?}{}",
            container.report()
        );
    }
    assert_no_zombie(container);
}

/// No process is a zombie, nor stays one for longer than it takes to reap it.
#[track_caller]
pub fn assert_no_zombie(container: &Container) {
    container.until("without zombies", || {
        let states = container.statuses("State");
        states
            .iter()
            .all(|(_, state)| !state.starts_with('Z'))
            .then_some(())
    });
}

/// More than `docker stop` takes on a busy machine, where an idle one takes a fifth of a second and what the
/// application itself needs: uvicorn ends its four workers one after the other. The engine would KILL after ten, and
/// the exit code would be 137.
pub const STOP_LIMIT: Duration = Duration::from_secs(8);

/// `docker stop` ends it at once, with this code.
#[track_caller]
pub fn assert_stops(container: &Container, code: i32) {
    let (took, ended) = container.stop();
    assert_eq!(ended, code, "{}", container.report());
    assert!(
        took < STOP_LIMIT,
        "docker stop took {took:?}{}",
        container.report()
    );
}

/// The image has portero and none of what it replaces.
#[track_caller]
pub fn assert_only_portero(image: &str) {
    let container = docker(&["create", image]);
    let archive = crate::common::TempDir::new();
    let path = archive.join("image.tar");
    docker(&["export", "--output", path.to_str().unwrap(), &container]);
    docker(&["rm", &container]);
    let listed = crate::common::Run::program(crate::common::tool("tar"))
        .arg("-tf")
        .arg(&path)
        .finish();
    listed.assert_exit(0);
    let found: Vec<&str> = listed
        .stdout
        .lines()
        .filter(|path| {
            path.rsplit('/')
                .next()
                .is_some_and(|name| REPLACED.contains(&name))
        })
        .collect();
    assert!(found.is_empty(), "{image} has {found:?}");
    assert!(
        listed.stdout.lines().any(|path| path == "portero"),
        "{image} has no portero"
    );
}

/// `options` for a health check of a shell and a child of its, which Docker kills before it has ended: the child is
/// left to PID 1 each time.
pub const TIMED_OUT_CHECKS: [&str; 6] = [
    "--health-cmd=sleep 0.3; true",
    "--health-interval=20ms",
    "--health-timeout=30ms",
    "--health-retries=1000",
    "--health-start-period=0s",
    "--label=timed-out-checks",
];

/// After 20 health checks that Docker has killed, what they left is reaped.
#[track_caller]
pub fn assert_reaps_timed_out_checks(container: &Container) {
    container.until("20 checks that timed out", || {
        let streak: u32 = container
            .inspect("{{.State.Health.FailingStreak}}")
            .parse()
            .unwrap();
        (streak >= 20).then_some(())
    });
    assert_no_zombie(container);
}
