use std::path::Path;

use super::*;

fn typed(line: &str) -> Result<Asked, Failure> {
    let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    parse(&arguments)
}

fn work(line: &str) -> Typed {
    match typed(line) {
        Ok(Asked::Work(typed)) => typed,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn option_parsing_stops_at_the_command() {
    let run = work("--default-port 8000 uvicorn --help -q --nope -- x");
    assert_eq!(run.mode, Mode::Run);
    assert_eq!(run.values(Opt::DefaultPort), ["8000"]);
    assert_eq!(
        run.operands,
        ["uvicorn", "--help", "-q", "--nope", "--", "x"]
    );
}

#[test]
fn a_subcommand_is_recognised_as_the_very_first_argument_only() {
    assert_eq!(work("wait db:5432").mode, Mode::Wait);
    assert_eq!(work("-- wait db:5432").operands, ["wait", "db:5432"]);
    assert_eq!(work("-q -- wait db:5432").operands, ["wait", "db:5432"]);
    for line in [
        "-q wait db:5432",
        "--default-port 80 migrate",
        "-v healthcheck",
    ] {
        let message = typed(line)
            .err()
            .unwrap_or_else(|| panic!("{line}"))
            .message;
        let start = "the subcommand comes first: portero ";
        assert!(message.starts_with(start), "{line}: {message}");
    }
    assert_eq!(work("-q echo wait").operands, ["echo", "wait"]);
}

#[test]
fn a_line_without_options_is_what_clap_makes_of_it() {
    let lines = [
        "",
        "true",
        "uvicorn main:app --port -- -x",
        "-- true",
        "-- -- --nope",
        "wait",
        "wait db:5432 NAME",
        "migrate",
        "migrate alembic upgrade head --sql",
        "migrate -- alembic --help",
        "healthcheck",
        "healthcheck http://localhost/ file:///x",
    ];
    for line in lines {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let (mode, arguments) = Mode::of(&words);
        let program = OsString::from(mode.name());
        let line_of = std::iter::once(&program).chain(arguments);
        let matches = command(mode, Texts::Left).try_get_matches_from(line_of);
        let mut matches = matches.unwrap_or_else(|error| panic!("{line}: {error}"));
        let read: Vec<OsString> = matches.remove_many(OPERANDS).unwrap_or_default().collect();
        assert_eq!(plain_operands(mode, arguments), Some(&read[..]), "{line}");
    }
}

#[test]
fn lists_gather_and_single_values_take_the_last() {
    let run = work("--wait a:1 --wait b:2 --wait-timeout 1s --wait-timeout 2s -- true");
    assert_eq!(run.values(Opt::Wait), ["a:1", "b:2"]);
    assert_eq!(run.values(Opt::WaitTimeout).last().unwrap(), "2s");
}

/// What a shell makes of `--wait "$UNSET"` must not start anything without the wait.
#[test]
fn a_value_that_is_typed_as_nothing_is_a_usage_error_for_every_option_that_takes_one() {
    let refused = |mode: Mode, rest: &[&str]| {
        let subcommand = mode.name().strip_prefix("portero ");
        let line = subcommand.iter().chain(rest).map(OsString::from);
        match parse(&line.collect::<Vec<_>>()) {
            Err(failure) => failure.message,
            Ok(asked) => panic!("{mode:?} {rest:?}: {asked:?}"),
        }
    };
    let mut count = 0;
    for mode in [Mode::Run, Mode::Wait, Mode::Migrate, Mode::Healthcheck] {
        for option in options_of(mode).filter(|option| option.kind != ValueKind::Switch) {
            let name = option.typed_name();
            let message = format!("{name}: it is empty: give it a value, or leave it out");
            let mut nothings = vec![""];
            if let ValueKind::List(split) = option.kind {
                nothings.extend([" ", "\n\r\n\t"]);
                nothings.extend((split == Split::Commas).then_some(" , "));
            }
            for nothing in nothings {
                assert_eq!(refused(mode, &[&name, nothing, "--", "x"]), message);
            }
            assert_eq!(refused(mode, &[&format!("{name}="), "--", "x"]), message);
            // Beside others of a list, too.
            if option.kind != ValueKind::Value {
                assert_eq!(refused(mode, &[&name, "x", &name, "", "--", "x"]), message);
            }
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
    for mode in [Mode::Wait, Mode::Healthcheck] {
        for operands in [&[""][..], &["db:5432", ""], &["--", " ", "db:5432"]] {
            let message = "TARGET: it is empty: give it a value, or leave it out";
            assert_eq!(refused(mode, operands), message);
        }
    }
}

#[test]
fn a_usage_error_is_one_line_and_repeats_no_value() {
    let lines = [
        (
            "--nope -- true",
            "unknown option '--nope'; if it is COMMAND's, -- is missing before COMMAND (see 'portero --help')",
        ),
        (
            "--nope=secret -- true",
            "unknown option '--nope'; if it is COMMAND's, -- is missing before COMMAND (see 'portero --help')",
        ),
        (
            "--exec=secret -- true",
            "option '--exec' takes no value (see 'portero --help')",
        ),
        (
            "wait --wait-timeout",
            "option '--wait-timeout' needs a value (see 'portero wait --help')",
        ),
        (
            "healthcheck --migrate x",
            "unknown option '--migrate' (see 'portero healthcheck --help')",
        ),
    ];
    for (line, message) in lines {
        assert_eq!(typed(line), Err(Failure::failed(message)), "{line}");
    }
}

#[test]
fn clap_accepts_every_command_and_help_shows_every_option_with_its_variable() {
    for mode in [Mode::Run, Mode::Wait, Mode::Migrate, Mode::Healthcheck] {
        command(mode, Texts::Given).debug_assert();
        let help = command(mode, Texts::Given).render_long_help().to_string();
        for option in options_of(mode) {
            assert!(
                help.contains(&option.typed_name()),
                "{mode:?} {}",
                option.long
            );
            if option.has_variable() {
                assert!(
                    help.contains(&option.variable()),
                    "{mode:?} {}",
                    option.variable()
                );
            }
        }
    }
}

#[test]
fn the_readme_names_every_option_variable_default_and_exit_code() {
    let readme = include_str!("../../README.md");
    for option in OPTIONS {
        assert!(
            readme.contains(&option.typed_name()),
            "{}",
            option.typed_name()
        );
        if option.has_variable() {
            assert!(
                readme.contains(&format!("`{}`", option.variable())),
                "{}",
                option.variable()
            );
        }
        let row = readme
            .lines()
            .find(|line| line.contains(&format!("`{}`", option.variable())));
        let shown = row.is_none_or(|row| row.contains(&format!("`{}`", option.default)));
        assert!(
            option.default.is_empty() || shown,
            "--{}: {}",
            option.long,
            option.default
        );
    }
    for code in ["124", "125", "126 / 127"] {
        assert!(readme.contains(&format!("| {code} |")), "{code}");
    }
}

#[test]
fn the_readme_and_the_example_name_no_variable_that_is_not_ours() {
    let texts = [
        include_str!("../../README.md"),
        include_str!("../../Dockerfile.example"),
    ];
    // The operands of the health check, two of the tests' own, and the family.
    let others = [
        "PORTERO_HEALTH_TARGET",
        "PORTERO_SOAK",
        "PORTERO_WRITE",
        "PORTERO_",
    ];
    for text in texts {
        for (at, _) in text.match_indices("PORTERO_") {
            let name = text[at..].split(|c: char| !c.is_ascii_uppercase() && c != '_');
            let name = name.into_iter().next().unwrap_or_default();
            let is_option = OPTIONS
                .iter()
                .any(|option| option.is_set_by(OsStr::new(name)));
            assert!(is_option || others.contains(&name), "{name}");
        }
    }
}

/// The sources without their tests, each text that goes on in a next line in one line.
fn sources(directory: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            all += &sources(&path);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            all += &std::fs::read_to_string(path).unwrap();
        }
    }
    let mut lines = all.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |joined, line| joined + line.trim_start())
}

#[test]
fn every_message_under_troubleshooting_is_one_of_portero_or_of_the_server() {
    let readme = include_str!("../../README.md");
    let (_, after) = readme.split_once("\n## Troubleshooting\n").unwrap();
    let (tables, _) = after.split_once("\n## ").unwrap();
    let source = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    // A server's own words come with its SQLSTATE. Of portero's, some come out of a format: three in a row are
    // enough, two of a short one. A status is a format and no word of its own.
    let is_state = |word: &str| word.len() == 7 && word.starts_with('(') && word.ends_with(')');
    let (mut count, mut unknown) = (0, Vec::new());
    for row in tables.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap();
        for message in cell.split('`').skip(1).step_by(2) {
            let words: Vec<&str> = message.split(' ').collect();
            let enough = if words.len() < 6 { 2 } else { 3 };
            let is_own = words
                .windows(enough)
                .any(|row| source.contains(&row.join(" ")));
            let is_server = words.iter().any(|word| is_state(word));
            if !is_own && !is_server && message != "unhealthy: GET …: status 404" {
                unknown.push(message);
            }
            count += 1;
        }
    }
    assert_eq!(unknown, Vec::<&str>::new());
    assert!(count > 40, "{count}");
}
