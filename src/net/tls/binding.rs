//! What a channel is bound by: the hash of the server's certificate (RFC 5929, section 4, `tls-server-end-point`).

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use sha2::{Digest, Sha224};

use crate::net::tls::certificate::{Certificate, expect};

const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const FIRST_PARAMETER: u8 = 0xa0;

/// `pkcs-1`, `ecdsa-with-SHA2` and the hashes of NIST, less the last number; and `ecdsa-with-SHA1`.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
const HASHES: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];

/// `RSASSA-PSS`, which names its hash among its parameters.
const PSS: u8 = 10;

/// The hash of a certificate by the algorithm that it was signed with; SHA-256 for MD5 and SHA-1. None where that
/// has none of its own (Ed25519).
pub fn end_point(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::parse(der)?;
    let mut algorithm = certificate.signature_algorithm;
    let name = expect(&mut algorithm, OBJECT_IDENTIFIER)?;
    if name == ECDSA_SHA1 {
        return Some(hash(der, &SHA256));
    }
    let (last, family) = name.split_last()?;
    let bits = match (family, *last) {
        (RSA, PSS) => return by_parameters(der, algorithm),
        (RSA, 4 | 5 | 11) | (ECDSA, 2) => 256,
        (RSA, 12) | (ECDSA, 3) => 384,
        (RSA, 13) | (ECDSA, 4) => 512,
        (RSA, 14) | (ECDSA, 1) => 224,
        _ => return None,
    };
    Some(by_length(der, bits))
}

/// `RSASSA-PSS-params`, of which nothing at all is SHA-1 (RFC 4055, section 3.1).
fn by_parameters(der: &[u8], mut parameters: &[u8]) -> Option<Vec<u8>> {
    let mut parameters = expect(&mut parameters, SEQUENCE)?;
    let Some(mut first) = expect(&mut parameters, FIRST_PARAMETER) else {
        return Some(hash(der, &SHA256));
    };
    let mut algorithm = expect(&mut first, SEQUENCE)?;
    let name = expect(&mut algorithm, OBJECT_IDENTIFIER)?;
    let last = name.strip_prefix(HASHES)?;
    let bits = match last {
        [1] => 256,
        [2] => 384,
        [3] => 512,
        [4] => 224,
        _ => return None,
    };
    Some(by_length(der, bits))
}

fn by_length(der: &[u8], bits: u16) -> Vec<u8> {
    match bits {
        224 => Sha224::digest(der).to_vec(),
        384 => hash(der, &SHA384),
        512 => hash(der, &SHA512),
        _ => hash(der, &SHA256),
    }
}

fn hash(der: &[u8], algorithm: &'static Algorithm) -> Vec<u8> {
    digest(algorithm, der).as_ref().to_vec()
}
