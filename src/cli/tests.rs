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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// README, the example, and all of docs: each name with its text.
fn pages() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(root().join("docs")).unwrap();
    let docs = entries.map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let others = ["README.md", "Dockerfile.example"].map(|name| root().join(name));
    let named = |path: std::path::PathBuf| (path.display().to_string(), read(&path));
    others.into_iter().chain(docs).map(named).collect()
}

/// What stands in `text` under a heading of the second level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, after) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    after.split("\n## ").next().unwrap_or(after)
}

#[test]
fn the_readmes_tables_have_every_option_variable_default_and_exit_code() {
    let readme = read("README.md");
    let table = section(&readme, "Options");
    for option in OPTIONS {
        let name = option.typed_name();
        let is_its_row = |line: &&str| {
            let names = line.split('`').skip(1).step_by(2);
            let is_named = names
                .map(|code| code.split(' ').next())
                .any(|word| word == Some(&name));
            let is_set =
                !option.has_variable() || line.contains(&format!("`{}`", option.variable()));
            line.starts_with("| `") && is_named && is_set
        };
        let row = table.lines().find(is_its_row);
        let row = row.unwrap_or_else(|| panic!("{name} with its variable has no row"));
        let default = format!("`{}`", option.default);
        assert!(option.default.is_empty() || row.contains(&default), "{row}");
    }
    for code in ["124", "125", "126 / 127"] {
        let row = format!("| {code} |");
        assert!(section(&readme, "Exit codes").contains(&row), "{code}");
    }
}

/// Options of others that the pages name.
const OPTIONS_OF_OTHERS: &[(&str, &str)] = &[
    (
        "docker, compose",
        "build-arg cap-add cap-drop compose-file cpus entrypoint env-file format init network platform read-only \
         rm security-opt target",
    ),
    ("Dockerfile", "chmod from interval start-period timeout"),
    (
        "cargo, rustup",
        "bench bin document-private-items features git locked no-default-features nocapture open release target-dir \
         test",
    ),
    (
        "cosign, gh",
        "bundle certificate-identity certificate-oidc-issuer repo",
    ),
    (
        "pip, python, servers",
        "app bind host key no-cache-dir noinput port",
    ),
    ("gcloud", "args command image set-env-vars set-secrets"),
    (
        "dumb-init, setpriv",
        "ambient-caps bounding-set no-new-privs rewrite single-child",
    ),
    (
        "wait-for-it, wait4x, PGlite",
        "expect-status-code max-connections strict",
    ),
    (
        "curl, wget",
        "ca-certificate cacert max-time no-check-certificate spider unix-socket",
    ),
    // Nobody's: what stands for any, and the one that is refused with what to do.
    ("", "x signal-child-only"),
];

#[test]
fn the_pages_name_no_option_that_is_neither_ours_nor_of_a_tool_that_they_speak_of() {
    let mut others: Vec<&str> = vec!["help", "version"];
    others.extend(
        OPTIONS_OF_OTHERS
            .iter()
            .flat_map(|(_, names)| names.split_whitespace()),
    );
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let mut unused: Vec<&str> = others.clone();
    for (page, text) in pages() {
        for (at, _) in text.match_indices("--") {
            let before = text[..at].chars().next_back();
            let name = text[at + 2..]
                .split(|c| !is_name(c))
                .next()
                .unwrap_or_default();
            // Not the rule of a table, the anchor of a heading, or what ends options.
            if before.is_some_and(|c| is_name(c) || c == '|' || c == ':')
                || !name.starts_with(|c: char| c.is_ascii_lowercase())
            {
                continue;
            }
            let ours = OPTIONS
                .iter()
                .any(|option| option.short.is_none() && option.long == name);
            assert!(ours || others.contains(&name), "{page}: --{name}");
            unused.retain(|other| *other != name);
        }
    }
    assert_eq!(unused, Vec::<&str>::new(), "no page names these");
}

#[test]
fn the_pages_name_no_variable_that_is_not_ours() {
    // The operands of the health check, what is looked up, the tests' own, what stands for any, and the families.
    let others = [
        "PORTERO_HEALTH_TARGET",
        "PORTERO_CPUS",
        "PORTERO_HERD",
        "PORTERO_SOAK",
        "PORTERO_UNDER_TEST",
        "PORTERO_WRITE",
        "PORTERO_X",
        "PORTERO_HEALTH_",
        "PORTERO_",
    ];
    for (page, text) in pages() {
        for (at, _) in text.match_indices("PORTERO_") {
            let name = text[at..].split(|c: char| !c.is_ascii_uppercase() && c != '_');
            let name = name.into_iter().next().unwrap_or_default();
            let is_option = OPTIONS
                .iter()
                .any(|option| option.is_set_by(OsStr::new(name)));
            assert!(is_option || others.contains(&name), "{page}: {name}");
        }
    }
}

/// The sources without tests and comments, each text that goes on in a next line in one line.
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
            let text = std::fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next();
            let is_code = |line: &&str| !line.trim_start().starts_with("//");
            let lines = code.unwrap_or_default().lines().filter(is_code);
            lines.for_each(|line| all.extend([line, "\n"]));
        }
    }
    let mut lines = all.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |joined, line| joined + line.trim_start())
}

/// Whether `part` of a message, which has nothing in it that differs but names and numbers, is in the source. Some come
/// out of a format: three words in a row are enough, two of a short one.
fn is_said(part: &str, source: &str) -> bool {
    let words: Vec<&str> = part.split_whitespace().collect();
    let enough = if words.len() < 6 { 2 } else { 3 };
    let number = |word: &str| {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() < word.len() {
            format!("{{}}{rest}")
        } else {
            word.to_owned()
        }
    };
    let has = |words: &[&str]| {
        let formats: Vec<String> = words.iter().map(|word| number(word)).collect();
        source.contains(&words.join(" ")) || source.contains(&formats.join(" "))
    };
    words.windows(enough).any(has)
}

#[test]
fn every_message_under_troubleshooting_is_one_of_portero_or_of_the_server() {
    let tables = read("docs/troubleshooting.md");
    let source = sources(&root().join("src"));
    // A server's own words come with its SQLSTATE, those of the system with its error.
    let is_state = |word: &str| word.len() == 7 && word.starts_with('(') && word.ends_with(')');
    let (mut count, mut unknown) = (0, Vec::new());
    for row in tables.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap();
        for message in cell.split('`').skip(1).step_by(2) {
            let is_server = message.split(' ').any(is_state);
            let long = |part: &&str| part.split_whitespace().count() > 2;
            let mut parts: Vec<&str> = message.split('…').filter(long).collect();
            if parts.is_empty() {
                parts.push(message);
            }
            if !is_server && !parts.iter().all(|part| is_said(part, &source)) {
                unknown.push(message);
            }
            count += 1;
        }
    }
    assert_eq!(unknown, Vec::<&str>::new());
    assert!(count > 180, "{count}");
}
