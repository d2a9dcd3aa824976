//! Linux 4.18: what portero asks of a newer kernel may be refused to it, one call after another, and it does its work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::time::Duration;

use common::faults::{Fault, Watched, Which, call_name};
use common::{Run, Server, side_by_side};

/// The first call that Linux 4.18 does not have: pidfd_send_signal(2), of 5.1. From there on all architectures count
/// alike; the last one before it is rseq(2), 334.
const NEWER: usize = 424;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs it with every newer call there, and then without each that it made.
fn needs_nothing_newer(run: &Run, expected: &str) {
    let whole = Watched::start(run.clone(), None);
    let (finished, counts) = whole.finish();
    finished.assert_exit(0).assert_stdout_contains(expected);
    for (call, _) in counts.calls().filter(|(call, _)| *call >= NEWER) {
        let fault = Fault {
            call,
            errno: libc::ENOSYS,
            which: Which::All,
        };
        let mut refused = Watched::start(run.clone(), Some(fault));
        assert!(
            refused.ends_within(LIMIT),
            "without {} it hangs",
            call_name(call)
        );
        let (finished, _) = refused.finish();
        finished.assert_exit(0).assert_stdout_contains(expected);
    }
}

#[test]
fn no_call_of_a_kernel_after_4_18_is_needed() {
    let server = Server::http(200, "well");
    let url = format!("http://{}/", server.address());
    let script = "cat /proc/self/status; (sleep 0.1 &)";
    let init = Run::as_pid1().args([
        "--user",
        "1000:1000",
        "--default-port",
        "8000",
        "--wait",
        &url,
    ]);
    let init = init.args(["--", "sh", "-c", script]);
    let cases = [
        (init, "Uid:\t1000\t1000\t1000\t1000"),
        (Run::portero().args(["healthcheck", &url]), "healthy: "),
        (
            Run::portero().args(["--exec", "--", "echo", "runs"]),
            "runs",
        ),
    ];
    side_by_side(cases, |(run, expected)| needs_nothing_newer(&run, expected));
}
