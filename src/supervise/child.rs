//! A child that was started: whom a signal to it reaches, and the terminal that it was given.

use nix::unistd::{Pid, getpgid, getpgrp};

use crate::supervise::processes;
use crate::supervise::processes::Process;
use crate::supervise::terminal::Terminal;
use crate::sys;

/// A child that was started.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// Its pid.
    pub pid: i32,
    /// Whether it leads a process group of its own, rather than being in portero's.
    pub leads_group: bool,
    /// The controlling terminal, when there is one.
    pub terminal: Option<Terminal>,
    /// Whether the child has been given the terminal's foreground. Only then is it portero's to take back: a portero
    /// in the background must not take it from somebody else.
    pub foreground: bool,
}

impl Child {
    /// Its process group, when that is not portero's.
    pub fn group(&self) -> Option<i32> {
        self.leads_group.then_some(self.pid)
    }

    /// The living descendants that are in its process group.
    pub fn members(&self) -> Vec<Process> {
        let group = self.group().unwrap_or_else(|| getpgrp().as_raw());
        let mut members = processes::descendants();
        members.retain(|process| process.group == group && !process.has_ended());
        members
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, number: i32) -> std::io::Result<()> {
        sys::kill(self.pid, number)
    }

    /// Sends a signal to its whole group. In portero's own group that is whoever is below portero.
    pub fn signal_group(&self, number: i32) -> std::io::Result<()> {
        if let Some(group) = self.group() {
            let sent = sys::kill(-group, number);
            // It may have gone to another group since.
            let has_left =
                getpgid(Some(Pid::from_raw(self.pid))).is_ok_and(|now| now.as_raw() != group);
            return if has_left { self.signal(number) } else { sent };
        }
        let mut members = self.members();
        members.retain(|process| process.pid != self.pid);
        processes::signal(&members, number);
        self.signal(number)
    }

    /// Continues it and its group, as far as they are stopped. `was_seen` counts where there is no /proc to ask.
    pub fn continue_stopped(&self, was_seen: bool) {
        match processes::look_at(self.pid) {
            Some(process) if process.is_stopped() => processes::continue_stopped(&self.members()),
            None if was_seen => {
                let _ = self.signal_group(libc::SIGCONT);
            }
            _ => {}
        }
    }

    /// Whether it is in the terminal's foreground, by itself or with portero.
    pub fn is_in_foreground(&self) -> bool {
        self.foreground || !self.leads_group && self.terminal.is_some_and(Terminal::is_ours)
    }

    /// Puts it in the foreground when portero is: at the start of a job, and when a shell continues it there. A child
    /// in portero's own group is there with portero.
    pub fn give_terminal(&mut self) {
        let terminal = self.terminal.filter(|_| self.leads_group);
        if let Some(terminal) = terminal.filter(|terminal| terminal.is_ours()) {
            terminal.give_to(self.pid);
            self.foreground = true;
        }
    }

    /// Takes the foreground back from it, if it was given it.
    pub fn take_terminal(&mut self) {
        if let Some(terminal) = self.terminal.filter(|_| self.foreground) {
            terminal.take_back();
            self.foreground = false;
        }
    }
}
