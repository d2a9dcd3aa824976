//! The processes below this one, as /proc shows them (`proc_pid_stat(5)`).

use std::fmt::Write;
use std::fs;

use crate::procfs::Stat;
use crate::sys;

/// A descendant, at the moment in which it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// When it was started, in clock ticks since the boot: a pid comes again, and then this differs.
    pub started: u64,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    state: u8,
}

impl Process {
    /// Whether it is stopped, as by SIGSTOP. One that a debugger has stopped is not.
    pub fn is_stopped(&self) -> bool {
        self.state == b'T'
    }

    /// Whether it has ended, and only waits to be reaped.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// All that are below this process; none where /proc is not there, is hidden, or is that of another PID namespace.
pub fn descendants() -> Vec<Process> {
    let own = std::process::id().cast_signed();
    let mut all = snapshot(own);
    all.sort_unstable_by_key(|process| process.parent);
    let children = |parent: i32| {
        let first = all.partition_point(|process| process.parent < parent);
        all[first..]
            .iter()
            .take_while(move |process| process.parent == parent)
    };
    let mut found: Vec<Process> = children(own).copied().collect();
    let mut next = 0;
    // Each once, whatever a pid that was used again between two looks makes of the tree.
    while next < found.len() && found.len() < all.len() {
        found.extend(children(found[next].pid).copied());
        next += 1;
    }
    found
}

/// The children of `pid` that have not ended.
pub fn living_children(pid: i32) -> Vec<Process> {
    let mut children = snapshot(std::process::id().cast_signed());
    children.retain(|process| process.parent == pid && !process.has_ended());
    children
}

/// Every process but this one.
fn snapshot(own: i32) -> Vec<Process> {
    let is_ours =
        fs::read_link("/proc/self").is_ok_and(|name| name.as_os_str() == own.to_string().as_str());
    let entries = is_ours.then(|| fs::read_dir("/proc").ok()).flatten();
    let pids = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own).filter_map(look_at).collect()
}

/// One process; `None` when it is not there, or can't be seen.
pub fn look_at(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = Stat::parse(&stat)?;
    Some(Process {
        pid,
        state: stat.state,
        parent: stat.parent,
        group: stat.group,
        started: stat.started,
    })
}

/// What a process is called: never its arguments, which may hold a password.
pub fn name(pid: i32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    Some(name.trim_end())
        .filter(|name| !name.is_empty())
        .unwrap_or("?")
        .to_owned()
}

/// How many are named in a line.
const NAMED: usize = 5;

/// `python3 (pid 7), node (pid 9)`, of those that have not ended; empty when all have.
pub fn names(processes: &[Process]) -> String {
    let living: Vec<i32> = processes
        .iter()
        .filter(|process| !process.has_ended())
        .map(|process| process.pid)
        .collect();
    let mut text = String::new();
    for pid in living.iter().take(NAMED) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{} (pid {pid})", name(*pid));
    }
    if living.len() > NAMED {
        let _ = write!(text, " and {} more", living.len() - NAMED);
    }
    text
}

/// Sends a signal to each of these.
pub fn signal(processes: &[Process], number: i32) {
    for process in processes {
        let _ = sys::kill(process.pid, number);
    }
}

/// Continues those of them that are stopped: the others need no SIGCONT, and may have a handler for it.
pub fn continue_stopped(processes: &[Process]) {
    for process in processes.iter().filter(|process| process.is_stopped()) {
        let _ = sys::kill(process.pid, libc::SIGCONT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_and_named() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = child.id().cast_signed();
        let found: Vec<Process> = descendants()
            .into_iter()
            .filter(|process| process.pid == pid)
            .collect();
        assert_eq!(found.len(), 1);
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(names(&found), format!("? (pid {pid})"));
    }
}
