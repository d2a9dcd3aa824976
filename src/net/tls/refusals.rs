//! Why TLS did not come about, in words that point to the cure: one table for all who speak it.

use std::fmt;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error, OtherError};

use crate::wording::day;

/// What portero's own verification finds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    NoProof,
    ShortKey,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProof => {
                "the server does not prove that it has the key to it: somebody may sit between"
            }
            Self::ShortKey => "its key is too short (RSA takes 2048 bits)",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}

/// What TLS takes from portero.
const COMMON: &str =
    "TLS 1.2 with ECDHE, or 1.3; curves X25519, P-256, P-384; keys RSA, P-256, P-384, Ed25519";

/// What is wrong. `roots` is what names a file of roots, `identity` what names a client's certificate.
pub fn explain(error: &Error, roots: &str, identity: &str) -> String {
    match error {
        Error::InvalidCertificate(reason) => {
            format!("certificate refused: {}", of_certificate(reason, roots))
        }
        Error::AlertReceived(alert) => of_alert(*alert, identity),
        Error::InvalidMessage(_) => "the server does not speak TLS here".into(),
        Error::PeerIncompatible(_) => {
            format!("no TLS: it has nothing in common with portero ({COMMON})")
        }
        _ => "no TLS: the server breaks its rules".into(),
    }
}

fn of_certificate(reason: &CertificateError, roots: &str) -> String {
    use CertificateError as Bad;
    match reason {
        Bad::UnknownIssuer => format!("no trusted root has signed it; give its CA by {roots}"),
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            "it is not for this host (its subjectAltName decides)".into()
        }
        Bad::Expired => "it has expired".into(),
        Bad::ExpiredContext { not_after, .. } => {
            format!("it has expired, on {} (is the clock right?)", day(not_after.as_secs()))
        }
        Bad::NotValidYet => "it is not valid yet (is the clock right?)".into(),
        Bad::NotValidYetContext { not_before, .. } => {
            format!("it is not valid yet, but from {} on (is the clock right?)", day(not_before.as_secs()))
        }
        Bad::BadSignature => format!(
            "its signature is not that of the CA of that name, or by a key under 2048 bits; give its CA by {roots}"
        ),
        Bad::UnsupportedSignatureAlgorithmContext { .. }
        | Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed by an algorithm that portero does not take (SHA-1, SHA-224, ECDSA with SHA-512, P-521, Ed448, …)".into()
        }
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => {
            "it is not for servers (its extendedKeyUsage decides)".into()
        }
        Bad::UnhandledCriticalExtension => UNKNOWN_EXTENSION.into(),
        Bad::BadEncoding => "it can't be read".into(),
        Bad::Other(OtherError(reason)) => match reason.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.to_string(),
            None => of_webpki(&reason.to_string(), roots),
        },
        _ => BAD_CHAIN.into(),
    }
}

const UNKNOWN_EXTENSION: &str = "it has a critical extension that portero does not know";
const BAD_CHAIN: &str = "its chain to a trusted root is not good";

/// webpki's own errors come wrapped as text.
fn of_webpki(text: &str, roots: &str) -> String {
    match text {
        "CaUsedAsEndEntity" => {
            format!(
                "it is self-signed or a CA's, and not among the trusted ones; give it by {roots}"
            )
        }
        "EndEntityUsedAsCa" => "what has signed it is no CA's certificate".into(),
        "UnsupportedCriticalExtension" => UNKNOWN_EXTENSION.into(),
        "UnsupportedCertVersion" => "one in its chain is of X.509 version 1".into(),
        "NameConstraintViolation" => "its CA may not sign for this host (nameConstraints)".into(),
        _ => BAD_CHAIN.into(),
    }
}

/// RFC 8446, section 6.
fn of_alert(alert: AlertDescription, identity: &str) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            format!("no TLS: it has nothing in common with portero ({COMMON})")
        }
        Alert::ProtocolVersion => {
            "no TLS: it wants another version (portero has 1.2 and 1.3)".into()
        }
        Alert::CertificateRequired => {
            format!("the server wants a client certificate, and none is given ({identity})")
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::DecryptError
        | Alert::AccessDenied => {
            format!("the server refuses the client certificate, or misses it ({identity})")
        }
        Alert::UnrecognisedName => "no TLS: the server has no certificate for this name".into(),
        Alert::NoApplicationProtocol => "no TLS: the server knows no PostgreSQL by ALPN".into(),
        Alert::InternalError => "no TLS: the server says that it has failed itself".into(),
        other => format!(
            "no TLS: the server ended the handshake (alert {})",
            u8::from(other)
        ),
    }
}
