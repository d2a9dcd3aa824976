//! SIGTERM in the first milliseconds of an init's life: is it lost? For the tests and for the benchmark.

use std::hint::spin_loop;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::inits::{Init, is_at_rest, status};
use super::process::children;
use super::{DEADLINE, Ended, tool};

/// From when on the delay before the signal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The kernel has executed the init.
    Executed,
    /// The init has blocked SIGTERM.
    Blocked,
}

/// The points of a sweep over the first 3 ms.
pub fn sweep(tries: u32) -> impl Iterator<Item = Duration> {
    (0..tries).map(move |index| Duration::from_millis(3) * index / tries)
}

/// Whether a SIGTERM to `init` as PID 1, sent this long after the given moment, is lost: everybody has come to rest,
/// nothing is pending, and COMMAND still runs. An end with anything but 143 is a panic.
#[track_caller]
pub fn loses_term(init: &Init, since: Since, delay: Duration) -> bool {
    let sleep = tool("sleep").canonicalize().unwrap();
    let (mut process, pid) = init.executed(&[sleep.to_str().unwrap(), "1000"]);
    if since == Since::Blocked {
        until_blocked(pid);
    }
    let start = Instant::now();
    while start.elapsed() < delay {
        spin_loop();
    }
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();

    let end = Instant::now() + DEADLINE;
    let mut looks_at_rest = 0;
    // Two looks, a while apart: one might fall between two steps.
    while looks_at_rest < 2 {
        if let Some(ended) = process.poll() {
            assert_eq!(
                ended,
                Ended::Code(128 + Signal::SIGTERM as i32),
                "{process}"
            );
            return false;
        }
        assert!(Instant::now() < end, "neither ended nor at rest{process}");
        looks_at_rest = if is_at_rest(pid, &sleep) {
            looks_at_rest + 1
        } else {
            0
        };
        thread::sleep(Duration::from_millis(if looks_at_rest == 0 {
            1
        } else {
            10
        }));
    }
    true
}

/// Waits, without a pause, until the mask shows SIGTERM, or COMMAND is there: while an init is in `rt_sigtimedwait(2)`
/// the kernel does not show what that waits for as blocked.
pub fn until_blocked(pid: i32) {
    let term = 1u64 << (Signal::SIGTERM as i32 - 1);
    let blocks_term = |mask: String| u64::from_str_radix(&mask, 16).unwrap() & term != 0;
    let end = Instant::now() + DEADLINE;
    while !status(pid, "SigBlk").is_some_and(blocks_term) && children(pid).is_empty() {
        assert!(Instant::now() < end, "{pid} never blocked SIGTERM");
    }
}
