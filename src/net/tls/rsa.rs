//! RSA-PSS signatures (RFC 8017, section 8.1.2) of keys of 1024 to 2047 bits, which ring verifies with no padding that
//! TLS 1.3 allows. Such a key is weak; but without a file of roots libpq logs in over it, and a signature that is
//! verified is better than one that is not.

use ring::digest::{Algorithm, Context, digest};

use crate::net::tls::certificate::expect;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// A non-negative number, least significant limb first; all that are reckoned with have the modulus' length.
type Number = Vec<u32>;

/// The modulus of an `RSAPublicKey`, big-endian, without leading zeros; and its public exponent.
fn parts(mut key: &[u8]) -> Option<(&[u8], u32)> {
    let mut key = expect(&mut key, SEQUENCE)?;
    let modulus = expect(&mut key, INTEGER)?;
    let exponent = expect(&mut key, INTEGER)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let exponent = exponent.iter().try_fold(0u32, |number, &byte| {
        number.checked_mul(256)?.checked_add(byte.into())
    })?;
    (modulus.first()? & 0x80 != 0 && exponent > 2).then_some((modulus, exponent))
}

/// How long the modulus of an `RSAPublicKey` is, to whole bytes; None when it is no such key.
pub fn length(key: &[u8]) -> Option<usize> {
    parts(key).map(|(modulus, _)| modulus.len() * 8)
}

/// Whether `signature` is `key`'s over `message`, with a salt as long as the hash.
pub fn is_signed(key: &[u8], hash: &'static Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let Some((modulus, exponent)) = parts(key) else {
        return false;
    };
    if !(128..256).contains(&modulus.len()) || signature.len() != modulus.len() {
        return false;
    }
    let (n, s) = (number(modulus), number(signature));
    if !less(&s, &n) {
        return false;
    }
    let encoded = bytes(&power(&s, exponent, &n), modulus.len());
    is_encoded(&encoded, hash, message)
}

/// EMSA-PSS-VERIFY (RFC 8017, 9.1.2), for a modulus whose highest bit is set.
fn is_encoded(encoded: &[u8], hash: &'static Algorithm, message: &[u8]) -> bool {
    let size = hash.output_len();
    let Some((&0xbc, encoded)) = encoded.split_last() else {
        return false;
    };
    let Some(length) = encoded.len().checked_sub(size) else {
        return false;
    };
    let (masked, seal) = encoded.split_at(length);
    if length < size + 1 || masked[0] & 0x80 != 0 {
        return false;
    }
    // MGF1 (appendix B.2.1).
    let mut block = masked.to_vec();
    for (counter, part) in (0u32..).zip(block.chunks_mut(size)) {
        let mut context = Context::new(hash);
        context.update(seal);
        context.update(&counter.to_be_bytes());
        for (byte, mask) in part.iter_mut().zip(context.finish().as_ref()) {
            *byte ^= mask;
        }
    }
    block[0] &= 0x7f;
    let (padding, salt) = block.split_at(length - size);
    let Some((1, zeros)) = padding.split_last() else {
        return false;
    };
    let mut context = Context::new(hash);
    context.update(&[0; 8]);
    context.update(digest(hash, message).as_ref());
    context.update(salt);
    zeros.iter().all(|&byte| byte == 0) && context.finish().as_ref() == seal
}

/// `base` to the power of `exponent` modulo `n`, by squaring. Everything here is public: it need not take the same
/// time.
fn power(base: &Number, exponent: u32, n: &Number) -> Number {
    let mut result = base.clone();
    for bit in (0..exponent.ilog2()).rev() {
        result = product(&result, &result, n);
        if exponent >> bit & 1 == 1 {
            result = product(&result, base, n);
        }
    }
    result
}

/// By doubling and adding, bit after bit: some 17 products of 1024 bits are nothing.
fn product(a: &Number, b: &Number, n: &Number) -> Number {
    let mut sum = vec![0; n.len()];
    for limb in a.iter().rev() {
        for bit in (0..32).rev() {
            sum = added(&sum, &sum, n);
            if limb >> bit & 1 == 1 {
                sum = added(&sum, b, n);
            }
        }
    }
    sum
}

/// The sum modulo `n` of two numbers below it.
fn added(a: &Number, b: &Number, n: &Number) -> Number {
    let mut carry = 0;
    let mut sum: Number = Vec::with_capacity(n.len());
    for (a, b) in a.iter().zip(b) {
        let limb = u64::from(*a) + u64::from(*b) + carry;
        sum.push(low(limb));
        carry = limb >> 32;
    }
    if carry == 1 || !less(&sum, n) {
        let mut borrow = 0;
        for (limb, n) in sum.iter_mut().zip(n) {
            let difference = u64::from(*limb).wrapping_sub(u64::from(*n) + borrow);
            *limb = low(difference);
            borrow = difference >> 63;
        }
    }
    sum
}

fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}

fn less(a: &Number, b: &Number) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

fn number(bytes: &[u8]) -> Number {
    let limb = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |limb, &byte| limb << 8 | u32::from(byte))
    };
    bytes.rchunks(4).map(limb).collect()
}

/// Big-endian, `length` bytes.
fn bytes(number: &Number, length: usize) -> Vec<u8> {
    let all: Vec<u8> = number
        .iter()
        .rev()
        .flat_map(|limb| limb.to_be_bytes())
        .collect();
    all[all.len() - length..].to_vec()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ring::digest::{SHA256, SHA384};

    use super::*;

    /// Made by `openssl genrsa 1024` and `openssl dgst -sha256 -sigopt rsa_padding_mode:pss`, over `message`.
    const KEY: &str = "MIGJAoGBAKEL9KgRVCviUzDhKaEQn1P6k7qm6u6K13q0ssWsjGTIvjOV9Tc58pk2kB3sP8QwDlRvo6XviqhqvHPfWT9XgPtCLEKO\
                P4JiIDUgfu0m1jvBQVOQu8JAM8Zac2x4NxPAmiiRx5djuMKy2iTJfF3GXAgI0p6tDzCN10+YvOa6PF7VAgMBAAE=";
    const SIGNATURE: &str = "hrv9isItZ4Z1ofzId2sisR5dlJJ+nTtm3uVdTw640Zlfpk94nFrt7wGtv/CgxDPdjttGNwLbzLPLpd1bCZ3IybFiWYtt5rkV8DQI\
                djCQOwKDcGfnGk+1C9vPn8qOOc1cs2mr0xqMWqszXuJpKw3s5bcdkWOD+pGuPFdUIlCm96E=";

    #[test]
    fn a_signature_is_good_for_its_key_its_hash_and_its_message_alone() {
        let key = STANDARD.decode(KEY).unwrap();
        let signature = STANDARD.decode(SIGNATURE).unwrap();
        assert_eq!(length(&key), Some(1024));
        assert!(is_signed(&key, &SHA256, b"message", &signature));
        assert!(!is_signed(&key, &SHA256, b"another", &signature));
        assert!(!is_signed(&key, &SHA384, b"message", &signature));
        assert!(!is_signed(&key, &SHA256, b"message", &[0; 128]));
        assert!(!is_signed(&key, &SHA256, b"message", &[0xff; 128]));
        for i in 0..signature.len() {
            let mut changed = signature.clone();
            changed[i] ^= 1;
            assert!(!is_signed(&key, &SHA256, b"message", &changed));
            assert!(!is_signed(&key, &SHA256, b"message", &signature[..i]));
        }
        for i in 0..key.len() {
            let mut changed = key.clone();
            changed[i] ^= 1;
            assert!(!is_signed(&changed, &SHA256, b"message", &signature), "{i}");
        }
    }
}
