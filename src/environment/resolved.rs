//! What secrets and defaults make of the environment.

use std::ffi::OsString;

use crate::environment::Environment;

/// The environment after secrets and defaults, and how it came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The variables, portero's own still among them.
    pub environment: Environment,
    /// Values that must never be shown.
    pub secrets: Vec<OsString>,
    /// The variables that were set here.
    pub set: Vec<OsString>,
}
