//! The database: what its URL means, how one connects to it, and the lock that migrations are run under.

pub mod connect;
pub mod diagnosis;
mod endpoint;
pub mod lock;
pub mod once;
pub mod passfile;
mod stranger;
pub mod url;
