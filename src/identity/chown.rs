//! `--chown`: gives a tree to the user before the drop, and nothing that is not in the tree.
//!
//! Whoever can write to the tree, a replica that still runs or a program that was broken into before the restart, may
//! swap its entries while root walks it. So a directory is opened relative to its own directory's descriptor and never
//! through a symlink, and then looked at and given by that descriptor. A file is given by its name in an open
//! directory, never through a symlink, or, where a hard link to anything could be swapped in, by a descriptor, too.
//!
//! The walk is a loop. It holds three descriptors at any depth, keeps the names of the directories that are still to
//! be walked and nothing about files, and gives a directory after all that is in it.

use std::ffi::{CStr, CString, OsStr};
use std::fmt::{self, Display};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchownat};

use crate::identity::chown::failure::{errno, explained};
use crate::sys::files::{Status, file_time, next_names, status};
use crate::wording::named;

mod failure;
mod make;
mod owner;
mod path;

pub use crate::identity::chown::make::make;
pub use crate::identity::chown::owner::Owner;

/// Gives `path`, and all that is below it in the same mount, to `owner`.
///
/// # Errors
/// One line: what can't be given, why, and what helps.
pub fn change_owner(path: &Path, owner: Owner) -> Result<(), String> {
    let (top, found) = path::open(
        path,
        |_, _| Err(Errno::ENOENT),
        |path, errno| explained(path, errno),
    )?;
    let start = Instant::now();
    let mut walk = Walk {
        owner,
        mount: mount(&top, &found).map_err(|error| explained(named(path), errno(&error)))?,
        links_are_safe: links_are_safe(),
        started: file_time().map_err(|error| format!("can't tell the time: {error}"))?,
        names: Vec::with_capacity(BUFFER),
        parents: Vec::with_capacity(BUFFER / size_of::<Level>()),
        buffer: vec![0; BUFFER],
        seen: 0,
        given: 0,
        linked: 0,
    };
    if found.is_directory() {
        let top = readable(&top, c".").map_err(|errno| explained(named(path), errno))?;
        walk.tree(top)?;
    } else {
        walk.seen = 1;
        walk.change_one(&top, &found, named(path))?;
    }
    walk.report(path, start);
    Ok(())
}

/// Bytes for names.
const BUFFER: usize = 64 * 1024;

/// A directory on the way from PATH to where the walk is.
#[derive(Clone, Copy)]
struct Level {
    status: Status,
    /// Where the names of its own directories begin among all that are still to be walked.
    names: usize,
}

struct Walk {
    owner: Owner,
    /// That of PATH.
    mount: u64,
    links_are_safe: bool,
    /// By the clock of `Status::changed`.
    started: (i64, u32),
    /// The directories still to be walked, of every directory from PATH down: each name ends in NUL.
    names: Vec<u8>,
    parents: Vec<Level>,
    buffer: Vec<u8>,
    seen: u64,
    given: u64,
    linked: u64,
}

impl Walk {
    /// Walks the tree below `directory` and gives it at last.
    fn tree(&mut self, mut directory: OwnedFd) -> Result<(), String> {
        let fail = |directory: &OwnedFd, errno| explained(Where(directory, None), errno);
        let mut here = self.arrive(&directory)?;
        loop {
            if let Some(name) = self.next_name(here) {
                if let Some(child) = self.enter(&directory, &name)? {
                    directory = child;
                    self.parents.push(here);
                    here = self.arrive(&directory)?;
                }
                continue;
            }
            let Some(parent) = self.parents.pop() else {
                return self.change_one(&directory, &here.status, Where(&directory, None));
            };
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let up = openat(&directory, c"..", flags, Mode::empty())
                .map_err(|errno| fail(&directory, errno))?;
            let found = look(&up, c"").map_err(|errno| fail(&up, errno))?;
            if (found.device, found.inode) != (parent.status.device, parent.status.inode) {
                let moved = Where(&directory, None);
                return Err(format!(
                    "{moved} was moved away meanwhile: start again when nothing else works there"
                ));
            }
            self.change_one(&directory, &here.status, Where(&directory, None))?;
            (directory, here) = (up, parent);
        }
    }

