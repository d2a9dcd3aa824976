//! The same URLs, asked of libpq itself (PostgreSQL manual, 34.1.1 "Connection Strings").

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::super::*;
use super::{Row, rows};

/// What libpq says to a URL.
struct Answer {
    error: String,
    values: BTreeMap<String, String>,
}

impl Answer {
    /// Whether libpq understands it and would connect; names do not resolve where it is asked.
    fn accepts(&self) -> bool {
        let refused = [
            "invalid ",
            "missing ",
            "could not match",
            "unexpected character",
            "definition of service",
            "extra key",
            "syntax error",
        ];
        self.values.contains_key("dbname")
            && !refused.iter().any(|words| self.error.starts_with(words))
    }

    fn get(&self, keyword: &str) -> &str {
        self.values.get(keyword).map_or("", String::as_str)
    }

    /// `host/hostaddr:port` of each server, as libpq pairs its lists.
    fn servers(&self) -> Vec<String> {
        let list = |keyword| self.get(keyword).split(',').collect::<Vec<_>>();
        let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
        (0..hosts.len().max(addresses.len()))
            .map(|i| {
                let at = |list: &[&str], i: usize| (*list.get(i).unwrap_or(&"")).to_owned();
                let port = at(&ports, if ports.len() == 1 { 0 } else { i });
                let port = if port.is_empty() { "5432" } else { &port };
                let (host, address) = (at(&hosts, i), at(&addresses, i));
                // Without a host the address is its name.
                let host = if host.is_empty() {
                    address.clone()
                } else {
                    host
                };
                format!("{host}/{address}:{port}")
            })
            .collect()
    }
}

/// The answers of libpq, in a network namespace where nothing can be reached.
fn ask(rows: &[Row]) -> Vec<Answer> {
    let mut child = Command::new("unshare")
        .args(["--net", "/usr/bin/python3", "-c", include_str!("libpq.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("unshare: {error}: apt-get install -y util-linux python3"));
    let mut cases = String::new();
    for row in rows {
        let fields = std::iter::once(row.url.clone()).chain(
            row.env
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        cases += &fields.collect::<Vec<_>>().join("\x1f");
        cases.push('\x1e');
    }
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(cases.as_bytes()));
    let output = child.wait_with_output().expect("it can be waited for");
    writer.join().expect("no panic").expect("libpq.py reads");
    assert!(
        output.status.success(),
        "libpq.py needs root, python3, libpq5"
    );
    let text = String::from_utf8(output.stdout).expect("libpq.py writes UTF-8");
    let answers: Vec<_> = text.split_terminator('\x1e').map(answer).collect();
    assert_eq!(answers.len(), rows.len());
    answers
}

fn answer(text: &str) -> Answer {
    let mut fields = text.split('\x1f');
    let error = fields.next().unwrap_or_default().trim().to_owned();
    let pair = |field: &str| {
        let (keyword, value) = field.split_once('=').unwrap_or((field, ""));
        (keyword.to_owned(), value.to_owned())
    };
    Answer {
        error,
        values: fields.map(pair).collect(),
    }
}

/// What portero makes of a URL, in the same words.
fn ours(url: &PostgresUrl) -> BTreeMap<&'static str, String> {
    let servers = url.servers.iter().map(|server| {
        let host = match &server.host {
            Host::Tcp(name) => name.clone(),
            Host::Socket(path) => path.display().to_string(),
            Host::Default => String::new(),
        };
        let address = server.address.map(|address| address.to_string());
        format!("{host}/{}:{}", address.unwrap_or_default(), server.port)
    });
    let user = url.login().unwrap_or_default();
    let (name, port) = url.servers.first().map_or_else(Default::default, |server| {
        (
            super::super::super::endpoint::server_name(server),
            server.port,
        )
    });
    BTreeMap::from([
        ("servers", servers.collect::<Vec<_>>().join(" ")),
        ("user", user.clone()),
        (
            "password",
            url.password_for(&name, port, &user).unwrap_or_default(),
        ),
        ("dbname", url.database.clone().unwrap_or(user)),
        ("sslmode", format!("{:?}", url.tls.mode)),
        ("channel_binding", format!("{:?}", url.channel_binding)),
        (
            "target_session_attrs",
            format!("{:?}", url.session_attributes),
        ),
        ("options", url.options.clone().unwrap_or_default()),
        (
            "application_name",
            url.application_name.clone().unwrap_or_default(),
        ),
        (
            "connect_timeout",
            url.connect_timeout
                .map_or("0".into(), |limit| limit.as_secs().to_string()),
        ),
    ])
}

/// libpq's answer in those words.
fn theirs(answer: &Answer) -> BTreeMap<&'static str, String> {
    let camel = |keyword| {
        let words = answer.get(keyword).split('-');
        let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        words
            .filter(|word| !word.is_empty())
            .map(capital)
            .collect::<String>()
    };
    let timeout = answer.get("connect_timeout");
    let own = |keyword| answer.get(keyword).to_owned();
    BTreeMap::from([
        ("servers", answer.servers().join(" ")),
        ("user", own("user")),
        ("password", own("password")),
        ("dbname", own("dbname")),
        ("sslmode", camel("sslmode")),
        ("channel_binding", camel("channel_binding")),
        ("target_session_attrs", camel("target_session_attrs")),
        ("options", own("options")),
        ("application_name", own("application_name")),
        (
            "connect_timeout",
            if timeout.is_empty() { "0" } else { timeout }.to_owned(),
        ),
    ])
}

/// Passwords with an `@` or a `/` that was not encoded: libpq takes a part of them for the host, which is never meant.
const READ_IN_ANOTHER_WAY: [&str; 3] = [
    "postgres://app:p@ss@db/shop",
    "postgres://app:p@s/s@db:5432/shop",
    "postgres://app:12/3@db/shop?sslmode=require",
];

#[test]
fn what_libpq_accepts_means_the_same_here() {
    let rows = rows();
    let mut accepted = 0;
    for (row, answer) in rows.iter().zip(ask(&rows)) {
        let url = PostgresUrl::parse(&row.url, &row.env.iter().cloned().collect())
            .unwrap_or_else(|error| panic!("{}: {error}", row.url));
        if !answer.accepts() {
            continue;
        }
        accepted += 1;
        let (ours, theirs) = (ours(&url), theirs(&answer));
        if READ_IN_ANOTHER_WAY.contains(&row.url.as_str()) {
            assert_ne!(ours, theirs, "libpq has learnt to read {}", row.url);
        } else {
            assert_eq!(ours, theirs, "{} {:?}: {}", row.url, row.env, answer.error);
        }
    }
    assert!(
        accepted >= 90,
        "libpq accepts only {accepted} of {}",
        rows.len()
    );
}
