//! The database: what its URL means, how one connects to it, and the lock that migrations are run under.

mod client;
pub mod connect;
pub mod diagnosis;
pub mod endpoint;
mod fingerprint;
pub mod lock;
mod login;
pub mod once;
pub mod passfile;
mod scram;
mod secure;
pub mod url;
mod wire;
