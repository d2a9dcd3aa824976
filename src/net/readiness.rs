//! What a server answers to whether it is ready.

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
