//! The client's own certificate and key, and certificates out of files.

use std::path::Path;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};

use crate::net::tls::certificate::Certificate;
use crate::{files, wording};

/// What is sent to a server that asks for a certificate.
///
/// # Errors
/// A file that can't be read, a key that can't be used, two that do not go together; `names` are the parameters'.
pub(super) fn load(
    certificate: &Path,
    key: &Path,
    names: [&str; 2],
) -> Result<Arc<dyn ResolvesClientCert>, String> {
    let chain = certificates(certificate)?;
    let key = signing_key(key)?;
    // By the key itself, whatever version the certificate is of.
    let own = chain.first().and_then(|der| Certificate::parse(der));
    let other = match (&own, key.public_key()) {
        (Some(own), Some(public)) => own.key_info != public.as_ref(),
        _ => false,
    };
    if other {
        let [certificate, key] = names;
        return Err(format!(
            "{certificate} and {key} do not go together: the first certificate is for another key"
        ));
    }
    Ok(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
        chain, key,
    ))))
}

/// Every certificate of a PEM file; at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = files::content(file)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .filter_map(Result::ok)
        .filter(|der| Certificate::parse(der).is_some())
        .collect();
    if certificates.is_empty() {
        return Err(format!(
            "{} has no certificate in PEM",
            wording::named(file)
        ));
    }
    Ok(certificates)
}

fn signing_key(file: &Path) -> Result<Arc<dyn SigningKey>, String> {
    let bytes = files::content(file)?;
    let file = wording::named(file);
    let Ok(key) = PrivateKeyDer::from_pem_slice(&bytes) else {
        let encrypted = bytes.windows(9).any(|word| word == b"ENCRYPTED");
        return Err(if encrypted {
            format!(
                "{file} is encrypted, and portero reads no such key (sslpassword): give it without a passphrase"
            )
        } else {
            format!("{file} has no private key in PEM")
        });
    };
    any_supported_type(&key).map_err(|_| {
        format!("{file} has a key that portero can't sign with: it knows RSA from 2048 bits on, P-256, P-384 and Ed25519")
    })
}
