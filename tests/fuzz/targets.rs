//! What is fuzzed: every parser of what comes from outside. A target takes any bytes and panics when a promise is
//! broken. `tests/fuzz/run` lets libFuzzer loose on them; the unit tests give each its seeds (`seeds/NAME.txt`).
#![allow(clippy::expect_used)]

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cli::mode::Mode;
use crate::cli::{self, Asked, Opt};
use crate::database::passfile;
use crate::database::url::{PostgresUrl, service};
use crate::environment::Environment;
use crate::environment::expand::expand;
use crate::environment::words::{self, Piece, Word};
use crate::exit::Failure;
use crate::identity::user;
use crate::net::deadline::Deadline;
use crate::net::readiness::Readiness;
use crate::net::verification::Verification;
use crate::plan::{MigratePlan, ProbePlan, RunPlan, WaitPlan};
use crate::probe;
use crate::probe::question::{Expectation, Question, StatusSet};
use crate::probe::target::Target;
use crate::settings::Settings;
use crate::supervise::helper::Stops;
use crate::variables::resolve;

/// A name, and what is done with any bytes.
type Named = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Named; 13] = [
    ("command-line", command_line),
    ("duration", duration),
    ("expansion", expansion),
    ("http-reply", http_reply),
    ("passfile", password_file),
    ("password", password),
    ("redis-reply", redis_reply),
    ("service-file", service_file),
    ("status", status),
    ("target", target),
    ("url", url),
    ("user", user_spec),
    ("words", posix_words),
];

/// In every secret here, so that showing any of it is noticed.
const MARK: &str = "S3CRET";

/// There is something to say; the logger makes one line of it.
fn assert_line(line: &str) {
    assert!(!line.is_empty());
}

