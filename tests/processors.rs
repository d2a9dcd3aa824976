//! `${PORTERO_CPUS}`: how many processors this container may use, in real control groups.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use common::Run;
use common::cgroup::ControlGroup;

/// What COMMAND is told.
fn counted(run: Run) -> u64 {
    let finished = run
        .args([
            "--default",
            "WORKERS=${PORTERO_CPUS}",
            "--",
            "sh",
            "-c",
            "echo $WORKERS$PORTERO_CPUS",
        ])
        .exits(0);
    finished.stdout.trim().parse().unwrap()
}

fn here() -> u64 {
    nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))
        .map(|set| {
            (0..nix::sched::CpuSet::count())
                .filter(|cpu| set.is_set(*cpu).unwrap())
                .count()
        })
        .unwrap() as u64
}

#[test]
fn without_a_quota_it_is_what_the_affinity_allows() {
    assert_eq!(counted(Run::portero()), here());
    assert_eq!(counted(Run::as_pid1().via(["taskset", "-c", "0"])), 1);
    let hidden = Run::as_pid1().mounts("umount -l /proc; mount -t tmpfs none /proc");
    assert_eq!(counted(hidden), here());
}

#[test]
fn a_quota_is_rounded_up_and_leaves_one_at_least_and_no_more_than_there_are() {
    for (quota, expected) in [
        (1_000, 1),
        (50_000, 1),
        (100_000, 1),
        (100_001, 2),
        (150_000, 2),
        (200_000, 2),
        (6_400_000, 64),
    ] {
        let group = ControlGroup::new("cpu");
        group.limit_processors(quota);
        let counted = counted(group.run(Run::portero()));
        assert_eq!(counted, expected.min(here()), "{quota}");
    }
}

#[test]
fn the_smallest_quota_of_all_levels_counts() {
    let outer = ControlGroup::new("cpu");
    outer.limit_processors(100_000);
    let inner = outer.child();
    assert_eq!(counted(inner.run(Run::portero())), 1);
    // Seen from a namespace of its own, where the group is the top.
    let run = Run::portero().via(["unshare", "--cgroup"]);
    assert_eq!(counted(inner.run(run)), 1);
}

#[test]
fn who_sets_it_has_the_last_word_and_command_sees_neither() {
    let run = Run::portero().env("PORTERO_CPUS", "7");
    assert_eq!(counted(run), 7);
    for nothing in ["", " "] {
        assert_eq!(counted(Run::portero().env("PORTERO_CPUS", nothing)), here());
    }
    Run::portero()
        .env("PORTERO_CPUS", "7")
        .args([
            "--expand-args",
            "--",
            "echo",
            "${PORTERO_CPUS}",
            "${PORTERO_CPUS:-1}",
            "$${PORTERO_CPUS}",
        ])
        .exits(0)
        .assert_stdout("7 7 ${PORTERO_CPUS}\n")
        .assert_stderr("");
}
