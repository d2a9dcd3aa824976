//! The steps before COMMAND that run as children.

use std::ffi::CStr;

/// A step before COMMAND that runs as a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `portero wait`.
    Wait,
    /// `portero migrate`.
    Migrate,
    /// The same without the lock, for `--prepare`.
    Prepare,
}

impl Stage {
    /// The subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Migrate | Self::Prepare => "migrate",
        }
    }

    /// What the init is called (`PR_SET_NAME`) as long as it runs this stage, so that a health check can tell the stage
    /// from any other process that has its name. The kernel takes 15 bytes.
    pub fn init_name(self) -> &'static CStr {
        match self {
            Self::Wait => c"portero-wait",
            Self::Migrate | Self::Prepare => c"portero-migrate",
        }
    }
}
