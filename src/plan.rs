//! What is meant: the typed plans that the command line and the environment come to.

use std::time::Duration;

use crate::probe::{Verification, http::Expectation, target::Target};

/// What `portero wait` does.
#[derive(Clone, Debug)]
pub struct WaitPlan {
    /// All of them must be ready.
    pub targets: Vec<Target>,
    /// For all of them together; `None` is no limit.
    pub timeout: Option<Duration>,
    /// The longest pause between two tries of one target.
    pub max_interval: Duration,
    /// For `https` and `rediss` targets.
    pub verification: Verification,
}

/// What `portero healthcheck` does.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// Probed side by side; all must pass.
    pub targets: Vec<Target>,
    /// One deadline over everything; `None` is no limit.
    pub timeout: Option<Duration>,
    /// What is asked of an HTTP target, and which answer is healthy.
    pub expectation: Expectation,
    /// For `https` and `rediss` targets.
    pub verification: Verification,
    /// Also healthy while portero itself is still waiting or migrating.
    pub live: bool,
}
