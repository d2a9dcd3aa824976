//! Line ends of Windows, white space, quotes and byte order marks in every variable and every list that portero reads:
//! what an editor, an `.env` file or a here-document has left there; and names of any length.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::collections::BTreeSet;

use common::{Ended, Finished, Run};

/// The four commands, each with what a dry run of it needs.
const MODES: [&[&str]; 4] = [
    &["--dry-run", "--", "true"],
    &["wait", "--dry-run"],
    &["migrate", "--dry-run"],
    &["healthcheck", "--dry-run"],
];

/// For each variable what it may hold: one value, or a list of two.
const SAMPLES: &[(&str, &[&str])] = &[
    ("PORTERO_SECRET", &["TOKEN", "OTHER"]),
    ("PORTERO_DEFAULT_PORT", &["8000"]),
    ("PORTERO_DEFAULT", &["A=1", "B=two words"]),
    ("PORTERO_EXPAND_ARGS", &["yes"]),
    ("PORTERO_USER", &["1234:2345"]),
    ("PORTERO_MKDIR", &["/tmp/a", "/tmp/b"]),
    ("PORTERO_CHOWN", &["/tmp/a", "/tmp/b"]),
    ("PORTERO_KEEP_CAP", &["net_bind_service", "net_raw"]),
    ("PORTERO_ALLOW_NEW_PRIVILEGES", &["1"]),
    ("PORTERO_REQUIRE_NON_ROOT", &["true"]),
    ("PORTERO_UMASK", &["027"]),
    ("PORTERO_WAIT", &["file:///proc", "tcp://b:2"]),
    ("PORTERO_DATABASE", &["postgres://app@other/x"]),
    ("PORTERO_WAIT_TIMEOUT", &["7s"]),
    ("PORTERO_WAIT_MAX_INTERVAL", &["7s"]),
    ("PORTERO_CA_CERT", &["/etc/ca.pem"]),
    ("PORTERO_INSECURE", &["on"]),
    ("PORTERO_ONLY_FOR", &["true", "false"]),
    ("PORTERO_SKIP", &["wait", "migrate"]),
    ("PORTERO_MIGRATE", &["echo one", "echo 'two three' && true"]),
    ("PORTERO_MIGRATE_ONCE", &["v1.2.3"]),
    ("PORTERO_MIGRATE_TABLE", &["own.done"]),
    ("PORTERO_LOCK_NAME", &["another"]),
    ("PORTERO_LOCK_TIMEOUT", &["7s"]),
    ("PORTERO_NO_LOCK", &["yes"]),
    ("PORTERO_PREPARE", &["echo one", "echo two"]),
    ("PORTERO_SIGNAL_GROUP", &["yes"]),
    ("PORTERO_MAP_SIGNAL", &["TERM=QUIT", "HUP="]),
    ("PORTERO_MAP_EXIT", &["143=0", "1=2"]),
    ("PORTERO_STOP_DELAY", &["7s"]),
    ("PORTERO_STOP_TIMEOUT", &["7s"]),
    ("PORTERO_ORPHAN_GRACE", &["7s"]),
    ("PORTERO_PROGRAM", &["echo 'two three'"]),
    ("PORTERO_EXEC", &["yes"]),
    ("PORTERO_LOG_LEVEL", &["debug"]),
    ("PORTERO_LOG_FORMAT", &["json"]),
    (
        "PORTERO_HEALTH_TARGET",
        &["http://127.0.0.1:1/a", "tcp://b:2"],
    ),
    ("PORTERO_HEALTH_PORT", &["9000"]),
    ("PORTERO_HEALTH_PATH", &["/ready"]),
    ("PORTERO_HEALTH_TIMEOUT", &["7s"]),
    ("PORTERO_HEALTH_STATUS", &["200", "404"]),
    ("PORTERO_HEALTH_METHOD", &["HEAD"]),
    ("PORTERO_HEALTH_HEADER", &["X-A: 1", "X-B: two words"]),
    ("PORTERO_HEALTH_CONTAINS", &["ok"]),
    ("PORTERO_HEALTH_CA_CERT", &["/etc/ca.pem"]),
    ("PORTERO_HEALTH_INSECURE", &["on"]),
    ("PORTERO_HEALTH_LIVE", &["on"]),
];

