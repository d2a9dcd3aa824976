//! Which servers are believed: that they hold their certificate's key always, the rest as far as it is asked for.

use std::sync::Arc;

use ring::digest;
use ring::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    UnparsedPublicKey,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, alg_id};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::net::tls::certificate::{Certificate, PublicKey};
use crate::net::tls::refusals::Refusal;
use crate::net::tls::rsa;
use crate::net::tls::settings::TrustedRoots;

/// RSA-PSS by a key that is for nothing else (RFC 8446, 4.2.3), by its hash; rustls has no names for these.
const OF_PSS_KEYS: [(SignatureScheme, SignatureScheme); 3] = [
    (
        SignatureScheme::Unknown(0x0809),
        SignatureScheme::RSA_PSS_SHA256,
    ),
    (
        SignatureScheme::Unknown(0x080a),
        SignatureScheme::RSA_PSS_SHA384,
    ),
    (
        SignatureScheme::Unknown(0x080b),
        SignatureScheme::RSA_PSS_SHA512,
    ),
];

/// `id-RSASSA-PSS`, as an `AlgorithmIdentifier` of whatever parameters begins.
const PSS_KEY: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

/// The shortest RSA key that is believed where a chain is verified: what OpenSSL's second security level asks for.
const SHORTEST: usize = 2048;

/// Whose names a certificate must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Any will do.
    Any,
    /// The host's, in its `subjectAltName`.
    Host,
    /// The same, or as its common name where it has no `subjectAltName` at all: libpq's rule.
    HostOrCommonName,
}

/// Which servers are believed.
#[derive(Debug)]
pub(super) struct Trust {
    pub provider: Arc<CryptoProvider>,
    /// None believes every certificate, if its key is the server's.
    roots: Option<Roots>,
}

#[derive(Debug)]
struct Roots {
    /// None when no certificate among the trusted ones is an authority's.
    chains: Option<Arc<WebPkiServerVerifier>>,
    /// Authorities that another one has signed, which end no chain: with what a server sends they may lead to a root.
    middles: Vec<CertificateDer<'static>>,
    /// The trusted certificates themselves. A server may have one of them as its own: `openssl req -x509` makes such
    /// certificates, OpenSSL takes them, and webpki alone would refuse them for being an authority's.
    certificates: Vec<CertificateDer<'static>>,
    names: Names,
}

impl Trust {
    pub(super) fn load(roots: Option<&TrustedRoots>, names: Names) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificates = match roots {
            None => {
                return Ok(Self {
                    provider,
                    roots: None,
                });
            }
            Some(TrustedRoots::File(file)) => super::identity::certificates(file)?,
            Some(TrustedRoots::System) => rustls_native_certs::load_native_certs().certs,
        };
        let is_authority = |der: &&CertificateDer<'_>| {
            Certificate::parse(der).is_some_and(|certificate| certificate.is_authority())
        };
        let authorities = certificates.iter().filter(is_authority).cloned();
        let (roots, middles): (Vec<_>, Vec<_>) =
            authorities.partition(|der| ends_chain(der, names));
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots);
        if certificates.is_empty() {
            return Err(
                "the image has no root certificates to verify with: install ca-certificates, or name a file of them \
                 (sslrootcert in a Postgres URL, else --ca-cert)"
                    .into(),
            );
        }
        let chains = if store.is_empty() {
            None
        } else {
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider));
            let built = builder.build();
            Some(built.map_err(|error| format!("the root certificates can't be used: {error}"))?)
        };
        Ok(Self {
            provider,
            roots: Some(Roots {
                chains,
                middles,
                certificates,
                names,
            }),
        })
    }

    /// Whether certificates have to be anybody's.
    pub(super) fn verifies(&self) -> bool {
        self.roots.is_some()
    }

    /// Whether the server holds the key of the certificate that it shows: in every mode, or channel binding would bind
    /// to nothing. webpki's own check can't read certificates of version 1, and knows no keys below 2048 bits.
    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
        tls13: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = Certificate::parse(certificate).ok_or(CertificateError::BadEncoding)?;
        let key = &certificate.key;
        let bits =
            rsa::length(key.bits).filter(|_| key.algorithm == alg_id::RSA_ENCRYPTION.as_ref());
        let good = match bits {
            Some(bits) if bits < SHORTEST && self.roots.is_some() => {
                return Err(Refusal::ShortKey.into());
            }
            Some(bits) if bits < SHORTEST => by_short_key(key, message, signature, tls13),
            _ => self.is_signed(key, message, signature, tls13),
        };
        if good {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Refusal::NoProof.into())
        }
    }

    fn is_signed(
        &self,
        key: &PublicKey<'_>,
        message: &[u8],
        signature: &DigitallySignedStruct,
        tls13: bool,
    ) -> bool {
        let pss = OF_PSS_KEYS
            .iter()
            .find(|(scheme, _)| *scheme == signature.scheme)
            .map(|(_, scheme)| *scheme);
        let scheme = pss.unwrap_or(signature.scheme);
        if tls13 && is_old(scheme) {
            return false;
        }
        let mapping = self.provider.signature_verification_algorithms.mapping;
        let found = mapping.iter().find(|(known, _)| *known == scheme);
        let algorithms = found.map_or(&[][..], |(_, algorithms)| algorithms);
        // In TLS 1.3 a scheme says the curve, too, and the first is the one.
        let count = if tls13 { 1 } else { algorithms.len() };
        algorithms.iter().take(count).any(|algorithm| {
            let fits = match pss {
                Some(_) => key.algorithm.starts_with(PSS_KEY),
                None => key.algorithm == algorithm.public_key_alg_id().as_ref(),
            };
            fits && algorithm
                .verify_signature(key.bits, message, signature.signature())
                .is_ok()
        })
    }
}