    /// Gives what a directory holds, but for directories: those come afterwards, by name.
    fn arrive(&mut self, directory: &OwnedFd) -> Result<Level, String> {
        let fail = |errno| explained(Where(directory, None), errno);
        let level = Level {
            status: look(directory, c"").map_err(fail)?,
            names: self.names.len(),
        };
        self.seen += 1;
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(names) =
            next_names(directory, &mut buffer).map_err(|error| fail(errno(&error)))?
        {
            names
                .into_iter()
                .try_for_each(|name| self.entry(directory, name))?;
        }
        self.buffer = buffer;
        Ok(level)
    }

    /// Gives a file, or takes note of a directory. What has gone meanwhile needs no owner.
    fn entry(&mut self, directory: &OwnedFd, name: &CStr) -> Result<(), String> {
        let fail = |errno| explained(Where(directory, Some(name)), errno);
        let Some(found) = unless_gone(look(directory, name)).map_err(fail)? else {
            return Ok(());
        };
        if found.mount.is_some_and(|mount| mount != self.mount) {
            return Ok(());
        }
        if found.is_directory() {
            self.names.extend_from_slice(name.to_bytes_with_nul());
            return Ok(());
        }
        self.seen += 1;
        if self.owner.has(&found) {
            return Ok(());
        }
        if self.links_are_safe && found.mount.is_some() {
            // Whatever has this name by now is in the tree, and is itself, should it be a symlink.
            return self.change(directory, name, Where(directory, Some(name)));
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = openat(directory, name, flags, Mode::empty());
        let Some(file) = unless_gone(opened).map_err(fail)? else {
            return Ok(());
        };
        let found = look(&file, c"").map_err(fail)?;
        // Somebody may have put a directory there since: the next start gives it.
        if found.is_directory() || !self.is_here(&file, &found).map_err(fail)? {
            return Ok(());
        }
        self.change_one(&file, &found, Where(directory, Some(name)))
    }

    /// The next of a directory's own directories.
    fn next_name(&mut self, level: Level) -> Option<CString> {
        let own = self.names.get(level.names..)?.strip_suffix(&[0])?;
        let start = own
            .iter()
            .rposition(|byte| *byte == 0)
            .map_or(0, |nul| nul + 1);
        let name = CString::new(own.get(start..)?).ok();
        self.names.truncate(level.names + start);
        name
    }

    /// Opens a directory that was seen, when it is one still and no mount.
    fn enter(&self, directory: &OwnedFd, name: &CStr) -> Result<Option<OwnedFd>, String> {
        let fail = |errno| explained(Where(directory, Some(name)), errno);
        let Some(child) = unless_gone(readable(directory, name)).map_err(fail)? else {
            return Ok(None);
        };
        let found = look(&child, c"").map_err(fail)?;
        let is_here = self.is_here(&child, &found).map_err(fail)?;
        Ok(Some(child).filter(|_| is_here))
    }

    fn is_here(&self, file: &OwnedFd, found: &Status) -> Result<bool, Errno> {
        let mount = mount(file, found).map_err(|error| errno(&error))?;
        Ok(mount == self.mount)
    }

    /// Gives what is open when it is not the user's yet.
    fn change_one(
        &mut self,
        file: &OwnedFd,
        found: &Status,
        path: impl Display,
    ) -> Result<(), String> {
        if self.owner.has(found) {
            return Ok(());
        }
        // A second name that was taken away since this began leaves a trace: the time of the file's last change.
        let is_linked = found.links > 1 || found.changed >= self.started;
        if !found.is_directory() && is_linked && !self.links_are_safe {
            self.linked += 1;
            log::debug!("{path} has, or had just now, another name: it stays as it is");
            return Ok(());
        }
        self.change(file, c"", path)
    }

    /// Changes the owner of `name` in `directory`, or of the descriptor itself when `name` is empty. The kernel clears
    /// setuid, setgid and file capabilities with it (`chown(2)`).
    fn change(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        path: impl Display,
    ) -> Result<(), String> {
        let (uid, gid) = (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid));
        let flags = AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW;
        let changed = fchownat(directory, name, Some(uid), Some(gid), flags);
        if unless_gone(changed)
            .map_err(|errno| explained(path, errno))?
            .is_some()
        {
            self.given += 1;
        }
        Ok(())
    }

