//! What portero accepts means what it means to a shell: the same words come out of `sh`, in which each `${…}` that
//! portero has without quotes is in double quotes, as portero never splits a value.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::cli::{Asked, Opt, Typed, is_reference, parse, unit_length};
use crate::environment::Environment;
use crate::environment::expand::expand;
use crate::settings::Settings;

const VARIABLES: [(&str, &str); 4] = [
    ("A", "a  b"),
    ("EMPTY", ""),
    ("RAW", "${A} 'x\" * \\ $"),
    ("B", "-v"),
];

/// What means something to portero or to a shell, but for what is a shell's alone: a `$` before a name, a backslash
/// and quotes inside of `${…}`.
const PIECES: [&str; 34] = [
    "${A}",
    "${EMPTY}",
    "${RAW}",
    "${UNSET}",
    "${",
    "}",
    "${A:-",
    "${EMPTY:-",
    "${UNSET:-",
    "${A:+",
    "${EMPTY:+",
    "${UNSET:+",
    "${A:?",
    "${UNSET:?gone}",
    "${A:=",
    "${A-",
    "${#A}",
    "{",
    "x",
    "y z",
    " ",
    "  ",
    "\t",
    "-",
    ":",
    "*",
    "~",
    "=",
    "&&",
    "''",
    "' '",
    "'${A}'",
    "\"${A:-x}\"",
    "\"",
];

fn environment() -> Environment {
    VARIABLES.into_iter().collect()
}

fn text() -> impl Strategy<Value = String> {
    vec(select(PIECES.to_vec()), 1..9).prop_map(|pieces| pieces.concat())
}

/// So many texts that the strategy comes to, and what `portero` makes of those that it accepts.
fn accepted(portero: impl Fn(&str) -> Option<Vec<OsString>>) -> Vec<(String, Vec<OsString>)> {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let mut runner = TestRunner::default();
    let texts = (0..cases.unwrap_or(3000)).map(|_| text().new_tree(&mut runner).unwrap().current());
    texts
        .filter_map(|text| Some((text.clone(), portero(&text)?)))
        .collect()
}

/// The words that one `sh` makes of each of `lines`.
fn words_of_sh(lines: impl Iterator<Item = String>) -> Vec<Vec<OsString>> {
    let script = lines.map(|line| format!("set -f -- {line}\nprintf '%s\\0' \"$#\" \"$@\"\n"));
    let script: String = script.collect();
    let mut sh = Command::new("sh")
        .env_clear()
        .envs(VARIABLES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = sh.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
    let output = sh.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let mut fields = output.stdout.split(|byte| *byte == 0);
    let mut all = Vec::new();
    while let Some(count) = fields.next().filter(|field| !field.is_empty()) {
        let count: usize = std::str::from_utf8(count).unwrap().parse().unwrap();
        let words = fields.by_ref().take(count);
        all.push(
            words
                .map(|word| OsString::from_vec(word.to_vec()))
                .collect(),
        );
    }
    all
}

fn assert_same(cases: &[(String, Vec<OsString>)], quoted: impl Fn(&str) -> String) {
    assert!(cases.len() > 100, "{} cases are too few", cases.len());
    let of_sh = words_of_sh(cases.iter().map(|(text, _)| quoted(text)));
    assert_eq!(of_sh.len(), cases.len());
    for ((text, of_portero), of_sh) in cases.iter().zip(of_sh) {
        assert_eq!(of_portero, &of_sh, "{text}");
    }
}

#[test]
fn an_expansion_comes_to_the_same_in_a_shell() {
    let cases = accepted(|text| {
        let plain = !text.contains(['"', '\'']);
        let value = expand(OsStr::new(text), &environment())
            .ok()
            .filter(|_| plain)?;
        Some(vec![value.text])
    });
    assert_same(&cases, |text| format!("\"{text}\""));
}

#[test]
fn a_command_has_the_same_words_in_a_shell() {
    let cases = accepted(|text| {
        let typed = typed(&format!("true {text}"));
        let chains = Settings::new(&typed, &environment())
            .commands(Opt::Migrate)
            .ok()?;
        let [chain] = &chains[..] else { return None };
        let [command] = &chain[..] else { return None };
        Some(command.clone())
    });
    assert_same(&cases, |text| format!("true {}", with_quotes(text)));
}

fn typed(migrate: &str) -> Typed {
    let words = ["--no-lock", "--migrate", migrate, "--", "true"];
    match parse(&words.map(OsString::from)) {
        Ok(Asked::Work(typed)) => typed,
        _ => panic!("{migrate}"),
    }
}

/// Puts each `${…}` outside of quotes in double quotes, unless a word is nothing else and comes out empty: that drops
/// out here as there.
fn with_quotes(line: &str) -> String {
    let (mut quote, mut out, mut rest) = (None, String::new(), line);
    while !rest.is_empty() {
        let (unit, after) = rest.split_at(unit_length(rest.as_bytes()));
        let ends_word = after.starts_with([' ', '\t']) || after.is_empty();
        let is_word = ends_word && (out.is_empty() || out.ends_with([' ', '\t']));
        let vanishes =
            || expand(OsStr::new(unit), &environment()).is_ok_and(|value| value.vanished);
        match unit {
            "'" | "\"" if quote.is_none() => quote = Some(unit),
            _ if quote == Some(unit) => quote = None,
            _ => {}
        }
        let bare = quote.is_none() && is_reference(unit.as_bytes()) && !(is_word && vanishes());
        let around = if bare { "\"" } else { "" };
        out.extend([around, unit, around]);
        rest = after;
    }
    out
}

#[test]
fn a_command_that_is_one_expansion_is_split_after_it() {
    let table: [(&str, &[&[&str]]); 8] = [
        ("${UNSET:-a b && c 'd e'}", &[&["a", "b"], &["c", "d e"]]),
        ("${A}", &[&["a", "b"]]),
        ("  ${UNSET:-a ${B}} ", &[&["a", "-v"]]),
        ("${UNSET:-}", &[]),
        ("${A:+a \"${RAW}\"}", &[]),
        ("a ${UNSET:-} \"${UNSET:-}\" ''", &[&["a", "", ""]]),
        ("a ${UNSET:-}${UNSET:-}", &[&["a", ""]]),
        (
            "a '${A}' \\${A} \"\\${A}\" $${A} ${RAW}",
            &[&["a", "${A}", "${A}", "${A}", "${A}", "${A} 'x\" * \\ $"]],
        ),
    ];
    for (text, expected) in table {
        let typed = typed(text);
        let environment = environment();
        let chains = Settings::new(&typed, &environment).commands(Opt::Migrate);
        if text.contains("RAW}\"") {
            // The value that came in has an open quote.
            assert!(chains.is_err(), "{text}");
            continue;
        }
        let expected: Vec<Vec<OsString>> = expected
            .iter()
            .map(|command| {
                command
                    .iter()
                    .map(|word| OsStr::from_bytes(word.as_bytes()).into())
                    .collect()
            })
            .collect();
        assert_eq!(chains.unwrap().concat(), expected, "{text}");
    }
}
