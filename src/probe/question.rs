//! What is asked of targets besides being there.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

use crate::exit::Failure;
use crate::net::tls::{self, Config};
use crate::net::verification::{OwnFiles, Verification};
use crate::probe::http::message::Request;
use crate::probe::target::{HttpUrl, Target, TargetKind};
use crate::wording::shown;

/// What is asked of targets besides being there: which HTTP answer is wanted, and whose certificates are good.
#[derive(Debug)]
pub struct Question {
    pub(super) expectation: Expectation,
    pub(super) verification: Verification,
    /// Whether a server on a loopback address is believed without a CA to verify it by.
    pub(super) trust_loopback: bool,
    verifying: OnceLock<Result<Config, String>>,
    trusting: OnceLock<Result<Config, String>>,
}

impl Question {
    /// What `wait` asks: any status of 200-399, and certificates that verify.
    pub fn of_wait(verification: Verification) -> Self {
        Self {
            expectation: Expectation::default(),
            verification,
            trust_loopback: false,
            verifying: OnceLock::new(),
            trusting: OnceLock::new(),
        }
    }

    /// What `healthcheck` asks. https to loopback addresses is verified only by a CA that was given: nobody can sit
    /// between (the kubelet's rule for its probes).
    pub fn of_healthcheck(expectation: Expectation, verification: Verification) -> Self {
        Self {
            expectation,
            trust_loopback: true,
            ..Self::of_wait(verification)
        }
    }

    /// Reads the files that asking `target` takes, before it is asked.
    ///
    /// # Errors
    /// A certificate or key that can't be read: no waiting changes that (125).
    pub fn check(&self, target: &Target) -> Result<(), Failure> {
        let needs_roots = match &target.kind {
            TargetKind::Http(url) => url.tls,
            _ => false,
        };
        let checked = match &target.kind {
            TargetKind::Postgres(url) => url.check_files(),
            TargetKind::Redis(url) => url.check_files(self),
            // Roots of the system are not asked for where a loopback address may do without them.
            _ if needs_roots && (self.verification.ca_cert.is_some() || !self.trust_loopback) => {
                self.tls(None, true).map(|_| ())
            }
            _ => Ok(()),
        };
        checked.map_err(|why| Failure::failed(format!("{target}: {why}")))
    }

    /// The TLS configuration for a server at `peer`, whose URL leaves it at verifying or does not; made at most once of
    /// each kind.
    pub(super) fn tls(&self, peer: Option<IpAddr>, verify: bool) -> Result<Config, String> {
        let verify = verify && !self.verification.insecure && !self.is_believed(peer);
        let cell = if verify {
            &self.verifying
        } else {
            &self.trusting
        };
        let own = OwnFiles::default();
        cell.get_or_init(|| tls::client_config(&self.verification, &own, verify))
            .clone()
    }

    /// Whether nobody can sit between, and no CA is given to verify by.
    pub(super) fn is_believed(&self, peer: Option<IpAddr>) -> bool {
        let loopback = peer.is_some_and(|address| address.to_canonical().is_loopback());
        self.trust_loopback && loopback && self.verification.ca_cert.is_none()
    }
}

/// What is asked of an HTTP target, and which answer is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The request's method, as it is sent.
    pub method: String,
    /// Further headers of the request. `Host` changes the header alone, not the address.
    pub headers: Vec<(String, String)>,
    /// The statuses that are healthy.
    pub status: StatusSet,
    /// What the first 64 KiB of the body must contain; without it the body is not read.
    pub contains: Option<Vec<u8>>,
}

impl Default for Expectation {
    /// GET, and any status of 200-399: the kubelet's rule.
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            headers: Vec::new(),
            status: StatusSet::default(),
            contains: None,
        }
    }
}

