//! A migration that finds out whether another one is running, whatever has become of those that started it.

use std::fs;
use std::path::{Path, PathBuf};

use super::postgres::PASSWORD;
use super::process::{Finished, Process, Run, tree};
use super::{TempDir, poll_until};

/// `portero migrate` under the lock of this database.
pub fn migrate(url: &str) -> Run {
    Run::portero()
        .env("DATABASE_URL", url)
        .args(["migrate", "--database", "DATABASE_URL"])
}

/// A `migrate` that fails before its migration is started.
#[track_caller]
pub fn refused(migrate: Run) -> Finished {
    let finished = migrate.args(["--", "echo", "ran"]).finish();
    finished
        .assert_exit(125)
        .assert_stdout("")
        .assert_never_says(PASSWORD);
    finished
}

/// Every migration of the test, in a directory of its own with one log: each says `begin NAME`, `end NAME`, and `tick
/// NAME` while it runs. Who says anything after another began ran at the same time; who is stopped or dead says
/// nothing.
#[derive(Debug)]
pub struct Migrations {
    directory: TempDir,
}

/// Goes on until the file `go` is there.
pub const TICKING: &str = "until [ -e go ]; do echo \"tick $1\" >> log; sleep 0.02; done";

/// The same by two processes, one of them in a session of its own and deaf to SIGTERM.
pub fn family() -> String {
    format!(
        "setsid sh -c 'trap \"\" TERM; until [ -e go ]; do echo \"tick $0\" >> log; sleep 0.02; done' \"$1\" survivor &\n\
         {TICKING}; wait"
    )
}

impl Migrations {
    /// `body` runs in between; the script's argument is its `$1`.
    pub fn new(body: &str) -> Self {
        let directory = TempDir::writable_by_all();
        let path = directory.path().display();
        let script = format!(
            "#!/bin/sh\ncd {path}\necho \"begin $1\" >> log\n{body}\necho \"end $1\" >> log\n"
        );
        directory.script("migration", &script);
        directory.file("log", "");
        Self { directory }
    }

    pub fn script(&self) -> PathBuf {
        self.directory.join("migration")
    }

    /// A file that a body may wait for; it runs in the directory.
    pub fn touch(&self, name: &str) -> PathBuf {
        self.directory.file(name, "")
    }

    /// What a body has written to a file of its own, if anything.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    pub fn exists(&self, name: &str) -> bool {
        self.directory.join(name).exists()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    #[track_caller]
    pub fn until_log(&self, text: &str) {
        let found = poll_until(super::DEADLINE, || self.log().contains(text).then_some(()));
        assert!(found.is_some(), "never logged: {text:?}\n{}", self.log());
    }

    /// The line at which two were found to run at once.
    pub fn overlap(&self) -> Option<String> {
        let log = self.log();
        let mut current = "";
        for (word, name) in log.lines().filter_map(|line| line.split_once(' ')) {
            match word {
                "begin" => current = name,
                "tick" | "end" if name != current => {
                    return Some(format!("{word} {name} after begin {current}"));
                }
                _ => {}
            }
        }
        None
    }

    /// No two have run at once.
    #[track_caller]
    pub fn assert_alone(&self) {
        assert_eq!(self.overlap(), None, "two at once:\n{}", self.log());
    }
}

/// Who of a test's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// portero as the init.
    Init,
    /// `portero migrate`, as a stage or by itself.
    Stage,
    /// The script.
    Leader,
    /// A process whose last argument is `survivor`.
    Survivor,
}

impl Role {
    fn is_of(self, arguments: &[String]) -> bool {
        let second = arguments.get(1).map_or("", String::as_str);
        let portero = arguments[0].ends_with("portero");
        match self {
            Self::Init => portero && second != "migrate",
            Self::Stage => portero && second == "migrate",
            Self::Leader => second.ends_with("/migration"),
            Self::Survivor => arguments.last().is_some_and(|last| last == "survivor"),
        }
    }
}

/// The host's pids of those below, and including, a process that have this role; parents come first.
pub fn pids_of(process: &Process, role: Role) -> Vec<i32> {
    let arguments = |pid: &i32| {
        let path = Path::new("/proc").join(pid.to_string()).join("cmdline");
        let bytes = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split('\0')
            .map(str::to_owned)
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
    };
    tree(process.pid_if_any())
        .into_iter()
        .filter(|pid| {
            let arguments = arguments(pid);
            !arguments.is_empty() && role.is_of(&arguments)
        })
        .collect()
}
