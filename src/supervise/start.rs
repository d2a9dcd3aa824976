//! How a child is started: a stage, COMMAND, or a migration.

use std::os::fd::RawFd;

use nix::sys::prctl;

use crate::exit::Failure;
use crate::supervise::child::Child;
use crate::supervise::program;
use crate::supervise::signals::SignalMap;
use crate::supervise::stops::stop_requested;
use crate::supervise::terminal::Terminal;
use crate::sys::{self, Image, Job};

/// Makes sure that every orphan below becomes this process's child, and that it hears of each one's end.
///
/// # Errors
/// 125: it would not hear of them.
pub fn become_parent() -> Result<(), Failure> {
    claim_children()?;
    if std::process::id() != 1 {
        // Where a filter of system calls forbids it, orphans go to the init above.
        let _ = prctl::set_child_subreaper(true);
    }
    Ok(())
}

/// Makes sure that this process hears of its children's ends.
///
/// # Errors
/// 125.
pub fn claim_children() -> Result<(), Failure> {
    let failure = |error| Failure::failed(format!("can't take SIGCHLD, a child's end: {error}"));
    sys::claim_children().map_err(failure)
}

/// Where a child is put as a job (POSIX.1-2017, 11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessGroup {
    /// COMMAND: in a process group of its own, in the foreground when portero is.
    Own,
    /// A stage or a migration: likewise, but when portero is in the foreground it stays in portero's group. Then Ctrl-C
    /// reaches both, and portero knows that the run was to end, whatever the child makes of it.
    SharedInForeground,
}

/// Starts a stage, COMMAND, or a migration. A stop that arrived before ends the run instead; one that comes after this
/// look finds the child and is forwarded.
///
/// # Errors
/// 126, 127, or the signal that came before.
pub fn start(image: &Image, map: &SignalMap, group: ProcessGroup) -> Result<Child, Failure> {
    start_inheriting(image, map, group, None)
}

/// The same, for a child that inherits a descriptor, which is close-on-exec in portero.
///
/// # Errors
/// As `start`.
pub fn start_inheriting(
    image: &Image,
    map: &SignalMap,
    group: ProcessGroup,
    inherited: Option<RawFd>,
) -> Result<Child, Failure> {
    let terminal = Terminal::controlling();
    let foreground = terminal.is_some_and(Terminal::is_ours);
    let shared = foreground && group == ProcessGroup::SharedInForeground;
    let given = terminal.filter(|_| foreground && !shared);
    let job = (!shared).then_some(Job {
        terminal: given.map(Terminal::descriptor),
    });
    stop_requested(map)?;
    let pid = sys::spawn(image, job, inherited).map_err(|error| {
        // The child had it when it failed.
        given.into_iter().for_each(Terminal::take_back);
        program::failure(image, error)
    })?;
    Ok(Child {
        pid,
        leads_group: !shared,
        terminal,
        foreground: given.is_some(),
    })
}
