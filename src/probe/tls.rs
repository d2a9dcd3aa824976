//! TLS as a client: libpq's `sslmode`s for Postgres, the system's roots or a file of them for `https` and `rediss`.
//!
//! rustls always gets its provider (ring) by hand; there is no process-wide default.

mod binding;
pub mod certificate;
mod identity;
mod refusals;
mod rsa;
#[cfg(test)]
mod tests;
mod trust;

use std::path::PathBuf;
use std::sync::{Arc, Once};

use rustls::client::ResolvesClientCert;
use rustls::{ClientConfig, SupportedProtocolVersion};

use super::Verification;
use trust::{Names, Trust};

pub use binding::end_point;
pub use refusals::explain;

/// A wait tries many times and says it once.
static PASSED_OVER: Once = Once::new();

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

impl TlsSettings {
    /// The rustls configuration that does what libpq does for these settings.
    ///
    /// # Errors
    /// A file that can't be read or has nothing of use in it, by name and errno.
    pub fn client_config(&self) -> Result<ClientConfig, String> {
        let roots = self
            .roots
            .clone()
            .or_else(|| self.home_file("root.crt").map(TrustedRoots::File));
        let trust = match (self.mode, roots) {
            // libpq: with a file of roots the chain is verified in every mode; `prefer` then goes without TLS.
            (
                SslMode::Allow | SslMode::Prefer | SslMode::Require | SslMode::VerifyCa,
                Some(roots),
            ) => Trust::load(Some(&roots), Names::Any)?,
            (SslMode::VerifyFull, Some(roots)) => {
                Trust::load(Some(&roots), Names::HostOrCommonName)?
            }
            // libpq would fail here for want of root.crt; containers have their roots in the system's place.
            (SslMode::VerifyCa, None) => Trust::load(Some(&TrustedRoots::System), Names::Any)?,
            (SslMode::VerifyFull, None) => {
                Trust::load(Some(&TrustedRoots::System), Names::HostOrCommonName)?
            }
            _ => Trust::load(None, Names::Any)?,
        };
        if trust.verifies() && self.home_file("root.crl").is_some() {
            return Err(
                "portero reads no revocation lists, and there is a ~/.postgresql/root.crl".into(),
            );
        }
        let mut config = build(trust, self.identity()?, self.versions)?;
        config.enable_sni = self.sni;
        if self.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(config)
    }

    /// The client's own certificate and key, when there are any.
    fn identity(&self) -> Result<Option<Arc<dyn ResolvesClientCert>>, String> {
        if !self.may_identify {
            return Ok(None);
        }
        let Some(certificate) = self
            .certificate
            .clone()
            .or_else(|| self.home_file("postgresql.crt"))
        else {
            return Ok(None);
        };
        let Some(key) = self
            .key
            .clone()
            .or_else(|| self.home_file("postgresql.key"))
        else {
            identity::certificates(&certificate)?;
            // Prisma's `sslcert` is a certificate to trust: there is no key to go with it.
            PASSED_OVER.call_once(|| {
                log::warn!(
                    "{} (sslcert) is passed over: there is no sslkey",
                    certificate.display()
                );
            });
            return Ok(None);
        };
        identity::load(&certificate, &key, ["sslcert", "sslkey"]).map(Some)
    }

    fn home_file(&self, name: &str) -> Option<PathBuf> {
        let file = self.home.as_ref()?.join(".postgresql").join(name);
        file.is_file().then_some(file)
    }
}

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

/// The rustls configuration for `https` and `rediss`; with `verify` false, or `--insecure`, any certificate will do
/// whose key the server has. `--ca-cert` goes before the URL's own file of roots.
///
/// # Errors
/// A file that can't be read or has no certificate in it, by name and errno; no roots at all in the image.
pub fn client_config(
    verification: &Verification,
    own: &OwnFiles,
    verify: bool,
) -> Result<ClientConfig, String> {
    let roots = verification.ca_cert.clone().or_else(|| own.roots.clone());
    let roots = roots.map_or(TrustedRoots::System, TrustedRoots::File);
    let roots = (verify && !verification.insecure).then_some(roots);
    let identity = match &own.certificate {
        Some(certificate) => {
            let key = own.key.as_ref().unwrap_or(certificate);
            Some(identity::load(
                certificate,
                key,
                ["ssl_certfile", "ssl_keyfile"],
            )?)
        }
        None => None,
    };
    build(
        Trust::load(roots.as_ref(), Names::Host)?,
        identity,
        VERSIONS,
    )
}

/// What is spoken by default: TLS 1.2 and 1.3.
pub const VERSIONS: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;
/// TLS 1.2 alone.
pub const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
/// TLS 1.3 alone.
pub const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn build(
    trust: Trust,
    identity: Option<Arc<dyn ResolvesClientCert>>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(&trust.provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("TLS can't be set up: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    Ok(match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    })
}
