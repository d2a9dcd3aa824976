//! The network below probes and the database: time, names, connections, TLS.

pub mod address;
pub mod deadline;
pub mod link;
pub mod readiness;
pub mod resolver;
pub mod stream;
pub mod tls;