/// The parts between NULs, which no argument, variable or line of a file can hold: the first `N`, empty where missing.
fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = bytes.split(|byte| *byte == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

fn c_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

/// Words of a command line, and behind an empty one the variables.
fn command_line(bytes: &[u8]) {
    // What reads a file, or would wait for one.
    if bytes.windows(5).any(|window| window == b"_FILE") {
        return;
    }
    let items: Vec<OsString> = bytes
        .split(|byte| *byte == 0)
        .map(|item| OsStr::from_bytes(item).to_owned())
        .collect();
    let (arguments, variables) = items.split_at(
        items
            .iter()
            .position(|item| item.is_empty())
            .unwrap_or(items.len()),
    );
    let environment = variables
        .iter()
        .filter_map(|item| {
            let at = item.as_bytes().iter().position(|byte| *byte == b'=')?;
            let (name, value) = item.as_bytes().split_at(at);
            Some((OsStr::from_bytes(name), OsStr::from_bytes(&value[1..])))
        })
        .collect();
    match plan(arguments, &environment) {
        Ok(_) => {}
        Err(failure) => assert_line(&failure.message),
    }
}

/// The plan as `--dry-run` shows it.
fn plan(arguments: &[OsString], environment: &Environment) -> Result<String, Failure> {
    let Asked::Work(typed) = cli::parse(arguments)? else {
        return Ok(String::new());
    };
    let settings = Settings {
        typed: &typed,
        environment,
    };
    crate::plan::output(&settings)?;
    let resolved = resolve(&settings, Stops::Handled)?;
    let settings = Settings {
        environment: &resolved.environment,
        ..settings
    };
    Ok(match typed.mode {
        Mode::Run => RunPlan::new(&settings, &resolved, &|_| true)?.describe(&resolved),
        Mode::Wait => WaitPlan::new(&settings)?.describe(),
        Mode::Migrate => MigratePlan::new(&settings)?.describe(&resolved),
        Mode::Healthcheck => ProbePlan::new(&settings)?.describe(),
    })
}

fn duration(bytes: &[u8]) {
    static TYPED: OnceLock<cli::Typed> = OnceLock::new();
    let Some(text) = c_text(bytes) else { return };
    let typed = TYPED.get_or_init(|| match cli::parse(&["wait".into(), "x:1".into()]) {
        Ok(Asked::Work(typed)) => typed,
        _ => unreachable!("it is a command line"),
    });
    let environment = [("PORTERO_WAIT_TIMEOUT", text)].into_iter().collect();
    let settings = Settings {
        typed,
        environment: &environment,
    };
    match settings.limit(Opt::WaitTimeout) {
        // What comes out can be added to any clock's time.
        Ok(limit) => assert!(limit.is_none_or(|limit| {
            !limit.is_zero() && std::time::Instant::now().checked_add(limit).is_some()
        })),
        Err(failure) => assert_line(&failure.message),
    }
}

fn status(bytes: &[u8]) {
    let Some(text) = c_text(bytes) else { return };
    match StatusSet::parse(text) {
        Ok(set) => {
            let statuses: Vec<u16> = (0..2000).filter(|status| set.contains(*status)).collect();
            assert!(statuses.iter().all(|status| (100..=999).contains(status)));
            let listed: Vec<String> = statuses.iter().map(u16::to_string).collect();
            let again = StatusSet::parse(&listed.join(",")).expect("a list of statuses");
            assert!(statuses.iter().all(|status| again.contains(*status)));
        }
        Err(why) => assert_line(&why),
    }
}

fn expansion(bytes: &[u8]) {
    let [text, value] = parts(bytes);
    let environment = [
        ("A", OsStr::from_bytes(value)),
        ("EMPTY", OsStr::new("")),
        ("B", OsStr::new("b")),
    ]
    .into_iter()
    .collect();
    match expand(OsStr::from_bytes(text), &environment) {
        Ok(expanded) => {
            let plain = !text.windows(2).any(|pair| pair == b"${");
            assert!(!plain || expanded.text.as_bytes() == text);
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// What was split comes back when it is put together again with every word in quotes.
fn posix_words(bytes: &[u8]) {
    let chains = match chains(bytes) {
        Ok(chains) => chains,
        Err(why) => return assert!(!why.is_empty()),
    };
    let quote = |word: &Vec<u8>| {
        let inner: Vec<&[u8]> = word.split(|byte| *byte == b'\'').collect();
        [b"'".as_slice(), &inner.join(b"'\\''".as_slice()), b"'"].concat()
    };
    let command = |words: &Vec<Vec<u8>>| words.iter().map(quote).collect::<Vec<_>>().join(&b' ');
    let lines: Vec<Vec<u8>> = chains
        .iter()
        .map(|chain| {
            let commands: Vec<Vec<u8>> = chain.iter().map(command).collect();
            commands.join(b" && ".as_slice())
        })
        .collect();
    assert_eq!(self::chains(&lines.join(&b'\n')), Ok(chains));
}

/// The commands of a text, each `${…}` as it stands.
fn chains(bytes: &[u8]) -> Result<Vec<Vec<Vec<Vec<u8>>>>, String> {
    let text = |word: Word| {
        let pieces = word.pieces.into_iter().map(|piece| match piece {
            Piece::Literal(text) | Piece::Reference(text) => text,
        });
        pieces.collect::<Vec<_>>().concat()
    };
    let chain = |line: &[u8]| {
        let chain = words::command(line, true)?.into_iter();
        Ok(chain
            .map(|words| words.into_iter().map(text).collect())
            .collect())
    };
    words::lines(bytes).into_iter().map(chain).collect()
}

/// A SPEC, /etc/passwd and /etc/group: nobody becomes root but by its name and its number.
fn user_spec(bytes: &[u8]) {
    let [spec, passwd, group] = parts(bytes);
    let Some(spec) = c_text(spec) else { return };
    match user::resolve(spec, passwd, group) {
        Ok(found) => {
            let user = spec.split(':').next().unwrap_or_default();
            assert!(found.uid != 0 || matches!(user, "root" | "0"), "{spec:?}");
            assert!(i32::try_from(found.uid).is_ok() && i32::try_from(found.gid).is_ok());
        }
        Err(why) => assert_line(&why),
    }
}

fn url(bytes: &[u8]) {
    let Some(text) = c_text(bytes) else { return };
    match PostgresUrl::parse(text, &Environment::default()) {
        Ok(url) => assert!(!url.to_string().is_empty()),
        Err(why) => assert_line(&why),
    }
}

fn target(bytes: &[u8]) {
    if bytes.contains(&0) {
        return;
    }
    let text = OsStr::from_bytes(bytes);
    let environment = [("URL", text)].into_iter().collect();
    for parsed in [
        Target::parse(text, &Environment::default()),
        Target::parse(OsStr::new("URL"), &environment),
    ] {
        match parsed {
            Ok(target) => assert!(!target.to_string().is_empty()),
            Err(failure) => assert_line(&failure.message),
        }
    }
}

/// A password of any kind, in each place that a URL has for one: it is never shown.
fn password(bytes: &[u8]) {
    let Some(middle) = c_text(bytes) else { return };
    let password = format!("{MARK}{middle}{MARK}");
    let encoded: String = password.bytes().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "%{byte:02X}");
        text
    });
    // By the book what follows the first `@` is a host, and shown.
    let literal = !password.contains(['@', '/', '?', '#']);
    let urls = [
        format!("postgres://app:{encoded}@db/shop"),
        format!("postgres://db/shop?user=app&password={encoded}"),
        format!("postgres://db/shop?user=app&password={password}"),
        format!("jdbc:postgresql://db/shop?password={password}&user=app"),
        format!("http://user:{encoded}@api/health?token={encoded}"),
        format!("redis://:{encoded}@cache/0"),
        format!("postgres://app:{password}@db:5432/shop?sslmode=require"),
        format!("http://user:{password}@api/health"),
        format!("redis://:{password}@cache/0"),
    ];
    // Nor is a value in a query what stands behind the next `&`.
    let in_query = !password.contains(['&', '#']);
    let (query, to_the_letter) = (2..4, 6);
    for (index, url) in urls.iter().enumerate() {
        if index >= to_the_letter && !literal {
            break;
        }
        if query.contains(&index) && !in_query {
            continue;
        }
        let environment = [("URL", url)].into_iter().collect();
        for parsed in [
            Target::parse(OsStr::new("URL"), &environment),
            Target::parse(OsStr::new(url), &Environment::default()),
        ] {
            let shown = match parsed {
                Ok(target) => format!("{target} {target:?}"),
                Err(failure) => failure.message,
            };
            assert!(!shown.contains(MARK), "{url} is shown as {shown}");
        }
    }
}

fn password_file(bytes: &[u8]) {
    let Some(text) = c_text(bytes) else { return };
    let line = r"db\:1:5432:shop:app:pass\:word";
    let wanted = ["db:1", "5432", "shop", "app"];
    passfile::look_up(text, wanted);
    // A line that fits is found behind whatever else the file holds, unless an earlier one fits too.
    let found = passfile::look_up(&format!("{text}\n{line}"), wanted);
    assert!(found.is_some());
}

fn service_file(bytes: &[u8]) {
    let Some(text) = c_text(bytes) else { return };
    let found = service::group(&format!("{text}\n[S3RVICE]\nhost=db\n"), "S3RVICE");
    assert!(found.is_some());
}

/// A server's answer, whatever it is, is judged in one short line.
fn assert_judged(readiness: Readiness) {
    let (Readiness::Ready(said) | Readiness::NotYet(said) | Readiness::Refused(said)) = readiness;
    assert!(
        said.len() < 1000 && !said.contains(['\n', '\r', '\x1b']),
        "{said:?}"
    );
    assert!(!said.contains(MARK), "{said:?}");
}

/// More than any answer of a fuzzer takes.
const LIMIT: Duration = Duration::from_secs(30);

/// What the servers answer next.
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn set_answer(bytes: &[u8]) {
    *ANSWER.lock().unwrap_or_else(PoisonError::into_inner) = bytes.to_vec();
}

/// One connection after the other: the request is read, the answer given, and that is all.
fn serve<S: Read + Write>(
    connections: impl Iterator<Item = std::io::Result<S>>,
    end: impl Fn(&S) -> std::io::Result<()>,
) {
    for mut connection in connections.flatten() {
        let mut request = [0; 4096];
        let _ = connection.read(&mut request);
        let answer = ANSWER
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let _ = connection.write_all(&answer);
        let _ = end(&connection);
        while matches!(connection.read(&mut request), Ok(1..)) {}
    }
}

fn http_reply(bytes: &[u8]) {
    static QUESTION: OnceLock<(Target, Question)> = OnceLock::new();
    let (target, question) = QUESTION.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("portero-fuzz-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket in the temporary directory");
        thread::spawn(move || serve(listener.incoming(), |end| end.shutdown(Shutdown::Write)));
        let url = format!("http+unix://{}:/health", path.display());
        let target = Target::parse(OsStr::new(&url), &Environment::default());
        let expectation = Expectation {
            contains: Some(b"needle".to_vec()),
            ..Expectation::default()
        };
        let question = Question::of_healthcheck(expectation, Verification::default());
        (target.expect("a target"), question)
    });
    set_answer(bytes);
    assert_judged(probe::ask(target, question, Deadline::after(Some(LIMIT))));
}

