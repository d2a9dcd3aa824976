//! TLS as a client: libpq's `sslmode`s for Postgres, the system's roots or a file of them for `https` and `rediss`.
//!
//! rustls always gets its provider (ring) by hand; there is no process-wide default.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::Verification;

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
            ) => Trust::load(Some(&roots), false)?,
            (SslMode::VerifyFull, Some(roots)) => Trust::load(Some(&roots), true)?,
            // libpq would fail here for want of root.crt; containers have their roots in the system's place.
            (SslMode::VerifyCa, None) => Trust::load(Some(&TrustedRoots::System), false)?,
            (SslMode::VerifyFull, None) => Trust::load(Some(&TrustedRoots::System), true)?,
            _ => Trust::load(None, false)?,
        };
        let mut config = match self.identity()? {
            Some((chain, key)) => trust
                .into_builder()?
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("sslcert and sslkey do not go together: {error}"))?,
            None => trust.into_builder()?.with_no_client_auth(),
        };
        if self.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(config)
    }

    /// The client's own certificates and key, when there are any.
    fn identity(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
        let Some(certificate) = self
            .certificate
            .clone()
            .or_else(|| self.home_file("postgresql.crt"))
        else {
            return Ok(None);
        };
        let chain = certificates(&certificate)?;
        let Some(key) = self
            .key
            .clone()
            .or_else(|| self.home_file("postgresql.key"))
        else {
            // Prisma's `sslcert` is a certificate to trust: there is no key to go with it.
            PASSED_OVER.call_once(|| {
                log::warn!(
                    "{} (sslcert) is passed over: there is no sslkey",
                    certificate.display()
                );
            });
            return Ok(None);
        };
        match PrivateKeyDer::from_pem_slice(&read(&key)?) {
            Ok(parsed) => Ok(Some((chain, parsed))),
            Err(_) => Err(format!(
                "{} has no private key in PEM, or one that is encrypted",
                key.display()
            )),
        }
    }

    fn home_file(&self, name: &str) -> Option<PathBuf> {
        let file = self.home.as_ref()?.join(".postgresql").join(name);
        file.is_file().then_some(file)
    }
}

/// The rustls configuration for `https` and `rediss`; with `verify` false, or `--insecure`, any certificate will do.
///
/// # Errors
/// A file that can't be read or has no certificate in it, by name and errno; no roots at all in the image.
pub fn client_config(verification: &Verification, verify: bool) -> Result<ClientConfig, String> {
    let roots = verification
        .ca_cert
        .clone()
        .map_or(TrustedRoots::System, TrustedRoots::File);
    let roots = (verify && !verification.insecure).then_some(roots);
    Ok(Trust::load(roots.as_ref(), true)?
        .into_builder()?
        .with_no_client_auth())
}

/// What is wrong, in words that point to the cure. For verification failures only the certificate is to blame.
pub fn explain(error: &Error) -> String {
    let reason = match error {
        Error::InvalidCertificate(reason) => reason,
        Error::AlertReceived(alert) => {
            return format!("the server ended the TLS handshake ({alert:?})");
        }
        Error::InvalidMessage(_) => return "the server does not speak TLS here".into(),
        other => return format!("TLS failed: {other}"),
    };
    match reason {
        CertificateError::UnknownIssuer => {
            "certificate refused: no trusted root has signed it".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate refused: it is not for this host (its subjectAltName decides)".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate refused: it has expired".into()
        }
        // webpki's own words come wrapped as text.
        other => match other.to_string() {
            text if text.contains("CaUsedAsEndEntity") => {
                "certificate refused: it is self-signed, and not among the trusted roots".into()
            }
            text if text.contains("UnsupportedCertVersion") => {
                "certificate refused: it is of X.509 version 1, without a subjectAltName".into()
            }
            text => format!("certificate refused: {text}"),
        },
    }
}

/// Which servers are believed.
#[derive(Debug)]
struct Trust {
    provider: Arc<CryptoProvider>,
    /// None believes everyone.
    roots: Option<Roots>,
}

#[derive(Debug)]
struct Roots {
    chains: Arc<WebPkiServerVerifier>,
    /// The trusted certificates themselves. A server may have one of them as its own: `openssl req -x509` makes such
    /// certificates, OpenSSL takes them, and webpki alone would refuse them for being an authority's.
    certificates: Vec<CertificateDer<'static>>,
    check_name: bool,
}

impl Trust {
    fn load(roots: Option<&TrustedRoots>, check_name: bool) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let certificates = match roots {
            None => {
                return Ok(Self {
                    provider,
                    roots: None,
                });
            }
            Some(TrustedRoots::File(file)) => certificates(file)?,
            Some(TrustedRoots::System) => rustls_native_certs::load_native_certs().certs,
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        if store.is_empty() {
            return Err(match roots {
                Some(TrustedRoots::File(file)) => format!("{} has no certificate that can be read", file.display()),
                _ => "the image has no root certificates to verify with: install ca-certificates, or name a file of them \
                      (sslrootcert in a Postgres URL, else --ca-cert)"
                    .into(),
            });
        }
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
                .build()
                .map_err(|error| format!("the root certificates can't be used: {error}"))?;
        Ok(Self {
            provider,
            roots: Some(Roots {
                chains,
                certificates,
                check_name,
            }),
        })
    }

    fn into_builder(
        self,
    ) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, String> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS can't be set up: {error}"))?;
        Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self)))
    }
}

/// Whether a certificate is refused for its dates.
fn is_of_another_time(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        )
    )
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let verdict = roots
            .chains
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        // webpki takes no root for a server's own certificate; it looks at the dates before it says so.
        let is_root = roots.certificates.iter().any(|root| root == certificate);
        if is_root && !verdict.as_ref().is_err_and(is_of_another_time) {
            if roots.check_name {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match verdict {
            // webpki looks at the name last: the chain was found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !roots.check_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Unverified includes certificates that webpki can't read, such as those of X.509 version 1.
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Every certificate of a PEM file; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .filter_map(Result::ok)
        .collect();
    if certificates.is_empty() {
        return Err(format!("{} has no certificate in PEM", file.display()));
    }
    Ok(certificates)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| {
        format!(
            "can't read {}: {}",
            file.display(),
            super::words::error(&error)
        )
    })
}
