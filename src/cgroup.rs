//! What the kernel says of the control group that this process is in: `cgroups(7)`, and its administrator's guide,
//! cgroup-v2.rst and cgroup-v1/memory.rst. Nothing of it need be there, or readable.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd;

use crate::sys;

/// A group of version 2, or of one controller of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its own directory.
    directory: PathBuf,
    /// Where the hierarchy is mounted: nothing above it is visible.
    top: PathBuf,
    /// Whether it is of version 2.
    is_v2: bool,
}

impl Group {
    /// The one that decides about `controller`, which version 1 has in a hierarchy of its own: by /proc/self/cgroup
    /// (`cgroups(7)`), where the hierarchies mostly are, else by /proc/self/mountinfo (`proc_pid_mountinfo(5)`), which
    /// is long.
    pub fn of(controller: &str) -> Option<Self> {
        let groups = read(Path::new("/proc/self/cgroup"))?;
        let group = |line: &'_ str| -> Option<(bool, String)> {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let is_v2 = controllers.is_empty();
            let is_meant = is_v2 || controllers.split(',').any(|name| name == controller);
            is_meant.then(|| (is_v2, path.to_owned()))
        };
        let mut known: Vec<_> = groups.lines().filter_map(group).collect();
        // A controller that version 1 has is not version 2's, whose line is there all the same.
        known.sort();
        known.into_iter().find_map(|(is_v2, path)| {
            let mounts = || read(Path::new("/proc/self/mountinfo"));
            let usual = Self::usual(controller, is_v2, &path);
            usual.or_else(|| Self::mounted(controller, is_v2, &path, &mounts()?))
        })
    }

    fn usual(controller: &str, is_v2: bool, path: &str) -> Option<Self> {
        let top = Path::new("/sys/fs/cgroup").join(if is_v2 { "" } else { controller });
        let directory = top.join(path.trim_start_matches('/'));
        directory.join("cgroup.procs").exists().then_some(Self {
            directory,
            top,
            is_v2,
        })
    }

    fn mounted(controller: &str, is_v2: bool, path: &str, mounts: &str) -> Option<Self> {
        let mount = |line: &'_ str| -> Option<(PathBuf, PathBuf)> {
            let (mount, filesystem) = line.split_once(" - ")?;
            let mut filesystem = filesystem.split(' ');
            let kind = filesystem.next()?;
            let mut options = filesystem.next_back()?.split(',');
            let is_meant = if is_v2 {
                kind == "cgroup2"
            } else {
                kind == "cgroup" && options.any(|option| option == controller)
            };
            let mut fields = mount.split(' ').skip(3);
            let (root, top) = (plain(fields.next()?), plain(fields.next()?));
            is_meant.then_some((root, top))
        };
        // Several mounts may show different parts of one hierarchy.
        let is_own = |(root, _): &(PathBuf, PathBuf)| Path::new(path).starts_with(root);
        let mut mounts: Vec<_> = mounts.lines().filter_map(mount).collect();
        mounts.sort_by_key(|mount| !is_own(mount));
        let (root, top) = mounts.into_iter().next()?;
        // Without a cgroup namespace the path is the host's, of which the mount shows a part.
        let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
        Some(Self {
            directory: top.join(below),
            top,
            is_v2,
        })
    }

    /// A file of the group's own.
    fn read(&self, file: &str) -> Option<String> {
        read(&self.directory.join(file))
    }

    /// The same file of all levels that are visible, from its own up.
    fn read_all(&self, file: &'static str) -> impl Iterator<Item = String> {
        let levels = self.directory.ancestors();
        let levels = levels.take_while(|level| level.starts_with(&self.top));
        levels.filter_map(move |level| read(&level.join(file)))
    }
}

/// A path of `proc_pid_mountinfo(5)`, which writes a space as its number.
fn plain(field: &str) -> PathBuf {
    PathBuf::from(field.replace("\\040", " "))
}

