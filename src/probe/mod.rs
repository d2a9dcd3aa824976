//! A probe is one question to one target: are you ready? `healthcheck` asks once, `wait` asks until its limit.

pub mod target;

use std::path::PathBuf;

/// What a target answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is ready. What it said, in a few words (`200`, `SELECT 1`), or nothing.
    Ready(String),
    /// Not yet: refused, timed out, not found, starting up. Waiting helps.
    NotYet(String),
    /// It answers, and says no: a wrong password, no such database, a certificate refused. Waiting will hardly help.
    Refused(String),
}

/// How certificates of `https` and `rediss` targets are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// A file of PEM certificates to trust instead of the system's roots.
    pub ca_cert: Option<PathBuf>,
    /// Do not verify at all.
    pub insecure: bool,
}
