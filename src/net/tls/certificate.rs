//! What a certificate says of itself, of any version: webpki reads version 3 alone, and tells less of it than OpenSSL
//! goes by (RFC 5280, section 4.1; X.690 for the encoding).

use rustls::pki_types::UnixTime;

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
/// `version [0]` and `extensions [3]` of a `TBSCertificate`.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `keyIdentifier [0]` and `authorityCertSerialNumber [2]` of an `AuthorityKeyIdentifier` (RFC 5280, 4.2.1.1).
const KEY_IDENTIFIER: u8 = 0x80;
const SERIAL_NUMBER: u8 = 0x82;

/// Object identifiers, as they are encoded (RFC 5280, 4.2.1 and appendix A.1).
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// A certificate, taken apart. Parts are the contents of their DER values unless they say otherwise.
pub struct Certificate<'a> {
    /// What is signed, whole.
    pub signed: &'a [u8],
    /// `AlgorithmIdentifier` of its signature.
    pub signature_algorithm: &'a [u8],
    pub signature: &'a [u8],
    serial: &'a [u8],
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    /// Its first and its last second.
    pub validity: [UnixTime; 2],
    /// `SubjectPublicKeyInfo`, whole.
    pub key_info: &'a [u8],
    pub key: PublicKey<'a>,
    /// Whether it is of version 1 or 2, which have no extensions.
    pub is_old: bool,
    extensions: Vec<(&'a [u8], &'a [u8])>,
}

/// A `SubjectPublicKeyInfo`.
pub struct PublicKey<'a> {
    /// Its `AlgorithmIdentifier`.
    pub algorithm: &'a [u8],
    pub bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Reads the content of a `SubjectPublicKeyInfo`.
    pub fn parse(mut content: &'a [u8]) -> Option<Self> {
        Some(Self {
            algorithm: expect(&mut content, SEQUENCE)?,
            bits: bits(&mut content)?,
        })
    }
}

impl<'a> Certificate<'a> {
    /// None when it is no certificate.
    pub fn parse(mut der: &'a [u8]) -> Option<Self> {
        let mut outer = expect(&mut der, SEQUENCE)?;
        let before = outer;
        let mut body = expect(&mut outer, SEQUENCE)?;
        let signed = &before[..before.len() - outer.len()];
        let signature_algorithm = expect(&mut outer, SEQUENCE)?;
        let signature = bits(&mut outer)?;

        let is_old = body.first() != Some(&VERSION) || {
            let mut version = expect(&mut body, VERSION)?;
            next(&mut version)?.1 != [2]
        };
        let (_, serial) = next(&mut body)?;
        let _algorithm = next(&mut body)?;
        let issuer = expect(&mut body, SEQUENCE)?;
        let mut validity = expect(&mut body, SEQUENCE)?;
        let validity = [time(next(&mut validity)?)?, time(next(&mut validity)?)?];
        let subject = expect(&mut body, SEQUENCE)?;
        let before = body;
        let key = PublicKey::parse(expect(&mut body, SEQUENCE)?)?;
        let key_info = &before[..before.len() - body.len()];
        let mut extensions = Vec::new();
        while let Some((tag, mut content)) = next(&mut body) {
            if tag == EXTENSIONS {
                let mut list = expect(&mut content, SEQUENCE)?;
                while !list.is_empty() {
                    let mut extension = expect(&mut list, SEQUENCE)?;
                    let name = expect(&mut extension, OBJECT_IDENTIFIER)?;
                    // Behind it `critical`, a boolean that may be left out; the value comes last.
                    let (_, first) = next(&mut extension)?;
                    let value = next(&mut extension).map_or(first, |(_, value)| value);
                    extensions.push((name, value));
                }
            }
        }
        Some(Self {
            signed,
            signature_algorithm,
            signature,
            serial,
            issuer,
            subject,
            validity,
            key_info,
            key,
            is_old,
            extensions,
        })
    }

    fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let found = self.extensions.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| *value)
    }

    /// Whether it may sign others, as OpenSSL has it (`X509_check_ca`): what is silent is none, but for old ones.
    pub fn is_authority(&self) -> bool {
        let usage = self.extension(KEY_USAGE);
        // keyCertSign is the sixth bit, behind the byte that says how many are unused.
        let may_sign = usage.map(|mut usage| {
            let bits = expect(&mut usage, BIT_STRING).and_then(|bits| bits.get(1));
            bits.is_some_and(|bits| bits & 0x04 != 0)
        });
        match self.extension(BASIC_CONSTRAINTS) {
            Some(mut constraints) => {
                let authority = expect(&mut constraints, SEQUENCE)
                    .is_some_and(|content| content.starts_with(&[1, 1, 0xff]));
                authority && may_sign != Some(false)
            }
            None => may_sign.unwrap_or(self.is_old && self.issuer == self.subject),
        }
    }

    /// Whether it has signed itself, as OpenSSL has it (`EXFLAG_SS`): it is its own issuer by name, and by what it says
    /// of its issuer's key and number. A key that replaced another one may have a certificate by that one, under one
    /// name.
    pub fn is_self_signed(&self) -> bool {
        let mut own = self.extension(SUBJECT_KEY_IDENTIFIER);
        let own = own.as_mut().and_then(|value| expect(value, OCTET_STRING));
        let mut issuer = self.extension(AUTHORITY_KEY_IDENTIFIER);
        let mut parts = issuer
            .as_mut()
            .and_then(|value| expect(value, SEQUENCE))
            .unwrap_or_default();
        let mut is_own = self.subject == self.issuer;
        while let Some((tag, content)) = next(&mut parts) {
            is_own &= match tag {
                KEY_IDENTIFIER => own.is_none_or(|own| own == content),
                SERIAL_NUMBER => content == self.serial,
                _ => true,
            };
        }
        is_own
    }

    /// The name by which it was meant before there was `subjectAltName`, when it has none of the latter.
    pub fn common_name(&self) -> Option<&'a str> {
        if self.extension(SUBJECT_ALT_NAME).is_some() {
            return None;
        }
        let mut subject = self.subject;
        let mut name = None;
        while let Some((_, mut set)) = next(&mut subject) {
            let mut attribute = expect(&mut set, SEQUENCE)?;
            if expect(&mut attribute, OBJECT_IDENTIFIER)? == COMMON_NAME {
                name = std::str::from_utf8(next(&mut attribute)?.1).ok();
            }
        }
        name
    }
}

/// The next value's tag and content. Lengths up to four bytes; none that is indefinite.
pub fn next<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |length, &byte| length << 8 | usize::from(byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((tag, content))
}

/// The content of the next value, which must have this tag.
pub fn expect<'a>(input: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    let (tag, content) = next(input)?;
    (tag == wanted).then_some(content)
}

/// A bit string of whole bytes.
fn bits<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    expect(input, BIT_STRING)?.strip_prefix(&[0])
}

/// `YYMMDDhhmmssZ` or, from 2050 on, `YYYYMMDDhhmmssZ` (RFC 5280, 4.1.2.5). What is before 1970 is 1970.
fn time((tag, text): (u8, &[u8])) -> Option<UnixTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = if tag == UTC_TIME {
        let (year, rest) = text.split_at_checked(2)?;
        let year: i64 = year.parse().ok()?;
        (if year < 50 { year + 2000 } else { year + 1900 }, rest)
    } else {
        let (year, rest) = text.split_at_checked(4)?;
        (year.parse().ok()?, rest)
    };
    let part = |i: usize| rest.get(2 * i..2 * i + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(1)?);
    // Days since 1970 of the proleptic Gregorian calendar, whose years begin in March here.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    let seconds = days * 86400 + part(2)? * 3600 + part(3)? * 60 + part(4)?;
    let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    Some(UnixTime::since_unix_epoch(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_days_are_written_alike() {
        let table = [
            (UTC_TIME, "700101000000Z", 0, "1970-01-01"),
            (UTC_TIME, "000229235959Z", 951_868_799, "2000-02-29"),
            (UTC_TIME, "491231235959Z", 2_524_607_999, "2049-12-31"),
            (0x18, "21000301000000Z", 4_107_542_400, "2100-03-01"),
            (0x18, "20241231120000Z", 1_735_646_400, "2024-12-31"),
        ];
        for (tag, text, seconds, iso) in table {
            let time = time((tag, text.as_bytes())).unwrap();
            assert_eq!(time.as_secs(), seconds, "{text}");
            assert_eq!(crate::wording::day(time.as_secs()), iso);
        }
        for text in ["", "Z", "7001010000Z", "700101000000", "70010100000äZ"] {
            assert!(time((UTC_TIME, text.as_bytes())).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_cut_short_or_changed_is_no_crash() {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["db".into()]).unwrap();
        let der = parameters.self_signed(&key).unwrap().der().to_vec();
        assert!(Certificate::parse(&der).is_some_and(|whole| !whole.is_old));
        for i in 0..der.len() {
            assert!(Certificate::parse(&der[..i]).is_none());
            let mut changed = der.clone();
            for byte in [0x00, 0x7f, 0x84, 0xff] {
                changed[i] = byte;
                if let Some(read) = Certificate::parse(&changed) {
                    let _ = (
                        read.is_authority(),
                        read.is_self_signed(),
                        read.common_name(),
                    );
                }
            }
        }
    }
}
