//! portero beside the other inits that Debian has.

use std::fs;
use std::path::{Path, PathBuf};

use super::process::{children, field};
use super::{Process, Run, installed, tool};

/// An init, and the options that it is started with.
#[derive(Clone, Debug)]
pub struct Init {
    /// The name of its file.
    pub name: &'static str,
    /// Its file.
    pub program: PathBuf,
    /// Its options, the last of them before COMMAND.
    pub options: &'static [&'static str],
}

/// tini-static comes with tini.
const OTHERS: [(&str, &[&str]); 4] = [
    ("dumb-init", &["--"]),
    ("tini", &["-g", "--"]),
    ("tini-static", &["-g", "--"]),
    ("catatonit", &["-g", "--"]),
];

impl Init {
    /// portero, by its default: for COMMAND alone.
    pub fn portero() -> Self {
        Self::new("portero", super::portero(), &["--"])
    }

    /// The build without features, where there is one.
    pub fn portero_minimal_if_built() -> Option<Self> {
        let path = super::minimal_path();
        path.is_file()
            .then(|| Self::new("portero-minimal", path, &["--"]))
    }

    /// portero, for the process group.
    pub fn portero_group() -> Self {
        Self::new("portero", super::portero(), &["--signal-group", "--"])
    }

    /// All the others; one that is missing is a panic that says how to install it.
    pub fn others() -> Vec<Self> {
        OTHERS
            .iter()
            .map(|(name, options)| Self::new(name, tool(name), options))
            .collect()
    }

    /// Those of the others that are installed, and the names of those that are not.
    pub fn others_installed() -> (Vec<Self>, Vec<&'static str>) {
        let (there, missing): (Vec<_>, Vec<_>) = OTHERS
            .into_iter()
            .partition(|(name, _)| installed(name).is_some());
        let there = there
            .into_iter()
            .map(|(name, options)| Self::new(name, tool(name), options));
        let missing = missing.into_iter().map(|(name, _)| name);
        (there.collect(), missing.collect())
    }

    fn new(
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

/// Whether the init and its one child, which has to be `command`, sleep with nothing pending. The init is looked at
/// first: what it had to forward is forwarded when it sleeps.
pub fn is_at_rest(init: i32, command: &Path) -> bool {
    let is_command =
        |pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == command);
    sleeps(init) && matches!(children(init)[..], [child] if is_command(child) && sleeps(child))
}

/// Whether a process sleeps with nothing pending.
pub fn sleeps(pid: i32) -> bool {
    let empty =
        |set| status(pid, set).is_some_and(|digits| digits.bytes().all(|digit| digit == b'0'));
    status(pid, "State").is_some_and(|state| state.starts_with('S'))
        && empty("SigPnd")
        && empty("ShdPnd")
}

/// A field of /proc/PID/status.
pub fn status(pid: i32, name: &str) -> Option<String> {
    field(
        &fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
        name,
    )
}
