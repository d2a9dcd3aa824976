//! What portero itself is busy with in this container, when COMMAND has not been started yet: found in /proc.
//!
//! A stage is `portero wait` or `portero migrate`, started by an init of portero's as the leader of a process group of
//! its own, or on a terminal (`docker run -t`) in the init's group. The init is the container's first process, or under
//! `docker run --init` that one's child. What somebody starts in the container beside it (`docker exec`) is not below
//! the first process, and no reason to call the container healthy. Its orphan is, and so is COMMAND's: they are told by
//! the init's own name, which is the stage's as long as it runs, and which no other process can give it. Nor can
//! COMMAND be taken for another init, by a name of portero's and a `portero wait` of its own: where the first process
//! is portero, that one alone is the init. What remains: where another init is the first process, its own children may
//! call themselves so, and so may what `--exec` has put in portero's place.
//!
//! The PID namespace may be shared (Kubernetes' `shareProcessNamespace`, `docker run --pid`): then PID 1 is of another
//! container or the host's, a container's first process is the one whose parent is outside of it, and a neighbour's
//! stage, or one that outlived its init, is nobody's business here.
//!
//! Only what every user may read is read: the init may have dropped to a user of its own. And of a foreign process
//! only `stat` and `cgroup`: reading a command line waits for the process's memory map, which hangs beside one that
//! thrashes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use crate::plan::Stage;
use crate::{procfs, sys, wording};

/// How long the look may take: on a host's PID namespace /proc is large, and the answer is due.
const LIMIT: Duration = Duration::from_millis(100);

/// The kernel's unit of `starttime` in milliseconds: 100 ticks a second on x86-64 and arm64 (`USER_HZ`,
/// asm-generic/param.h; `sysconf(_SC_CLK_TCK)` says nothing else).
const TICK: u64 = 10;

/// The name of a process that was executed as /proc/self/exe, as the init starts its stages.
const BY_LINK: &str = "exe";

/// A stage that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub stage: Stage,
    /// Since when.
    pub age: Duration,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.stage {
            Stage::Wait => "waiting",
            Stage::Migrate | Stage::Prepare => "migrating",
        };
        let age = wording::duration(self.age);
        write!(f, "portero is still {doing} ({age})")
    }
}

/// The stage that runs in this PID namespace, if any. Without /proc, or where it hides other users' processes
/// (`hidepid`, proc(5)), there is none to be seen.
pub fn current() -> Option<Progress> {
    find(Path::new("/proc"), sys::time_since_boot().ok()?)
}

fn find(proc: &Path, now: Duration) -> Option<Progress> {
    let started = Instant::now();
    let own_name = stat(proc, "self")?.name;
    let own = Container::own(proc);
    let is_portero = |name: &str| name == "portero" || name == own_name;
    for entry in fs::read_dir(proc).ok()?.flatten() {
        if started.elapsed() > LIMIT {
            return None;
        }
        let pid = entry.file_name();
        let Some(pid) = pid.to_str().and_then(|pid| pid.parse().ok()) else {
            continue;
        };
        let Some(found) = stat(proc, pid) else {
            continue;
        };
        if found.name != BY_LINK && !is_portero(&found.name) {
            continue;
        }
        let Some(init) = stat(proc, found.parent) else {
            continue;
        };
        let is_marked = |stage: &Stage| stage.init_name().to_bytes() == init.name.as_bytes();
        let is_job = found.group == pid || found.group == init.group;
        let is_foreign = |first: Stat| first.name != own_name && !first.name.starts_with("portero");
        let is_inits = || {
            let below_another =
                || own.is_first(init.parent) && stat(proc, init.parent).is_none_or(is_foreign);
            let init = own.is_first(found.parent) || below_another();
            init && own.holds(pid) && own.holds(found.parent)
        };
        let is_stage = |stage: &Stage| is_marked(stage) && is_job && is_inits();
        if let Some(stage) = stage(proc, pid).filter(is_stage) {
            let age = now.saturating_sub(found.started);
            return Some(Progress { stage, age });
        }
    }
    None
}

/// The container that this check runs in: what tells its processes from others that can be seen.
struct Container<'a> {
    proc: &'a Path,
    mounts: Option<PathBuf>,
    groups: Option<Vec<u8>>,
}

impl<'a> Container<'a> {
    fn own(proc: &'a Path) -> Self {
        Self {
            proc,
            mounts: mounts(proc, "self"),
            groups: groups(proc, "self"),
        }
    }

    /// Whether a process is in it: by its mount namespace, or where another user's may not be looked at, by its control
    /// groups. A runtime gives each container both.
    fn holds(&self, pid: i32) -> bool {
        match mounts(self.proc, pid) {
            Some(mounts) => Some(mounts) == self.mounts,
            None => groups(self.proc, pid) == self.groups,
        }
    }

    /// Whether a process is its first one: PID 1, unless that is somebody else's.
    fn is_first(&self, pid: i32) -> bool {
        if self.holds(1) {
            return pid == 1;
        }
        // 0 is for a parent outside of the PID namespace.
        let parent = stat(self.proc, pid).map(|stat| stat.parent);
        self.holds(pid) && parent.is_some_and(|parent| parent == 0 || !self.holds(parent))
    }
}

fn mounts(proc: &Path, pid: impl fmt::Display) -> Option<PathBuf> {
    fs::read_link(proc.join(format!("{pid}/ns/mnt"))).ok()
}

fn groups(proc: &Path, pid: impl fmt::Display) -> Option<Vec<u8>> {
    fs::read(proc.join(format!("{pid}/cgroup"))).ok()
}

/// What of a process is needed here.
struct Stat {
    name: String,
    parent: i32,
    group: i32,
    /// Since boot.
    started: Duration,
}

fn stat(proc: &Path, pid: impl fmt::Display) -> Option<Stat> {
    let text = fs::read(proc.join(format!("{pid}/stat"))).ok()?;
    let found = procfs::Stat::parse(&text)?;
    Some(Stat {
        name: String::from_utf8_lossy(found.name).into_owned(),
        parent: found.parent,
        group: found.group,
        started: Duration::from_millis(found.started.saturating_mul(TICK)),
    })
}

/// The stage by its command line, which is these two words and nothing else.
fn stage(proc: &Path, pid: i32) -> Option<Stage> {
    let line = fs::read(proc.join(format!("{pid}/cmdline"))).ok()?;
    let mut words = line.split(|byte| *byte == 0);
    let (name, command) = (words.next()?, words.next()?);
    let alone = words.next() == Some(b"") && words.next().is_none();
    let stage = [Stage::Wait, Stage::Migrate]
        .into_iter()
        .find(|stage| stage.name().as_bytes() == command)?;
    (alone && name == b"portero").then_some(stage)
}

#[cfg(test)]
mod tests;
