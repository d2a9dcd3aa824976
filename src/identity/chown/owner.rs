//! Whose something is to be.

use crate::sys::files::Status;

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

impl Owner {
    /// Whether it is its own already.
    pub(super) fn has(self, file: &Status) -> bool {
        file.uid == self.uid && file.gid == self.gid
    }
}
