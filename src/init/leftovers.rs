//! What a child leaves behind: descendants outside of its group, with sessions of their own, daemons. They get
//! SIGTERM, time to finish, and SIGKILL.

use std::fs;
use std::time::{Duration, Instant};

use super::ends_run;
use super::permit::Permit;
use super::signals::SignalMap;
use crate::sys::{self, Children};

/// How long SIGKILL may take: a process in an uninterruptible sleep must not hold up the end for ever.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// How often SIGKILL is repeated meanwhile, for what was forked between the look and the kill.
const KILL_INTERVAL: Duration = Duration::from_millis(10);

/// Ends what is left, within `grace`; `None` leaves it alone. Returns at once when there is nothing. The grace is over
/// when `permit` is withdrawn. Returns the first signal meanwhile that asked for the end of the run.
pub fn end_within(grace: Option<Duration>, map: &SignalMap, permit: &Permit) -> Option<i32> {
    let grace = grace?;
    if !any_left() {
        return None;
    }
    let mut stop = None;
    let mut take = |limit| {
        let number = sys::next_signal(Some(limit))?.number;
        if ends_run(number, map) {
            stop.get_or_insert(number);
        }
        Some(number)
    };
    log::debug!("processes are left: sending SIGTERM to them");
    let deadline = Instant::now() + grace;
    signal_all(libc::SIGTERM);
    // What is stopped could not act on it.
    signal_all(libc::SIGCONT);
    while let Some(limit) = remaining(deadline).filter(|_| !permit.is_withdrawn()) {
        match take(limit) {
            Some(libc::SIGCHLD) if !any_left() => return stop,
            Some(libc::SIGCHLD) | None => {}
            Some(number) => {
                if let Some(number) = map.apply(number) {
                    signal_all(number);
                }
            }
        }
    }
    if !permit.is_withdrawn() {
        log::warn!(
            "processes were left after the orphan grace of {}s: sending SIGKILL to them",
            grace.as_secs_f32()
        );
    }
    let deadline = Instant::now() + KILL_LIMIT;
    while any_left() && remaining(deadline).is_some() {
        signal_all(libc::SIGKILL);
        take(KILL_INTERVAL);
    }
    stop
}

fn remaining(deadline: Instant) -> Option<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|limit| !limit.is_zero())
}

/// Reaps what has ended and says whether any child is left: every leftover is a child of this process, or a
/// descendant of one, since it is the init or a child subreaper.
pub fn any_left() -> bool {
    loop {
        match sys::next_change() {
            Children::Changed(_) => {}
            Children::Unchanged => return true,
            Children::None => return false,
        }
    }
}

/// Sends a signal to every descendant.
pub fn signal_all(number: i32) {
    let pids = descendants();
    // /proc is not there. Everybody (`kill(2)`, −1) is the own namespace when this is its init, and all of it is below.
    if pids.is_empty() && std::process::id() == 1 {
        let _ = sys::kill(-1, number);
    }
    for pid in pids {
        let _ = sys::kill(pid, number);
    }
}

/// The pids of all descendants, by /proc (`proc_pid_stat(5)`).
fn descendants() -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parents: Vec<(i32, i32)> = pids
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect();
    let mut found = vec![own];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(pid, of)| *of == parent && *pid != own)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

/// The fourth field of /proc/PID/stat; the second, the name in brackets, may hold spaces and brackets itself.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    std::str::from_utf8(&stat[after_name..])
        .ok()?
        .split_ascii_whitespace()
        .nth(1)?
        .parse()
        .ok()
}