/// A file that the kernel makes up. Every start comes here beside COMMAND's, and std would read in small pieces, twice
/// as many system calls.
fn read(path: &Path) -> Option<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let file = open(path, flags, Mode::empty()).ok()?;
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match unistd::read(&file, &mut buffer) {
            Ok(0) => return String::from_utf8(text).ok(),
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// How many processors this process may use: those of its affinity, or what the quotas leave of them; at least 1.
pub fn processors() -> u64 {
    let affinity = sys::processors().unwrap_or(u64::MAX);
    affinity.min(quota().unwrap_or(u64::MAX)).clamp(1, 4096)
}

/// What the quotas of all visible levels leave, rounded up; `None` without a quota.
fn quota() -> Option<u64> {
    let group = Group::of("cpu")?;
    let shares: Vec<u64> = if group.is_v2 {
        let quotas = group.read_all("cpu.max");
        quotas
            .filter_map(|text| share(text.split_once(' ')?))
            .collect()
    } else {
        let quotas = group.read_all("cpu.cfs_quota_us");
        let both = quotas.zip(group.read_all("cpu.cfs_period_us"));
        both.filter_map(|(quota, period)| share((&quota, &period)))
            .collect()
    };
    shares.into_iter().min()
}

/// Quota and period, in microseconds, as processors. `max` and -1 are no quota.
fn share((quota, period): (&str, &str)) -> Option<u64> {
    let (quota, period): (u64, u64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    (period > 0).then(|| quota.div_ceil(period))
}

/// How often the kernel has killed for memory in this group so far.
#[derive(Debug)]
pub struct MemoryKills {
    group: Group,
    before: Counts,
}

/// Out of `memory.events`, or of `memory.oom_control`, which has the second alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// How often the group's own limit was met.
    limit: u64,
    kills: u64,
}

impl MemoryKills {
    /// Up to now.
    pub fn until_now() -> Option<Self> {
        let group = Group::of("memory")?;
        let before = counts(&group)?;
        Some(Self { group, before })
    }

    /// Why the kernel killed a process of the group since then, if it did.
    pub fn since(&self) -> Option<String> {
        let (before, now) = (self.before, counts(&self.group)?);
        if now.kills <= before.kills {
            return None;
        }
        let limit = |file: &str| self.group.read(file)?.trim().parse().ok();
        // Version 1 counts how often a limit was met, killed or not.
        let failed = || self.group.read("memory.failcnt")?.trim().parse().ok();
        let by_own = if self.group.is_v2 {
            now.limit > before.limit
        } else {
            failed().is_none_or(|count: u64| count > 0)
        };
        let limit = match (by_own, self.group.is_v2) {
            (false, _) => None,
            (true, true) => limit("memory.max").map(|limit| (limit, "memory.max")),
            (true, false) => {
                let limited = limit("memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT);
                limited.map(|limit| (limit, "memory.limit_in_bytes"))
            }
        };
        Some(match limit {
            Some((limit, file)) => format!(
                "killed for memory: the container's limit is {} ({file})",
                size(limit)
            ),
            None if self.group.is_v2 => {
                "killed for memory: by a limit above the container, or the node's".into()
            }
            None => "killed for memory".into(),
        })
    }
}

/// Version 1 shows the largest number of pages for none.
const NO_LIMIT: u64 = 1 << 60;

fn counts(group: &Group) -> Option<Counts> {
    let file = if group.is_v2 {
        "memory.events"
    } else {
        "memory.oom_control"
    };
    let text = group.read(file)?;
    let count = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find_map(|(known, count)| (known == name).then(|| count.trim().parse().ok())?)
    };
    Some(Counts {
        limit: count("oom").unwrap_or(0),
        kills: count("oom_kill")?,
    })
}

/// A number of bytes in the largest unit that it is a whole number of.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units
        .iter()
        .find(|(bits, _)| bytes > 0 && bytes.is_multiple_of(1 << bits));
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(bits, name)| format!("{} {name}", bytes >> bits),
    )
}
