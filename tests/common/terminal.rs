//! A pseudo-terminal with a process whose controlling terminal it is, as `docker run -it` makes one.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use nix::pty::openpty;

use super::process::{Capture, Ended, Run, end_tree};
use super::{poll_until, tool};

/// The user's side of the terminal.
#[derive(Debug)]
pub struct Terminal {
    shown: String,
    child: std::process::Child,
    keyboard: File,
    screen: Capture,
    read: usize,
}

impl Terminal {
    /// Starts `run` as leader of a session on a new terminal. Of a namespace it is the PID 1 that leads the session.
    pub fn start(run: Run) -> Self {
        let run = run.via_first([tool("setsid").to_str().unwrap(), "--ctty"]);
        let pty = openpty(None, None).unwrap();
        let other = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = run
            .command()
            .stdin(other())
            .stdout(other())
            .stderr(other())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", run.shown()));
        let keyboard = File::from(pty.master);
        let screen = Capture::start(keyboard.try_clone().unwrap());
        Self {
            shown: run.shown(),
            child,
            keyboard,
            screen,
            read: 0,
        }
    }

    /// Types: `\n` is Enter, `\x03` is Ctrl-C, `\x1a` is Ctrl-Z.
    pub fn send(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .unwrap_or_else(|error| panic!("{error}{}", self.report()));
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
        if self.child.try_wait().unwrap().is_none() {
            end_tree(i32::try_from(self.child.id()).unwrap());
            let _ = self.child.wait();
        }
    }
}
