//! How a child is supervised.

use std::time::Duration;

use crate::supervise::signals::SignalMap;

/// How a child is supervised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supervision {
    /// Signals go to the child's whole process group, not to the child alone.
    pub group: bool,
    /// What is forwarded for what.
    pub map: SignalMap,
    /// How long a stop waits before it is forwarded.
    pub stop_delay: Option<Duration>,
    /// How long after a stop was forwarded everything is killed; `None` is never.
    pub stop_timeout: Option<Duration>,
    /// How long what the child left behind has to finish; `None` leaves it alone.
    pub orphan_grace: Option<Duration>,
    /// Say of each orphan that it was reaped.
    pub tells_reaped: bool,
}
