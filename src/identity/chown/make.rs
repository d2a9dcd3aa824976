//! `--mkdir`: makes a directory and its missing parents, by the same way as `--chown` goes.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchownat, geteuid};

use crate::identity::chown::failure::errno;
use crate::identity::chown::owner::Owner;
use crate::identity::chown::path;
use crate::sys::files::{next_names, status};
use crate::wording::named;

/// Makes `path` and what is missing on the way to it, each new directory `owner`'s, as the umask says.
///
/// # Errors
/// One line: what can't be made, why, and what helps.
pub fn make(path: &Path, owner: Option<Owner>) -> Result<(), String> {
    let fail = |errno| explained(&named(path), errno);
    let new = RefCell::new(Vec::new());
    let make = |directory: &OwnedFd, name: &OsStr| make_one(directory, name, &mut new.borrow_mut());
    let opened = path::open(path, make, explained);
    // Only now: root without CAP_DAC_OVERRIDE could make nothing in what is the user's. After a failure too, as what is
    // there at the next start is left alone.
    if let Some(Owner { uid, gid }) = owner {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        for directory in new.take() {
            fchownat(&directory, c"", uid, gid, AtFlags::AT_EMPTY_PATH).map_err(fail)?;
        }
    }
    let (_, found) = opened?;
    if found.is_directory() {
        return Ok(());
    }
    Err(fail(Errno::ENOTDIR))
}

fn make_one(directory: &OwnedFd, name: &OsStr, made: &mut Vec<OwnedFd>) -> Result<OwnedFd, Errno> {
    let is_new = match mkdirat(directory, name, Mode::from_bits_truncate(0o777)) {
        // Another container that starts with the same volume was first.
        Err(Errno::EEXIST) => false,
        new => new.map(|()| true)?,
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = openat(directory, name, flags, Mode::empty())?;
    // Whose directory this is in may have put another one in its place: then an empty one is all that is given.
    let found = status(&opened, c"").map_err(|error| errno(&error))?;
    if is_new && found.uid == geteuid().as_raw() && is_empty(&opened)? {
        made.push(openat(&opened, c".", flags, Mode::empty())?);
    }
    Ok(opened)
}

fn is_empty(directory: &OwnedFd) -> Result<bool, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = openat(directory, c".", flags, Mode::empty())?;
    let mut buffer = [0; 1024];
    let mut empty = true;
    while let Some(mut names) =
        next_names(&directory, &mut buffer).map_err(|error| errno(&error))?
    {
        empty &= names.next().is_none();
    }
    Ok(empty)
}

/// What the system said, and what helps.
fn explained(path: &dyn Display, errno: Errno) -> String {
    let remedy = match errno {
        Errno::EACCES | Errno::EPERM => {
            ": make it in the Dockerfile, or start as root and add --user"
        }
        Errno::EROFS => ": mount a volume there, or make it in the Dockerfile",
        Errno::ENOTDIR => ": something else is there",
        _ => "",
    };
    format!("can't make {path}: {}{remedy}", errno.desc())
}