/// TLS 1.3 knows PKCS #1 in certificates only (RFC 8446, 4.2.3).
fn is_old(scheme: SignatureScheme) -> bool {
    use SignatureScheme::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512};
    matches!(
        scheme,
        RSA_PKCS1_SHA256 | RSA_PKCS1_SHA384 | RSA_PKCS1_SHA512
    )
}

/// An RSA key of less than 2048 bits: not ring's, but for PKCS #1, and libpq's without a file of roots.
fn by_short_key(
    key: &PublicKey<'_>,
    message: &[u8],
    signature: &DigitallySignedStruct,
    tls13: bool,
) -> bool {
    let old = match signature.scheme {
        SignatureScheme::RSA_PSS_SHA256 => Err(&digest::SHA256),
        SignatureScheme::RSA_PSS_SHA384 => Err(&digest::SHA384),
        SignatureScheme::RSA_PSS_SHA512 => Err(&digest::SHA512),
        SignatureScheme::RSA_PKCS1_SHA256 => Ok(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        SignatureScheme::RSA_PKCS1_SHA512 => Ok(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
        _ => return false,
    };
    match old {
        Ok(algorithm) => {
            let key = UnparsedPublicKey::new(algorithm, key.bits);
            !tls13 && key.verify(message, signature.signature()).is_ok()
        }
        Err(hash) => rsa::is_signed(key.bits, hash, message, signature.signature()),
    }
}

impl Roots {
    /// The name of a certificate that is good otherwise.
    fn check_name(
        &self,
        der: &CertificateDer<'_>,
        certificate: &Certificate<'_>,
        name: &ServerName<'_>,
    ) -> Result<ServerCertVerified, Error> {
        match (self.names, certificate.common_name()) {
            (Names::Any, _) => {}
            (Names::HostOrCommonName, Some(common)) => {
                if !is_named(common, &name.to_str()) {
                    return Err(CertificateError::NotValidForName.into());
                }
            }
            _ if certificate.is_old => return Err(CertificateError::NotValidForName.into()),
            _ => verify_server_name(&ParsedCertificate::try_from(der)?, name)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    /// Whether one of the roots has signed it itself: there is no chain of certificates of version 1, which does not
    /// say who may sign.
    fn has_signed(&self, certificate: &Certificate<'_>, provider: &CryptoProvider) -> bool {
        let roots = self.certificates.iter();
        let mut roots = roots.filter_map(|der| Certificate::parse(der));
        roots.any(|root| {
            let algorithms = provider.signature_verification_algorithms.all;
            let signed = algorithms.iter().any(|algorithm| {
                algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm
                    && algorithm.public_key_alg_id().as_ref() == root.key.algorithm
                    && algorithm
                        .verify_signature(root.key.bits, certificate.signed, certificate.signature)
                        .is_ok()
            });
            root.subject == certificate.issuer && root.is_authority() && signed
        })
    }
}

/// Whether a common name is the host's, or a pattern for its first label (libpq's `wildcard_certificate_match`).
fn is_named(common: &str, host: &str) -> bool {
    let pattern = match common.strip_prefix('*') {
        Some(rest) if rest.starts_with('.') => host
            .split_once('.')
            .map(|(_, rest)| rest)
            .zip(rest.get(1..)),
        _ => Some((host, common)),
    };
    pattern.is_some_and(|(host, common)| host.eq_ignore_ascii_case(common))
}

/// Whether a trusted certificate may be where a chain ends. libpq takes OpenSSL's word that it must have signed itself;
/// curl, for https, takes any (`X509_V_FLAG_PARTIAL_CHAIN`).
fn ends_chain(der: &CertificateDer<'_>, names: Names) -> bool {
    names == Names::Host
        || Certificate::parse(der).is_some_and(|certificate| certificate.is_self_signed())
}

fn check_dates(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let [not_before, not_after] = certificate.validity;
    if now < not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before,
        }
        .into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after,
        }
        .into());
    }
    Ok(())
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = Certificate::parse(der).ok_or(CertificateError::BadEncoding)?;
        let is_root =
            roots.certificates.iter().any(|root| root == der) && ends_chain(der, roots.names);
        if is_root || certificate.is_old {
            if !is_root && !roots.has_signed(&certificate, &self.provider) {
                return Err(CertificateError::UnknownIssuer.into());
            }
            check_dates(&certificate, now)?;
            return roots.check_name(der, &certificate, name);
        }
        let Some(chains) = &roots.chains else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let intermediates = [intermediates, &roots.middles].concat();
        match chains.verify_server_cert(der, &intermediates, name, ocsp, now) {
            // webpki looks at the name last: the chain was found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => roots.check_name(der, &certificate, name),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let schemes = self.provider.signature_verification_algorithms;
        let mut schemes = schemes.supported_schemes();
        schemes.extend(OF_PSS_KEYS.map(|(scheme, _)| scheme));
        schemes
    }
}
