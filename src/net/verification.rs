//! Whose certificates are good to `https` and `rediss` targets: by redis-py's parameters, by portero's options.

use std::path::PathBuf;

/// The files that redis-py's parameters name (`ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnFiles {
    /// Whom to trust.
    pub roots: Option<PathBuf>,
    /// The client's certificates.
    pub certificate: Option<PathBuf>,
    /// Its key; None is in the same file.
    pub key: Option<PathBuf>,
}

/// How certificates of `https` and `rediss` targets are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// A file of PEM certificates to trust instead of the system's roots.
    pub ca_cert: Option<PathBuf>,
    /// Do not verify at all.
    pub insecure: bool,
}
