//! TLS as a client: libpq's `sslmode`s for Postgres, the system's roots or a file of them for `https` and `rediss`.
//!
//! rustls always gets its provider (ring) by hand; there is no process-wide default.

mod binding;
pub mod certificate;
mod identity;
mod refusals;
mod rsa;
mod session;
pub mod settings;
#[cfg(test)]
mod tests;
mod trust;

use std::path::PathBuf;
use std::sync::{Arc, Once};

use rustls::client::ResolvesClientCert;
use rustls::{ClientConfig, SupportedProtocolVersion};

pub use crate::net::tls::binding::end_point;
pub use crate::net::tls::refusals::explain;
pub use crate::net::tls::session::{Config, Session, refusal};
use crate::net::tls::settings::{SslMode, TlsSettings, TrustedRoots, VERSIONS};
use crate::net::tls::trust::{Names, Trust};
use crate::net::verification::{OwnFiles, Verification};
use crate::wording;

/// A wait tries many times and says it once.
static PASSED_OVER: Once = Once::new();

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
                    wording::named(certificate)
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

/// The rustls configuration for `https` and `rediss`; with `verify` false, or `--insecure`, any certificate will do
/// whose key the server has. `--ca-cert` goes before the URL's own file of roots.
///
/// # Errors
/// A file that can't be read or has no certificate in it, by name and errno; no roots at all in the image.
pub fn client_config(
    verification: &Verification,
    own: &OwnFiles,
    verify: bool,
) -> Result<Config, String> {
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
    .map(Arc::new)
}

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
