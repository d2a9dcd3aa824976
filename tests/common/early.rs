//! SIGTERM in the first milliseconds of an init's life: is it lost? For the tests and for the benchmark.

use std::fs;
use std::hint::spin_loop;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::{children, field};
use super::{DEADLINE, Ended, Process, Run, tool};

/// An init, and the options by which it signals COMMAND's process group.
#[derive(Clone, Debug)]
pub struct Init {
    /// The name of its file.
    pub name: &'static str,
    program: PathBuf,
    options: &'static [&'static str],
}

/// The others of Debian; tini-static comes with tini.
pub const OTHERS: [(&str, &[&str]); 4] = [
    ("dumb-init", &["--"]),
    ("tini", &["-g", "--"]),
    ("tini-static", &["-g", "--"]),
    ("catatonit", &["-g", "--"]),
];

impl Init {
    pub fn new(
        name: &'static str,
        program: impl Into<PathBuf>,
        options: &'static [&'static str],
    ) -> Self {
        let program = program.into();
        Self {
            name,
            program,
            options,
        }
    }

    /// portero, for the process group.
    pub fn portero() -> Self {
        Self::new("portero", super::portero(), &["--"])
    }

    /// portero, for COMMAND alone.
    pub fn portero_child_only() -> Self {
        Self::new("portero", super::portero(), &["--signal-child-only", "--"])
    }

    /// All of [`OTHERS`]; one that is missing is a panic that says how to install it.
    pub fn others() -> Vec<Self> {
        OTHERS
            .iter()
            .map(|(name, options)| Self::new(name, tool(name), options))
            .collect()
    }

    /// With this command, not started yet.
    pub fn run(&self, command: &[&str]) -> Run {
        Run::program(&self.program).args(self.options).args(command)
    }

    /// As PID 1 of a namespace, at the moment in which the kernel has executed it; and its pid as the host sees it.
    #[track_caller]
    pub fn executed(&self, command: &[&str]) -> (Process, i32) {
        let process = self.run(command).pid1().start();
        let pid = process.until_executed(&self.program);
        (process, pid)
    }
}

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
fn until_blocked(pid: i32) {
    let term = 1u64 << (Signal::SIGTERM as i32 - 1);
    let blocks_term = |mask: String| u64::from_str_radix(&mask, 16).unwrap() & term != 0;
    let end = Instant::now() + DEADLINE;
    while !status(pid, "SigBlk").is_some_and(blocks_term) && children(pid).is_empty() {
        assert!(Instant::now() < end, "{pid} never blocked SIGTERM");
    }
}

/// Whether the init and COMMAND sleep with nothing pending. The init is looked at first: what it had to forward is
/// forwarded when it sleeps.
fn is_at_rest(init: i32, command: &Path) -> bool {
    let sleeps = |pid| {
        let empty =
            |set| status(pid, set).is_some_and(|digits| digits.bytes().all(|digit| digit == b'0'));
        status(pid, "State").is_some_and(|state| state.starts_with('S'))
            && empty("SigPnd")
            && empty("ShdPnd")
    };
    let is_command =
        |pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == command);
    sleeps(init) && matches!(children(init)[..], [child] if is_command(child) && sleeps(child))
}

fn status(pid: i32, name: &str) -> Option<String> {
    field(
        &fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
        name,
    )
}
