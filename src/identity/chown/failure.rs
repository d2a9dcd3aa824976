//! Why a path can't be given.

use std::fmt::Display;
use std::io;

use nix::errno::Errno;

pub(super) fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// What the system said, and what helps.
pub(super) fn explained(path: impl Display, errno: Errno) -> String {
    let remedy = match errno {
        Errno::ENOENT | Errno::ENOTDIR => {
            return format!(
                "{path} does not exist: make it by --mkdir, in the Dockerfile (RUN mkdir -p {path}), or mount a volume there"
            );
        }
        Errno::EPERM => {
            ": the container lacks the capability CHOWN (--cap-add CHOWN), or the file is immutable or root-squashed"
        }
        Errno::EACCES => {
            ": the container lacks the capability DAC_READ_SEARCH (--cap-add DAC_READ_SEARCH)"
        }
        Errno::EROFS => ": mount it writable, or give it to the user where it is made",
        Errno::EINVAL => {
            ": this user namespace does not map that user (/proc/self/uid_map): give it a range of ids (/etc/subuid)"
        }
        _ => "",
    };
    format!("can't give {path}: {}{remedy}", errno.desc())
}