fn dry_run(mode: &[&str], with: impl FnOnce(Run) -> Run) -> Finished {
    let run = Run::portero()
        .env("PORTERO_DATABASE", "postgres://app@db/x")
        .env("PORTERO_MIGRATE", "true")
        .env("PORTERO_USER", "1000:1000")
        .env("PORTERO_HEALTH_TARGET", "http://127.0.0.1:8000/health")
        .env("TOKEN", "hush");
    with(run).args(mode).finish()
}

/// The variables of a command, by its own help.
fn variables(mode: &[&str]) -> BTreeSet<String> {
    let subcommand = mode.first().filter(|word| !word.starts_with('-'));
    let help = Run::portero().args(subcommand).arg("--help").finish();
    let parts = help.stdout.split("[env: ").skip(1);
    parts
        .map(|part| part.split(']').next().unwrap().to_owned())
        .collect()
}

/// What a value is, once as it should be and then as Windows would have left it.
fn forms(items: &[&str]) -> [String; 4] {
    let lines = items.join("\r\n");
    let around = if items.len() == 1 {
        format!(" \t{lines} \r\n\r\n")
    } else {
        format!("\r\n{}\r\n", items.join("\r\n\r\n"))
    };
    [
        items.join("\n"),
        format!("{lines}\r"),
        format!("{lines}\r\n"),
        around,
    ]
}

