//! SCRAM-SHA-256 as a client, with any number of iterations (RFC 5802, RFC 7677; PostgreSQL manual, 55.3 "SASL
//! Authentication").
//!
//! postgres-protocol has it too, but refuses more than 100,000 iterations, a constant, and hashes without a pause. Here
//! the hash gives way every few milliseconds: the deadline, which lives in the same thread, ends it, and nothing is
//! left running as a thread would be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{self, HMAC_SHA256, Key};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, timeout_at};

use super::diagnosis::Trouble;

/// How many iterations are done in one go: about a millisecond.
const STRIDE: u32 = 2048;

/// A dialogue under way.
pub(super) struct Scram<'a> {
    password: &'a str,
    /// What is said of channel binding: the header, and behind it the data (RFC 5802, 7: `cbind-input`).
    binding: Vec<u8>,
    nonce: String,
}

/// What proves, at the end, that the server knows the password too.
pub(super) struct Expected(hmac::Tag);

impl<'a> Scram<'a> {
    /// Begins; `header` and `data` are those of channel binding.
    pub(super) fn new(password: &'a str, header: &str, data: &[u8]) -> Result<Self, &'static str> {
        let mut random = [0; 18];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| "there is no randomness")?;
        Ok(Self {
            password,
            binding: [header.as_bytes(), data].concat(),
            nonce: STANDARD.encode(random),
        })
    }

    /// The first message, behind the header. The user is the startup message's.
    pub(super) fn first(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// Answers the server's first message, by `end`.
    ///
    /// # Errors
    /// What is wrong with it, in libpq's words, or that there is too little time.
    pub(super) async fn answer(
        &self,
        message: &[u8],
        end: Instant,
    ) -> Result<(String, Expected), Trouble> {
        let message = std::str::from_utf8(message).map_err(|_| malformed("not UTF-8"))?;
        let mut parts = message.split(',');
        let mut part = |name| {
            let value = parts
                .next()
                .and_then(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.ok_or_else(|| malformed(&format!("attribute \"{name}\" expected")))
        };
        let (nonce, salt, count) = (part("r")?, part("s")?, part("i")?);
        if !nonce.starts_with(&self.nonce) {
            return Err(malformed("nonce mismatch"));
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| malformed("invalid salt"))?;
        let iterations = count.parse().ok().filter(|count| *count > 0);
        let iterations = iterations.ok_or_else(|| malformed("invalid iteration count"))?;
        if parts.next().is_some() {
            return Err(malformed("garbage at its end"));
        }
        let prepared = stringprep::saslprep(self.password);
        // As libpq: what can't be prepared is taken as it is.
        let password = prepared.as_deref().unwrap_or(self.password);
        let salted = timeout_at(end, salted(password, &salt, iterations)).await;
        let salted = salted.map_err(|_| {
            Trouble::NotYet(format!(
                "the password's {iterations} iterations of SCRAM take longer than there is time: more time, more CPU, \
                 or fewer of them"
            ))
        })?;
        let salted = Key::new(HMAC_SHA256, &salted);

        let bare = format!("c={},r={nonce}", STANDARD.encode(&self.binding));
        let all = format!("{},{message},{bare}", self.first());
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored = ring::digest::digest(&ring::digest::SHA256, client_key.as_ref());
        let signature = hmac::sign(&Key::new(HMAC_SHA256, stored.as_ref()), all.as_bytes());
        let pairs = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, sign)| key ^ sign).collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let expected = hmac::sign(&Key::new(HMAC_SHA256, server_key.as_ref()), all.as_bytes());
        Ok((
            format!("{bare},p={}", STANDARD.encode(proof)),
            Expected(expected),
        ))
    }
}

impl Expected {
    /// Whether the server's last message shows that it knows the password.
    pub(super) fn is(&self, message: &[u8]) -> bool {
        let signature = message
            .strip_prefix(b"v=")
            .and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| signature == self.0.as_ref())
    }
}

fn malformed(what: &str) -> Trouble {
    Trouble::Refused(format!("malformed SCRAM message from the server ({what})"))
}

/// `Hi()` of RFC 5802, 2.2, which is PBKDF2 of one block.
async fn salted(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let key = Key::new(HMAC_SHA256, password.as_bytes());
    let mut block = hmac::sign(&key, &[salt, &[0, 0, 0, 1]].concat());
    let mut result = [0; 32];
    for i in 1..=iterations {
        for (sum, byte) in result.iter_mut().zip(block.as_ref()) {
            *sum ^= byte;
        }
        block = hmac::sign(&key, block.as_ref());
        if i % STRIDE == 0 {
            tokio::task::yield_now().await;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(future)
    }

    fn later() -> Instant {
        Instant::now() + std::time::Duration::from_mins(1)
    }

    /// RFC 7677, section 3, but for its user's name.
    #[test]
    fn a_dialogue_that_psql_had_is_had_again() {
        let scram = Scram {
            password: "foobar",
            binding: b"n,,".to_vec(),
            nonce: "9IZ2O01zb9IgiIZ1WJ/zgpJB".into(),
        };
        let server = "r=9IZ2O01zb9IgiIZ1WJ/zgpJBjx/oIRLs02gGSHcw1KEty3eY,s=fs3IXBy7U7+IvVjZ,i=4096";
        let (answer, expected) =
            run(scram.answer(server.as_bytes(), later())).unwrap_or_else(|_| panic!());
        assert_eq!(
            answer,
            "c=biws,r=9IZ2O01zb9IgiIZ1WJ/zgpJBjx/oIRLs02gGSHcw1KEty3eY,p=AmNKosjJzS31NTlQYNs5BTeQjdHdk7lOflDo5re2an8="
        );
        assert!(expected.is(b"v=U+ppxD5XUKtradnv8e2MkeupiA8FU87Sg8CXzXHDAzw="));
        assert!(!expected.is(b"v=V+ppxD5XUKtradnv8e2MkeupiA8FU87Sg8CXzXHDAzw="));
        assert!(!expected.is(b"e=invalid-proof"));
    }
}
