//! The same URLs, asked of libpq itself (PostgreSQL manual, 34.1.1 "Connection Strings").

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::database::url::tests::{Row, rows};
use crate::database::url::*;

/// What libpq says to a URL.
pub(super) struct Answer {
    error: String,
    values: BTreeMap<String, String>,
}

impl Answer {
    /// Whether libpq understands it and would connect; names do not resolve where it is asked.
    pub(super) fn accepts(&self) -> bool {
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
pub(super) fn ask(rows: &[Row]) -> Vec<Answer> {
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
pub(super) fn ours(url: &PostgresUrl) -> BTreeMap<&'static str, String> {
    let servers = url.servers.iter().map(|server| {
        let host = match &server.host {
            ServerHost::Tcp(name) => name.clone(),
            ServerHost::Socket(path) => path.display().to_string(),
            ServerHost::Default => String::new(),
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
pub(super) fn theirs(answer: &Answer) -> BTreeMap<&'static str, String> {
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
/// And Npgsql's names in small letters, of which libpq makes one long host.
const READ_IN_ANOTHER_WAY: [&str; 4] = [
    "host=db;database=shop;username=app;password=pw",
    "postgres://app:p@ss@db/shop",
    "postgres://app:p@s/s@db:5432/shop",
    "postgres://app:12/3@db/shop?sslmode=require",
];

/// A directory of its own with these files, none of which others can read.
fn directory(name: &str, files: &[(&str, &str)]) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("portero-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("the directory is new");
    for (file, content) in files {
        let file = path.join(file);
        std::fs::write(&file, content).expect("it can be written");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, mode).expect("it is ours");
    }
    path
}

/// Both must take or refuse it, and mean the same.
fn assert_same(rows: &[Row]) {
    for (row, answer) in rows.iter().zip(ask(rows)) {
        let url = PostgresUrl::parse(&row.url, &row.env.iter().cloned().collect())
            .and_then(|url| url.with_service().map(Cow::into_owned));
        match &url {
            Ok(url) if answer.accepts() => {
                assert_eq!(ours(url), theirs(&answer), "{} {:?}", row.url, row.env);
            }
            _ => assert_eq!(
                url.is_ok(),
                answer.accepts(),
                "{} {:?}: {url:?}, {}",
                row.url,
                row.env,
                answer.error
            ),
        }
    }
}

pub(super) fn row(url: &str, env: &[(&str, &str)]) -> Row {
    Row {
        url: url.into(),
        shown: String::new(),
        password: None,
        mode: SslMode::Prefer,
        env: env
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
    }
}

#[test]
fn service_files_are_read_as_libpq_reads_them() {
    let own = "# comment\n[shop]\nhost=db1\nport=6000\nuser=app\npassword=a=b c \ndbname=shop\n\n\
               [other]\nhost=db2\nsslmode=require\n  options=-csearch_path=x\n[empty]\n[shop]\nhost=never\n";
    let system = "[shop]\nhost=never\n[central]\nhost=db3\nuser=c\n";
    let home = directory(
        "services",
        &[
            (".pg_service.conf", own),
            ("pg_service.conf", system),
            ("named", own),
        ],
    );
    let home_path = home.display().to_string();
    let named = home.join("named").display().to_string();
    let base = [
        ("HOME", home_path.as_str()),
        ("PGSYSCONFDIR", home_path.as_str()),
    ];
    let mut rows = Vec::new();
    for url in [
        "postgres:///?service=shop",
        "postgres://u:p@h:1/d?service=shop",
        "postgres://u@/?service=other&port=7",
        "postgres:///d?service=empty",
        "postgres:///d?service=central",
        "postgres:///d?service=missing",
        "postgres:///d?service=sho",
        "postgres:///d",
    ] {
        rows.push(row(url, &base));
        rows.push(row(
            url,
            &[base[0], base[1], ("PGUSER", "e"), ("PGPORT", "9")],
        ));
        rows.push(row(
            url,
            &[("PGSERVICEFILE", &named), ("PGSERVICE", "other")],
        ));
        rows.push(row(url, &[base[0], base[1], ("PGSERVICE", "missing")]));
    }
    assert_same(&rows);
    let _ = std::fs::remove_dir_all(home);
}

#[test]
fn password_files_are_read_as_libpq_reads_them() {
    let lines = "# comment\ndb:5432:shop:app:plain\ndb:6000:*:app:port\ndb:*:*:e\\:x:with\\:colon\\\\\n\
                 localhost:*:*:app:local\n/run/pg:*:*:app:socket\n10.0.0.9:*:*:app:address\nshort:1:2\n*:*:last:*:rest \n";
    let home = directory(
        "passwords",
        &[(".pgpass", lines), ("named", "*:*:*:*:named\n")],
    );
    let home_path = home.display().to_string();
    let named = home.join("named").display().to_string();
    let mut rows = Vec::new();
    for url in [
        "postgres://app@db/shop",
        "postgres://app:own@db/shop",
        "postgres://app@db:6000/x",
        "postgres://e%3Ax@db/shop",
        "postgres://app@localhost/shop",
        "postgres://app@/shop",
        "postgres://app@/shop?host=/var/run/postgresql",
        "postgres://app@/shop?host=/run/pg",
        "postgres://app@/shop?hostaddr=10.0.0.9",
        "postgres://app@db/shop?hostaddr=10.0.0.9",
        "postgres://app@short:1/2",
        "postgres://who@ever/last",
        "postgres://who@ever/other",
    ] {
        rows.push(row(url, &[("HOME", &home_path)]));
        rows.push(row(
            url,
            &[("HOME", "/nonexistent"), ("PGPASSFILE", &named)],
        ));
        rows.push(row(
            url,
            &[("HOME", &home_path), ("PGPASSWORD", "variable")],
        ));
        rows.push(row(
            &format!(
                "{url}{}passfile={named}",
                if url.contains('?') { '&' } else { '?' }
            ),
            &[("HOME", &home_path)],
        ));
    }
    assert_same(&rows);
    let _ = std::fs::remove_dir_all(home);
}

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

/// The rows of the documentation's table: parameter, variable, what portero does.
fn documented() -> Vec<[&'static str; 3]> {
    let lines = include_str!("../../../../docs/postgres.md").lines();
    let rows = lines.filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<_> = line
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        [cells[1], cells[2], cells[3]]
    })
    .collect()
}

#[test]
fn every_parameter_of_libpq_is_documented_and_is_what_the_documentation_says() {
    let script = "import ctypes
class Option(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ('keyword', 'variable', 'a', 'b', 'c', 'd')] + [('e', ctypes.c_int)]
libpq = ctypes.CDLL('libpq.so.5')
libpq.PQconndefaults.restype = ctypes.POINTER(Option)
options = libpq.PQconndefaults()
i = 0
while options[i].keyword:
    print(options[i].keyword.decode(), (options[i].variable or b'').decode())
    i += 1";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .output()
        .unwrap_or_else(|error| panic!("python3: {error}: apt-get install -y python3"));
    assert!(
        output.status.success(),
        "apt-get install -y libpq5: {output:?}"
    );
    let known = String::from_utf8(output.stdout).expect("it is ASCII");
    assert!(known.lines().count() > 30, "{known}");
    let rows = documented();
    for line in known.lines() {
        let (keyword, variable) = line.split_once(' ').unwrap_or((line, ""));
        let row = rows.iter().find(|row| row[0] == keyword);
        assert!(row.is_some_and(|row| row[1] == variable), "{line}: {row:?}");
    }
    for [keyword, variable, what] in rows {
        let kept = names::KEYWORDS.contains(&(keyword, variable));
        let passed_over = names::PASSED_OVER.contains(&keyword);
        let agrees = match what {
            "kept" | "kept or refused" | "refused" => kept && !passed_over,
            "passed over" => passed_over && !kept,
            _ => false,
        };
        assert!(agrees, "{keyword}: {what}");
    }
    for (keyword, _) in names::KEYWORDS {
        assert!(
            documented().iter().any(|row| row[0] == keyword),
            "{keyword}"
        );
    }
}

#[test]
fn what_restricts_and_cannot_be_kept_to_is_refused_wherever_it_stands() {
    let table = [
        ("sslcrl", "PGSSLCRL", "/crl.pem"),
        ("sslcrldir", "PGSSLCRLDIR", "/crl"),
        ("gssencmode", "PGGSSENCMODE", "require"),
        ("sslcertmode", "PGSSLCERTMODE", "require"),
        ("require_auth", "PGREQUIREAUTH", "gss"),
        (
            "ssl_max_protocol_version",
            "PGSSLMAXPROTOCOLVERSION",
            "TLSv1.1",
        ),
        (
            "ssl_min_protocol_version",
            "PGSSLMINPROTOCOLVERSION",
            "TLSv1.4",
        ),
        ("min_protocol_version", "PGMINPROTOCOLVERSION", "3.2"),
    ];
    for (keyword, variable, value) in table {
        let url = format!("postgres://u@db/d?{keyword}={value}");
        for parsed in [
            PostgresUrl::parse(&url, &Environment::default()),
            PostgresUrl::parse(
                "postgres://u@db/d",
                &[(variable, value)].into_iter().collect(),
            ),
        ] {
            let error = parsed.err().unwrap_or_default();
            let is_named = error.contains(keyword) || error.starts_with(variable);
            assert!(is_named, "{keyword}: {error}");
        }
    }
}
