//! A shell that is COMMAND and waits for its child takes a stop, but its trap runs only when the child has ended: with
//! signals to COMMAND alone the child is never told.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::supervise::processes;

/// How long after a stop a shell that still waits is worth a warning.
pub const PATIENCE: Duration = Duration::from_secs(5);

const SHELLS: [&[u8]; 9] = [
    b"sh", b"bash", b"dash", b"ash", b"zsh", b"ksh", b"ksh93", b"mksh", b"rbash",
];

/// Whether a process is a shell, by the program that it executes: a script's own name says nothing.
pub fn is_shell(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    let called = words.next().unwrap_or_default();
    let program = match fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(program) => program.as_os_str().as_bytes().to_vec(),
        // Somebody else's.
        Err(_) => called.to_vec(),
    };
    match file_name(&program) {
        // One program for all: what it is, it is called by.
        b"busybox" => match file_name(called) {
            b"busybox" => words.next().is_some_and(|applet| SHELLS.contains(&applet)),
            name => SHELLS.contains(&name),
        },
        name => SHELLS.contains(&name),
    }
}

/// The last part of a path, without the `-` of a login shell.
fn file_name(path: &[u8]) -> &[u8] {
    let name = Path::new(std::ffi::OsStr::from_bytes(path)).file_name();
    let name = name.map_or(path, OsStrExt::as_bytes);
    name.strip_prefix(b"-").unwrap_or(name)
}

/// Says that this child is a shell that waits, and what to do about it.
pub fn warn(pid: i32) {
    if let Some(child) = waits_for(pid) {
        log::warn!(
            pid;
            "{} (pid {pid}) is a shell that was told to stop {}s ago and still waits for {child}: a shell does not pass signals on. Start the program by 'exec' in the script, or set --signal-group",
            processes::name(pid),
            PATIENCE.as_secs()
        );
    }
}

/// Who a shell waits for: `sleep (pid 9)`. `None` when it has no child, has ended, or is no shell any more.
fn waits_for(pid: i32) -> Option<String> {
    if !is_shell(pid) || processes::look_at(pid)?.has_ended() {
        return None;
    }
    let children = processes::names(&processes::living_children(pid));
    Some(children).filter(|children| !children.is_empty())
}