    fn report(&self, path: &Path, start: Instant) {
        let (path, took) = (named(path), start.elapsed().as_secs_f64());
        let Owner { uid, gid } = self.owner;
        let (given, seen, linked) = (self.given, self.seen, self.linked);
        let level = if given == 0 {
            log::Level::Debug
        } else {
            log::Level::Info
        };
        log::log!(
            level,
            "gave {given} of {seen} files in {path} to {uid}:{gid} in {took:.1}s"
        );
        if linked > 0 {
            log::warn!(
                "--chown: {linked} files in {path} that have several hard links, or were changed just now, stay as \
                 they are: another name of theirs may be outside of it (the sysctl fs.protected_hardlinks=1 would rule \
                 that out)"
            );
        }
    }
}

/// Whether a second name of a file can only have been made by who owned it or could write to it anyway
/// (`proc_sys_fs(5)`, `protected_hardlinks`): the rule of systemd-tmpfiles(8).
fn links_are_safe() -> bool {
    std::fs::read("/proc/sys/fs/protected_hardlinks").is_ok_and(|text| text.starts_with(b"1"))
}

/// The id of the mount through which a file was opened, by `statx(2)` or, before Linux 5.8, by `proc_pid_fdinfo(5)`.
fn mount(file: &OwnedFd, found: &Status) -> io::Result<u64> {
    found.mount.map_or_else(|| mount_by_proc(file), Ok)
}

fn mount_by_proc(file: &OwnedFd) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| Errno::ENOSYS.into())
}

/// A directory to be read: `name` in `directory`.
fn readable(directory: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

fn look(directory: impl AsFd, name: &CStr) -> Result<Status, Errno> {
    status(directory, name).map_err(|error| errno(&error))
}

/// `None` for what is gone, or is not any more what it was when it was looked at.
fn unless_gone<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        result => result.map(Some),
    }
}

/// Where an open directory is now, or a name in it: found out only when a message says it.
struct Where<'a>(&'a OwnedFd, Option<&'a CStr>);

impl Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::fs::read_link(format!("/proc/self/fd/{}", self.0.as_raw_fd())) {
            Ok(path) => f.write_str(&named(path))?,
            Err(_) => f.write_str("a directory in it")?,
        }
        match self.1 {
            Some(name) => write!(f, "/{}", OsStr::from_bytes(name.to_bytes()).display()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_tells_the_same_mount_as_statx() {
        for path in ["/", "/proc", "/dev", "/dev/null", "/tmp"] {
            let (flags, mode) = (OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
            let file = openat(nix::fcntl::AT_FDCWD, path, flags, mode).unwrap();
            let found = status(&file, c"").unwrap();
            assert_eq!(found.mount, mount_by_proc(&file).ok(), "{path}");
        }
    }

    #[test]
    fn a_directory_is_read_whole_by_a_small_buffer() {
        let directory = openat(
            nix::fcntl::AT_FDCWD,
            c"/proc/self",
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        let (directory, mut buffer, mut found) = (directory.unwrap(), [0; 300], Vec::new());
        while let Some(names) = next_names(&directory, &mut buffer).unwrap() {
            found.extend(names.map(CStr::to_owned));
        }
        let mut expected: Vec<CString> = std::fs::read_dir("/proc/self")
            .unwrap()
            .map(|entry| CString::new(entry.unwrap().file_name().as_bytes()).unwrap())
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}
