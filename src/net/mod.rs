//! The network below probes and the database: time, names, connections, TLS.

pub mod address;
pub mod deadline;
pub mod link;
pub mod readiness;
pub mod resolver;
pub mod stream;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/absent.rs"]
pub mod tls;
pub mod verification;
pub mod wire;