fn redis_reply(bytes: &[u8]) {
    static QUESTION: OnceLock<(Target, Question)> = OnceLock::new();
    let (target, question) = QUESTION.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
        let port = listener.local_addr().expect("its address").port();
        thread::spawn(move || serve(listener.incoming(), |end| end.shutdown(Shutdown::Write)));
        let url = format!("redis://:{MARK}@127.0.0.1:{port}/0");
        let target = Target::parse(OsStr::new(&url), &Environment::default());
        let question = Question::of_wait(Verification::default());
        (target.expect("a target"), question)
    });
    set_answer(bytes);
    assert_judged(probe::ask(target, question, Deadline::after(Some(LIMIT))));
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let wanted = std::env::var("PORTERO_FUZZ").unwrap_or_default();
        let found = TARGETS.iter().find(|(name, _)| *name == wanted);
        found.expect("PORTERO_FUZZ names a target").1
    });
    target(bytes);
});

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of a file of seeds: `\n`, `\r`, `\0`, `\\` stand for what they stand for in printf(1).
    fn seed(line: &str) -> Vec<u8> {
        let table = [
            ("\\\\", "\u{1}"),
            ("\\n", "\n"),
            ("\\r", "\r"),
            ("\\0", "\0"),
            ("\u{1}", "\\"),
        ];
        let plain = |text: String, (from, to): (&str, &str)| text.replace(from, to);
        table.into_iter().fold(line.to_owned(), plain).into_bytes()
    }

    #[test]
    fn every_target_stands_its_seeds_and_their_halves() {
        for (name, target) in TARGETS {
            let path = format!("{}/tests/fuzz/seeds/{name}.txt", env!("CARGO_MANIFEST_DIR"));
            let seeds =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(!seeds.is_empty(), "{path} is empty");
            for line in seeds.lines() {
                let bytes = seed(line);
                target(&bytes);
                target(&bytes[..bytes.len() / 2]);
                target(&bytes[bytes.len() / 2..]);
            }
        }
    }
}
