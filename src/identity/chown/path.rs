//! The way to PATH, opened component by component, so that no one who may write somewhere on it can lead it elsewhere.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use crate::identity::chown::failure::errno;
use crate::sys::files::{Status, status};
use crate::wording::named;

/// As many as the kernel follows (`path_resolution(7)`).
const MAX_SYMLINKS: u32 = 40;

/// A descriptor of PATH itself (`O_PATH`), and what it is. What is missing on the way `make` makes, or not.
///
/// A symlink at its end is refused. One on the way, as /var/run is, is followed where only root could have put it.
///
/// # Errors
/// One line: PATH does not exist, is a symlink or the root, or leads through a symlink of somebody else's.
pub fn open(
    path: &Path,
    make: impl Fn(&OwnedFd, &OsStr) -> Result<OwnedFd, Errno>,
    explained: fn(&dyn Display, Errno) -> String,
) -> Result<(OwnedFd, Status), String> {
    let shown = named(path);
    let fail = |errno: Errno| explained(&shown, errno);
    let root = start(true).map_err(fail)?;
    let mut at = start(path.is_absolute()).map_err(fail)?;
    let mut rest = components(path);
    let mut symlinks = 0;
    while let Some(name) = rest.pop() {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let next = match openat(&at, name.as_os_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => make(&at, &name),
            next => next,
        };
        let next = next.map_err(fail)?;
        if !look(&next).map_err(fail)?.is_symlink() {
            at = next;
            continue;
        }
        if rest.is_empty() {
            return Err(format!(
                "{shown} is a symlink, and none is followed: name what it points to"
            ));
        }
        let place = look(&at).map_err(fail)?;
        symlinks += 1;
        if place.uid != 0 || place.mode & 0o022 != 0 || symlinks > MAX_SYMLINKS {
            return Err(format!(
                "{shown} leads through the symlink '{}', which others than root could have put there: name the real path",
                named(&name)
            ));
        }
        let target = readlinkat(&next, c"").map_err(fail)?;
        if Path::new(&target).is_absolute() {
            at = start(true).map_err(fail)?;
        }
        rest.extend(components(Path::new(&target)));
    }
    let found = look(&at).map_err(fail)?;
    let root = look(&root).map_err(fail)?;
    if (found.device, found.inode) == (root.device, root.inode) {
        return Err(format!("{shown} is the whole root: name a directory in it"));
    }
    Ok((at, found))
}

/// `/`, or the current directory.
fn start(absolute: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(
        AT_FDCWD,
        if absolute { c"/" } else { c"." },
        flags,
        Mode::empty(),
    )
}

/// The names that a path goes through, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let names = path
        .components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(_) | Component::ParentDir => {
                Some(component.as_os_str().to_os_string())
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        });
    names.collect()
}

fn look(file: &OwnedFd) -> Result<Status, Errno> {
    status(file, c"").map_err(|error| errno(&error))
}
