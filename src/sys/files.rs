//! What a file is, by descriptor or by name, and what a directory holds: `statx(2)`, which alone tells of the mount,
//! and `getdents64(2)` into a buffer of the caller's, as PID 1 has no memory to spare for a `DIR`.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// What `statx(2)` tells of a file. A symlink is itself, never what it points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Type and permissions (`inode(7)`).
    pub mode: u32,
    /// How many names it has.
    pub links: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The device of its file system: major and minor number.
    pub device: (u32, u32),
    /// Its number there.
    pub inode: u64,
    /// When it was last changed, its number of names included: seconds and nanoseconds (`inode(7)`, ctime).
    pub changed: (i64, u32),
    /// The mount through which it was reached; `None` before Linux 5.8.
    pub mount: Option<u64>,
}

impl Status {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }
}

/// The status of `name` in `directory`; of the descriptor itself when `name` is empty. Nothing is mounted by looking.
///
/// # Errors
/// As `statx(2)`; ENOSYS before Linux 4.11.
pub fn status(directory: impl AsFd, name: &CStr) -> io::Result<Status> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the name ends in NUL, the kernel writes at most a struct statx, and both outlive the call.
    let found = unsafe {
        let answer = libc::syscall(
            libc::SYS_statx,
            directory.as_fd().as_raw_fd(),
            name.as_ptr(),
            flags,
            libc::STATX_BASIC_STATS | libc::STATX_MNT_ID,
            found.as_mut_ptr(),
        );
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        // All zero before, which is a valid struct statx, and written by the kernel since.
        found.assume_init()
    };
    Ok(Status {
        mode: found.stx_mode.into(),
        links: found.stx_nlink,
        uid: found.stx_uid,
        gid: found.stx_gid,
        device: (found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        mount: (found.stx_mask & libc::STATX_MNT_ID != 0).then_some(found.stx_mnt_id),
    })
}

/// Now, by the clock from which files get their times: what is changed from now on has this time or a later one
/// (`clock_gettime(2)`, `CLOCK_REALTIME_COARSE`).
///
/// # Errors
/// As `clock_gettime(2)`, which takes a filter of system calls.
pub fn file_time() -> io::Result<(i64, u32)> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that outlives the call.
    if unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default()))
}

/// Reads the next entries of `directory` into `buffer` and returns their names, less `.` and `..`; `None` at the end.
///
/// # Errors
/// As `getdents64(2)`.
pub fn next_names(
    directory: impl AsFd,
    buffer: &mut [u8],
) -> io::Result<Option<impl Iterator<Item = &CStr>>> {
    let directory = directory.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `buffer.len()` bytes to the buffer, which outlives the call.
    let length = unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            directory,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    match usize::try_from(length) {
        Ok(0) => Ok(None),
        Ok(length) => Ok(Some(names(buffer.get(..length).unwrap_or_default()))),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// The names in an array of `struct linux_dirent64`: its length stands at byte 16, its name begins at byte 19.
fn names(mut entries: &[u8]) -> impl Iterator<Item = &CStr> {
    let next = move || {
        let length = entries.get(16..18)?.try_into().ok()?;
        let (entry, rest) = entries.split_at_checked(u16::from_ne_bytes(length).into())?;
        entries = rest;
        CStr::from_bytes_until_nul(entry.get(19..)?).ok()
    };
    std::iter::from_fn(next).filter(|name| !matches!(name.to_bytes(), b"." | b".."))
}
