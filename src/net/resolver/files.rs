//! /etc/hosts, /etc/resolv.conf and the variables `LOCALDOMAIN` and `RES_OPTIONS`, as glibc reads them (`hosts(5)`,
//! `resolv.conf(5)`).

use std::env;
use std::net::IpAddr;

use nix::sys::utsname::uname;

/// The largest `ndots` (`resolv.conf(5)`).
const MAX_NDOTS: usize = 15;

/// The longest name in text, without a dot at its end (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;

/// The addresses that /etc/hosts has for `name`, of all lines.
pub fn hosts(name: &str) -> Vec<IpAddr> {
    hosts_of(&read("/etc/hosts").unwrap_or_default(), name)
}

fn hosts_of(text: &str, name: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse::<IpAddr>().ok()?;
        words
            .any(|word| word.eq_ignore_ascii_case(name))
            .then_some(address.to_canonical())
    };
    text.lines().filter_map(line).collect()
}

/// How names are made whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolver {
    search: Vec<String>,
    ndots: usize,
    /// Whether there is a file at all.
    pub is_configured: bool,
    /// The option in the file by which musl asks nobody.
    pub silenced_by: Option<&'static str>,
}

impl Resolver {
    /// By /etc/resolv.conf; where that has no list, by the domain in the machine's own name.
    pub fn of_this_machine() -> Self {
        let file = read("/etc/resolv.conf");
        let name = uname().ok();
        let name = name.as_ref().and_then(|name| name.nodename().to_str());
        let domain = name.and_then(|name| name.split_once('.'));
        let mut resolver = Self::of(
            file.as_deref().unwrap_or_default(),
            domain.map_or("", |(_, domain)| domain),
        );
        resolver.is_configured = file.is_some();
        if let Ok(domains) = env::var("LOCALDOMAIN") {
            resolver.search = words(&domains);
        }
        resolver.take_options(&env::var("RES_OPTIONS").unwrap_or_default());
        resolver
    }

    fn of(text: &str, domain: &str) -> Self {
        let mut resolver = Self {
            search: words(domain),
            ndots: 1,
            is_configured: true,
            silenced_by: silencing_option(text),
        };
        for line in text.lines() {
            let (keyword, rest) = line.split_once([' ', '\t']).unwrap_or_default();
            match keyword {
                // The last line of either counts.
                "search" => resolver.search = words(rest),
                "domain" => resolver.search = words(rest.split_whitespace().next().unwrap_or("")),
                "options" => resolver.take_options(rest),
                _ => {}
            }
        }
        resolver
    }

    /// The one option that is about names; the others are for whoever talks to the server.
    fn take_options(&mut self, options: &str) {
        let number = |word: &str| word.strip_prefix("ndots:")?.parse::<usize>().ok();
        if let Some(ndots) = options
            .split_ascii_whitespace()
            .filter_map(number)
            .next_back()
        {
            self.ndots = ndots.min(MAX_NDOTS);
        }
    }

    /// The names to ask for, one after the other, each with a dot at its end so that nobody adds to it. A name with
    /// fewer than `ndots` dots is asked for as it stands only after the list, one with more before it.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let whole = format!("{name}.");
        let listed = self
            .search
            .iter()
            .map(|domain| match domain.trim_matches('.') {
                "" => whole.clone(),
                domain => format!("{name}.{domain}."),
            });
        let listed = listed.filter(|name| name.len() <= LONGEST_NAME + 1);
        let dots = name.bytes().filter(|&byte| byte == b'.').count();
        let mut candidates: Vec<String> = if dots >= self.ndots {
            std::iter::once(whole.clone()).chain(listed).collect()
        } else {
            listed.collect()
        };
        if !candidates.contains(&whole) {
            candidates.push(whole);
        }
        candidates
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// With a `timeout` of 0 musl never sends a question, and by `attempts` of 0 it divides, which ends the process. This
/// reads the file as musl does (its `src/network/resolvconf.c`): of each the first in a line, and of lines the last.
fn silencing_option(text: &str) -> Option<&'static str> {
    let is_zero = |option: &str| {
        let mut values = text.lines().filter_map(|line| {
            let options = line.strip_prefix("options")?;
            let is_read = options.starts_with(|next: char| next.is_ascii_whitespace());
            let (_, value) = options.split_once(option)?;
            let digits = value.find(|next: char| !next.is_ascii_digit());
            let digits = digits.map_or(value, |end| &value[..end]);
            let has_value = is_read && !digits.is_empty();
            has_value.then(|| digits.bytes().all(|digit| digit == b'0'))
        });
        values.next_back() == Some(true)
    };
    ["timeout:", "attempts:"]
        .into_iter()
        .find(|option| is_zero(option))
}

fn read(path: &str) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_in_glibcs_order() {
        let kubernetes = "nameserver 10.0.0.10\nsearch a.svc svc\toptions\noptions edns0 ndots:5\n";
        let table: [(&str, &str, &str, &[&str]); 9] = [
            ("", "", "db", &["db."]),
            ("", "corp.test", "db", &["db.corp.test.", "db."]),
            (
                "search a b\n",
                "corp.test",
                "db",
                &["db.a.", "db.b.", "db."],
            ),
            ("search a b\n", "", "x.y", &["x.y.", "x.y.a.", "x.y.b."]),
            ("search a\ndomain b c\n", "", "db", &["db.b.", "db."]),
            ("#search a\nsearch\t. b\n", "", "db", &["db.", "db.b."]),
            (" search a\noptions ndots:0\n", "", "db", &["db."]),
            ("search a\n", "", "db.", &["db."]),
            (
                kubernetes,
                "",
                "db.b",
                &["db.b.a.svc.", "db.b.svc.", "db.b.options.", "db.b."],
            ),
        ];
        for (text, domain, name, candidates) in table {
            let resolver = Resolver::of(text, domain);
            assert_eq!(resolver.candidates(name), candidates, "{text:?} {domain}");
        }
        for (text, option) in [
            ("options timeout:0\n", Some("timeout:")),
            ("options rotate attempts:00 x\n", Some("attempts:")),
            (
                "options timeout:1 timeout:0\noptions attempts:10 attempts:0",
                None,
            ),
            ("options timeout:0\noptions\ttimeout:1", None),
            (" options timeout:0\n#options attempts:0", None),
            ("optionstimeout:0\noptions timeout: attempts:x", None),
        ] {
            assert_eq!(Resolver::of(text, "").silenced_by, option, "{text:?}");
        }
        let long = format!("search {} b\n", "a".repeat(251));
        assert_eq!(Resolver::of(&long, "").candidates("db"), ["db.b.", "db."]);
    }

    #[test]
    fn a_line_of_hosts_is_an_address_and_its_names() {
        let text = "127.0.0.1 localhost\n 10.0.0.7\tother DB # db2\n::ffff:10.0.0.8 db\n#9.9.9.9 db\nfd00::1 db\nbad db";
        let found: Vec<_> = hosts_of(text, "db")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["10.0.0.7", "10.0.0.8", "fd00::1"]);
        assert!(hosts_of(text, "db2").is_empty());
    }
}