impl Expectation {
    /// Whether a request can be made of it.
    ///
    /// # Errors
    /// A method or header that HTTP does not allow (125). Values of headers are not shown: they may be secrets.
    pub fn validate(&self) -> Result<(), Failure> {
        if !is_token(&self.method) {
            let method = shown(&self.method);
            return Err(Failure::failed(format!("{method} is no HTTP method")));
        }
        for (name, value) in &self.headers {
            if !is_token(name) {
                return Err(Failure::failed(format!(
                    "{} is no name of an HTTP header; write 'Name: value'",
                    shown(name)
                )));
            }
            if !value
                .bytes()
                .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
            {
                return Err(Failure::failed(format!(
                    "the value of the HTTP header {name} has a control character"
                )));
            }
        }
        Ok(())
    }

    /// The request to `url`.
    pub(super) fn request<'a>(&'a self, url: &'a HttpUrl) -> Request<'a> {
        let given = |wanted: &str| {
            let mut names = self.headers.iter().map(|(name, _)| name);
            names.any(|name| name.eq_ignore_ascii_case(wanted))
        };
        // A method that a body goes with says that there is none (RFC 9110, section 8.6).
        let sends = matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        let own = [
            ("authorization", url.authorization.as_deref()),
            // No second request follows on this connection.
            ("connection", Some("close")),
            ("content-length", sends.then_some("0")),
        ];
        let own = own.into_iter().filter(|(name, _)| !given(name));
        let own = own.filter_map(|(name, value)| Some((name, value?)));
        let typed = self.headers.iter();
        let typed = typed.map(|(name, value)| (name.as_str(), value.as_str()));
        Request {
            method: &self.method,
            authority: &url.authority,
            path: &url.path,
            headers: own.chain(typed).collect(),
        }
    }
}

/// A method, or the name of a header (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// A set of HTTP statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

impl Default for StatusSet {
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl StatusSet {
    /// Reads statuses and ranges between commas or white space: `200-399,418 500`.
    ///
    /// # Errors
    /// What is no status of 100-999, a range that is upside down, or nothing at all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>()
                .ok()
                .filter(|&status| digits && status >= 100)
        };
        let mut ranges = Vec::new();
        for item in text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|item| !item.is_empty())
        {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            match (status(first), status(last)) {
                (Some(first), Some(last)) if first <= last => ranges.push(first..=last),
                _ => {
                    return Err(format!(
                        "{} is no HTTP status or range; write them as in 200-399,418",
                        shown(item)
                    ));
                }
            }
        }
        if ranges.is_empty() {
            return Err("no HTTP status is given; write them as in 200-399,418".to_owned());
        }
        Ok(Self(ranges))
    }

    /// Whether `status` is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http_does_not_allow_is_refused_before_it_is_sent() {
        let validate = |method: &str, name: &str, value: &str| {
            let expectation = Expectation {
                method: method.to_owned(),
                headers: vec![(name.to_owned(), value.to_owned())],
                ..Expectation::default()
            };
            expectation.validate()
        };
        assert!(validate("GET", "X-Ok", "fine value").is_ok());
        for (method, name) in [("G T", "X"), ("", "X"), ("GET", "X Y"), ("GET", "")] {
            assert!(validate(method, name, "z").is_err(), "{method} {name}");
        }
        let injected = validate("GET", "X", "hunter2\r\nHost: evil");
        assert!(injected.is_err_and(|failure| !failure.message.contains("hunter2")));
    }

    #[test]
    fn statuses_are_read_as_sets() {
        let set = StatusSet::parse(" 200-399,418  500\n").unwrap_or_else(|error| panic!("{error}"));
        for status in [200, 399, 418, 500] {
            assert!(set.contains(status), "{status}");
        }
        for status in [199, 400, 501] {
            assert!(!set.contains(status), "{status}");
        }
        let bad = "- , 20 2000 099 399-200 200- -200 2xx +200 200-300-400";
        for bad in bad.split(' ').chain(["", " "]) {
            assert!(StatusSet::parse(bad).is_err(), "{bad:?}");
        }
    }
}
