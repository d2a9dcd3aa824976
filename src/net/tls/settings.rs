//! What a database's URL says of TLS.

use std::path::PathBuf;

use rustls::SupportedProtocolVersion;

/// libpq's `sslmode` (PostgreSQL manual, 34.19.3 "Protection Provided in Different Modes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only when the server refuses to go without.
    Allow,
    /// TLS when the server has it; libpq's default.
    Prefer,
    /// TLS; not verified, unless there is a file of roots.
    Require,
    /// TLS, never verified, whatever files there are (node-postgres' `no-verify`).
    RequireUnverified,
    /// TLS, and a certificate that a trusted root has signed, for whatever name.
    VerifyCa,
    /// The same, and for this very host.
    VerifyFull,
}

/// Whom to trust (`sslrootcert`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedRoots {
    /// What the image has as its roots.
    System,
    /// The certificates of a PEM file.
    File(PathBuf),
}

/// What a Postgres URL says about TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// `sslmode`.
    pub mode: SslMode,
    /// `sslrootcert`; None is `~/.postgresql/root.crt` where that exists.
    pub roots: Option<TrustedRoots>,
    /// `sslcert`; None is `~/.postgresql/postgresql.crt` where that exists.
    pub certificate: Option<PathBuf>,
    /// `sslkey`; None is `~/.postgresql/postgresql.key` where that exists.
    pub key: Option<PathBuf>,
    /// `ssl_min_protocol_version` to `ssl_max_protocol_version`, as far as rustls goes.
    pub versions: &'static [&'static SupportedProtocolVersion],
    /// Whether the host's name is sent (`sslsni`).
    pub sni: bool,
    /// Whether a certificate is sent when the server asks for one (`sslcertmode`).
    pub may_identify: bool,
    /// `sslnegotiation=direct`: the handshake comes first, with ALPN.
    pub direct: bool,
    /// What `~` is.
    pub home: Option<PathBuf>,
}

/// What is spoken by default: TLS 1.2 and 1.3.
pub const VERSIONS: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;

/// TLS 1.2 alone.
pub const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// TLS 1.3 alone.
pub const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
