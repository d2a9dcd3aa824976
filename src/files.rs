//! Files that the configuration names: certificates, keys, password and service files, secrets, /etc/passwd. None of
//! them holds anybody up by what it is; what lies on a mount that is dead still does.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::wording;

/// The longest file that is read, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// Reads a regular file whole. A FIFO, at which open(2) would wait for a writer, and a device are refused.
///
/// # Errors
/// As `open(2)` and `read(2)`; what is no regular file, or longer than 1 MiB, in words.
pub fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::take(file, LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok((bytes, metadata))
}

/// The same, with an error that names the file.
///
/// # Errors
/// As [`read`], in one line.
pub fn content(path: &Path) -> Result<Vec<u8>, String> {
    match read(path) {
        Ok((bytes, _)) => Ok(bytes),
        Err(error) => Err(format!(
            "can't read {}: {}",
            wording::named(path),
            wording::error(&error)
        )),
    }
}