/// For each command and each of its variables what `check` says is wrong.
fn over_all(check: impl Fn(&[&str], &str, &[&str]) -> Vec<String>) {
    let mut wrong = Vec::new();
    for mode in MODES {
        let mut names = variables(mode);
        assert!(names.len() > 10, "{names:?}");
        if mode[0] == "healthcheck" {
            names.insert("PORTERO_HEALTH_TARGET".into());
        }
        for name in names {
            let sample = SAMPLES.iter().find(|(known, _)| *known == name);
            let (_, items) = sample.unwrap_or_else(|| panic!("{name} needs a sample in this file"));
            wrong.extend(check(mode, &name, items));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn line_ends_of_windows_do_no_harm_in_any_variable() {
    over_all(|mode, name, items| {
        let [plain, others @ ..] =
            forms(items).map(|value| dry_run(mode, |run| run.env(name, value)));
        plain.assert_exit(0);
        let same = |other: &Finished| {
            (other.ended, &other.stdout, &other.stderr)
                == (plain.ended, &plain.stdout, &plain.stderr)
        };
        let others = others.iter().filter(|other| !same(other));
        others.map(|other| format!("{plain}{other}")).collect()
    });
}

#[test]
fn line_ends_of_windows_do_no_harm_in_any_list_of_the_command_line() {
    over_all(|mode, name, items| {
        let option = name
            .trim_start_matches("PORTERO_")
            .trim_start_matches("HEALTH_");
        let option = format!("--{}", option.replace('_', "-").to_ascii_lowercase());
        if items.len() == 1 || option == "--target" {
            return Vec::new();
        }
        let at = usize::from(mode[0] != "--dry-run");
        let given = |value: String| {
            let (before, after) = mode.split_at(at);
            let words = [before, &[&option, &value], after].concat();
            dry_run(&words, |run| run)
        };
        let [plain, others @ ..] = forms(items).map(given);
        plain.assert_exit(0);
        let others = others
            .iter()
            .filter(|other| (other.ended, &other.stdout) != (plain.ended, &plain.stdout));
        others.map(|other| format!("{plain}{other}")).collect()
    });
}

/// The lists that split at white space.
const WORDS: [&str; 9] = [
    "PORTERO_SECRET",
    "PORTERO_MKDIR",
    "PORTERO_CHOWN",
    "PORTERO_KEEP_CAP",
    "PORTERO_WAIT",
    "PORTERO_ONLY_FOR",
    "PORTERO_MAP_SIGNAL",
    "PORTERO_MAP_EXIT",
    "PORTERO_HEALTH_TARGET",
];

#[test]
fn quotes_around_an_item_are_none_of_it_in_every_list_that_splits_at_white_space() {
    over_all(|mode, name, items| {
        if !WORDS.contains(&name) {
            return Vec::new();
        }
        let quoted = format!("\"{}\"\t'{}'\n", items[0], items[1]);
        let [plain, others @ ..] = [
            items.join(" "),
            quoted,
            format!("'{}' {}", items[0], items[1]),
        ]
        .map(|value| dry_run(mode, |run| run.env(name, value)));
        plain.assert_exit(0);
        let others = others
            .iter()
            .filter(|other| (&other.stdout, &other.stderr) != (&plain.stdout, &plain.stderr));
        others.map(|other| format!("{plain}{other}")).collect()
    });
}

#[test]
fn white_space_in_quotes_splits_no_path_and_no_target() {
    let lists = [
        (
            "--chown",
            "'/srv/my data' \"/it's\" /o'clock",
            ["/srv/my data", "/it's", "/o'clock"],
        ),
        (
            "--wait",
            "\"file:///my data\" tcp://b:2 file:///o'clock",
            ["file:///my data", "b:2", "file:///o'clock"],
        ),
    ];
    for (option, list, items) in lists {
        let variable = format!("PORTERO_{}", &option[2..].to_ascii_uppercase());
        let runs = [
            dry_run(&[option, list, "--dry-run", "--", "true"], |run| run),
            dry_run(&["--dry-run", "--", "true"], |run| run.env(variable, list)),
        ];
        for finished in runs {
            for item in items {
                let line = format!("\n{}: {item}", &option[2..]);
                assert!(
                    finished.stdout.contains(&line),
                    "{item} is missing{finished}"
                );
            }
        }
    }
}

#[test]
fn a_name_of_any_length_makes_no_long_line() {
    let long = "x".repeat(100_000);
    let (path, variable) = (format!("/{long}"), format!("PORTERO_{long}"));
    let (file, url) = (
        format!("file://{path}"),
        format!("http://127.0.0.1:1{}", &path[..60_000]),
    );
    let (secret, default) = (format!("{long}\r"), format!("{long}=1"));
    let lines: &[&[&str]] = &[
        &["--", &long],
        &["--", &path],
        &["--exec", "--", &path],
        &["migrate", "--no-lock", "--", &long],
        &["--no-lock", "--migrate", &long, "--", "true"],
        &[
            "--no-lock",
            "--migrate",
            "true",
            "--only-for",
            "y",
            "--",
            &long,
        ],
        &["wait", "--wait-timeout", "10ms", &file],
        &["wait", "--wait-timeout", "10ms", &url],
        &["wait", &long],
        &["wait", "--ca-cert", &path, "https://127.0.0.1:1"],
        &["--database", &long, "--", "true"],
        &["--user", &long, "--", "true"],
        &["--user", "1:1", "--chown", &path, "--", "true"],
        &["--user", "1:1", "--keep-cap", &long, "--", "true"],
        &["--default-port", &secret, "--", "true"],
        &["--default", &long, "--", "true"],
        &[
            "--default",
            &default,
            "--migrate",
            "${y}",
            "--no-lock",
            "--",
            &long,
        ],
        &["--map-signal", &long, "--", "true"],
        &["--map-exit", &long, "--", "true"],
        &["--skip", &long, "--", "true"],
        &["--log-level", &long, "--", "true"],
        &["--wait-timeout", &long, "--", "true"],
        &[&format!("--{long}"), "--", "true"],
        &["--secret", &long, "--", "true"],
    ];
    let mut wrong = Vec::new();
    for line in lines {
        for format in ["text", "json"] {
            let finished = Run::portero()
                .env("PORTERO_LOG_FORMAT", format)
                .env(&variable, "1")
                .env("X", "1")
                .args(*line)
                .finish();
            let longest = finished
                .stderr
                .lines()
                .map(str::len)
                .max()
                .unwrap_or_default();
            if longest > 1500 || finished.stderr.is_empty() {
                let line: Vec<_> = line
                    .iter()
                    .map(|word| &word[..word.len().min(30)])
                    .collect();
                let head = finished.stderr.get(..200).unwrap_or_default();
                wrong.push(format!("{line:?}: {longest} bytes, {head}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_byte_order_mark_is_never_printed_and_called_so_where_it_is_in_the_way() {
    over_all(|mode, name, items| {
        let finished = dry_run(mode, |run| {
            run.env(name, format!("\u{feff}{}", items.join("\n")))
        });
        let printed = finished.stdout.contains('\u{feff}') || finished.stderr.contains('\u{feff}');
        let named = finished
            .stderr
            .contains("(it begins with a byte order mark)");
        let in_the_way = finished.ended != Ended::Code(0);
        // What may hold a password is not shown at all, or escaped; a target is told by its form.
        let is_target =
            name.ends_with("_DATABASE") || name.ends_with("_WAIT") || name.ends_with("_TARGET");
        let wrong = printed || in_the_way && !named && !is_target;
        wrong.then(|| finished.to_string()).into_iter().collect()
    });
}
