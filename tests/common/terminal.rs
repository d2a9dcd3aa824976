//! A pseudo-terminal with a process whose controlling terminal it is, as `docker run -it` makes one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use super::process::{Capture, Ended, Run, children, end_tree, tree};
use super::{DEADLINE, poll_until, tool};

/// The user's side of the terminal.
#[derive(Debug)]
pub struct Terminal {
    shown: String,
    pid1: bool,
    child: std::process::Child,
    /// The master; `None` after a hang-up.
    line: Option<File>,
    hung_up: Arc<AtomicBool>,
    screen: Capture,
    read: usize,
}

/// Both ends of a new pseudo-terminal, close-on-exec from the start: else what another test starts at this moment would
/// hold the line after a hang-up.
fn pair() -> (File, OwnedFd) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let master = posix_openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let other = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(ptsname_r(&master).unwrap())
        .unwrap();
    (File::from(OwnedFd::from(master)), other.into())
}

/// The master as a source of text, until it is hung up. It never blocks: a read that does could not be ended.
struct Screen {
    master: File,
    hung_up: Arc<AtomicBool>,
}

impl Read for Screen {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.hung_up.load(Ordering::SeqCst) {
            match self.master.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(2));
                }
                result => return result,
            }
        }
        Ok(0)
    }
}

impl Terminal {
    /// Starts `run` as leader of a session on a new terminal. Of a namespace it is the PID 1 that leads the session.
    pub fn start(run: Run) -> Self {
        Self::open(run.via_first([
            // A background job of a shell, as a test run may be one, has the keys' signals ignored.
            tool("env").to_str().unwrap(),
            "--default-signal",
            tool("setsid").to_str().unwrap(),
            "--ctty",
        ]))
    }

    /// The same, but the terminal is not the session's controlling terminal: there are no keys and no jobs.
    pub fn start_without_control(run: Run) -> Self {
        Self::open(run.via_first([tool("setsid").to_str().unwrap()]))
    }

    fn open(run: Run) -> Self {
        let (master, other) = pair();
        let other = || Stdio::from(other.try_clone().unwrap());
        let child = run
            .command()
            .stdin(other())
            .stdout(other())
            .stderr(other())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", run.shown()));
        let hung_up = Arc::new(AtomicBool::new(false));
        let screen = Capture::start(Screen {
            master: master.try_clone().unwrap(),
            hung_up: Arc::clone(&hung_up),
        });
        Self {
            shown: run.shown(),
            pid1: run.is_pid1(),
            child,
            line: Some(master),
            hung_up,
            screen,
            read: 0,
        }
    }

    /// Types: `\n` is Enter, `\x03` is Ctrl-C, `\x1a` is Ctrl-Z.
    pub fn send(&mut self, keys: &str) {
        let keyboard = self.line.as_mut().expect("the line is hung up");
        keyboard
            .write_all(keys.as_bytes())
            .unwrap_or_else(|error| panic!("{error}{}", self.report()));
    }

    /// Changes the height of the window, once (stty(1) would set height and width one after the other).
    pub fn resize(&mut self, rows: u16) {
        let master = self.line.as_ref().expect("the line is hung up");
        // Master and terminal share one size.
        let status = std::process::Command::new(tool("stty"))
            .args(["rows", &rows.to_string()])
            .stdin(master.try_clone().unwrap())
            .status()
            .unwrap();
        assert!(status.success(), "stty rows {rows}{}", self.report());
    }

    /// The user goes away: the last descriptor of the terminal's user side is closed.
    pub fn hang_up(&mut self) {
        drop(self.line.take());
        self.hung_up.store(true, Ordering::SeqCst);
        // The reader has one of its own until it has seen that.
        let ended = poll_until(Duration::from_secs(5), || {
            self.screen.has_ended().then_some(())
        });
        assert!(ended.is_some(), "the screen is still read{}", self.report());
    }

    /// The process id, as the host sees it, of the command itself: of a namespace that is its PID 1.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let child = i32::try_from(self.child.id()).unwrap();
        if !self.pid1 {
            return child;
        }
        poll_until(Duration::from_secs(20), || children(child).first().copied())
            .unwrap_or_else(|| panic!("no namespace was made{}", self.report()))
    }

    /// Waits until the text shows up after what was expected before, and returns everything up to it.
    #[track_caller]
    pub fn expect(&mut self, text: &str, limit: Duration) -> String {
        let found = poll_until(limit, || {
            let screen = self.screen.text();
            let rest = screen.get(self.read..)?;
            rest.find(text).map(|at| {
                (
                    rest[..at + text.len()].to_owned(),
                    self.read + at + text.len(),
                )
            })
        });
        let (shown, read) = found.unwrap_or_else(|| panic!("{text:?} never came{}", self.report()));
        self.read = read;
        shown
    }

    /// Waits until a process of this name is in the terminal's foreground job (fields 5 and 8 of proc_pid_stat(5)).
    #[track_caller]
    pub fn until_foreground(&self, name: &str) {
        let in_foreground = |pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (head, tail) = stat.rsplit_once(')')?;
            let fields: Vec<&str> = tail.split_whitespace().collect();
            Some(head.ends_with(&format!("({name}")) && fields.get(2) == fields.get(5))
        };
        let found = poll_until(DEADLINE, || {
            let pids = tree(self.pid());
            pids.into_iter()
                .any(|pid| in_foreground(pid) == Some(true))
                .then_some(())
        });
        assert!(
            found.is_some(),
            "{name} never came to the foreground{}",
            self.report()
        );
    }

    /// Everything that was shown so far.
    pub fn screen(&self) -> String {
        self.screen.text()
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> Ended {
        let ended = poll_until(limit, || self.child.try_wait().unwrap());
        ended
            .unwrap_or_else(|| panic!("still runs after {limit:?}{}", self.report()))
            .into()
    }

    fn report(&self) -> String {
        format!(
            "\n  command: {}\n--- screen\n{}\n---",
            self.shown,
            self.screen.text().trim_end()
        )
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.hung_up.store(true, Ordering::SeqCst);
        if self.child.try_wait().unwrap().is_none() {
            end_tree(i32::try_from(self.child.id()).unwrap());
            let _ = self.child.wait();
        }
    }
}
