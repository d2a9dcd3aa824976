//! portero(1), made from what `--help` is made from, and compared with `portero.1` beside this file.
//! `PORTERO_WRITE=1 cargo test --bin portero manual` writes it anew.

use std::fmt::Write;

use super::*;

const MODES: [Mode; 4] = [Mode::Run, Mode::Wait, Mode::Migrate, Mode::Healthcheck];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "Run a server on the platform's PORT, or on 8000:",
        "portero --default-port 8000 --expand-args -- uvicorn main:app --port '${PORT}'",
    ),
    (
        "Wait for the database in the variable DATABASE_URL, migrate once at a time, start:",
        "portero --database DATABASE_URL --migrate 'alembic upgrade head' -- uvicorn main:app",
    ),
    (
        "Wait for two minutes at most:",
        "portero wait --wait-timeout 2m DATABASE_URL cache:6379 http://models:11434/api/tags",
    ),
    (
        "Ask a server on port 8000 once:",
        "portero healthcheck --port 8000 --path /healthz",
    ),
];

/// `text` as roff shows it to the letter, in one line: a hyphen as it can be searched for and copied, and no request
/// where a line begins with a dot or a quote.
fn plain(text: &str) -> String {
    let mut out = String::new();
    if text.starts_with(['.', '\'']) {
        out.push_str("\\&");
    }
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '`' => out.push_str("\\(ga"),
            '…' => out.push_str("..."),
            letter => {
                assert!(letter.is_ascii() && letter != '\n', "{letter:?} in {text}");
                out.push(letter);
            }
        }
    }
    out
}

/// The commands that take an option, in words.
fn takers(option: &OptionSpec) -> String {
    let names: Vec<&str> = MODES
        .into_iter()
        .filter(|mode| option.is_of(*mode))
        .map(|mode| mode.name().strip_prefix("portero ").unwrap_or("run"))
        .collect();
    if names.len() == MODES.len() {
        return String::from("all commands");
    }
    names.join(", ")
}

fn option(page: &mut String, option: &OptionSpec) {
    let name = plain(&option.typed_name());
    let _ = write!(page, ".TP\n\\fB{name}\\fR");
    if !option.value_name.is_empty() {
        let _ = write!(page, " \\fI{}\\fR", plain(option.value_name));
    }
    let _ = write!(page, "\n{}.\n.br\n", plain(option.help));
    let mut facts = vec![takers(option)];
    if !option.default.is_empty() {
        facts.push(format!("default \\fB{}\\fR", plain(option.default)));
    }
    if option.has_variable() {
        facts.push(format!("variable \\fB{}\\fR", plain(&option.variable())));
    }
    let _ = writeln!(page, "({})", facts.join("; "));
}

/// The options, each once, under the headings of the first command that takes it.
fn options(page: &mut String) {
    let mut heading = "";
    for row in OPTIONS {
        let mode = MODES.into_iter().find(|mode| row.is_of(*mode));
        let under = mode.map_or("", |mode| row.heading(mode));
        if under != heading {
            heading = under;
            let _ = writeln!(page, ".SS {heading}");
        }
        option(page, row);
    }
}

/// A list of exit codes as `--help` has it: a title, then lines of a code and its meaning.
fn exit_codes(page: &mut String, title: &str, list: &str) {
    let _ = writeln!(page, "{title}");
    for line in list.lines().skip(1) {
        let (code, meaning) = line.trim().split_once("  ").expect("a code, a meaning");
        let _ = writeln!(page, ".TP\n\\fB{code}\\fR\n{}", plain(meaning.trim()));
    }
}

fn render() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".\\\" Made from src/cli/options.rs: PORTERO_WRITE=1 cargo test --bin portero manual\n\
         .TH PORTERO 1 \"\" \"portero {version}\" \"User Commands\"\n\
         .SH NAME\nportero \\- init, wait, migrate and health check of a container image\n\
         .SH SYNOPSIS\n.nf\n"
    );
    for usage in Mode::Run.usage().lines() {
        let _ = writeln!(page, "{}", plain(usage.trim()));
    }
    page.push_str(".fi\n.SH DESCRIPTION\n");
    for mode in MODES {
        let (name, about) = (plain(mode.name()), plain(mode.about()));
        let _ = writeln!(page, ".TP\n\\fB{name}\\fR\n{about}.");
    }
    let _ = writeln!(
        page,
        ".PP\nA \\fITARGET\\fR is {}.\n\
         .PP\nEach option can be set by its variable, too; the command line wins, and an empty variable counts as not \
         given. Durations: 250ms, 5s, 2m, 1h, 1m30s, a bare number of seconds, or none.\n\
         .SH OPTIONS",
        plain(&target_help())
    );
    options(&mut page);
    page.push_str(".SH EXIT STATUS\n");
    let title = "Of \\fBportero\\fR, \\fBportero wait\\fR and \\fBportero migrate\\fR:";
    exit_codes(&mut page, title, EXIT_CODES);
    page.push_str(".PP\n");
    exit_codes(
        &mut page,
        "Of \\fBportero healthcheck\\fR:",
        HEALTH_EXIT_CODES,
    );
    page.push_str(".SH EXAMPLES\n");
    for (what, line) in EXAMPLES {
        let _ = writeln!(page, ".TP\n{}\n.nf\n{}\n.fi", plain(what), plain(line));
    }
    page.push_str(".SH SEE ALSO\n.BR docker (1),\n.BR signal (7),\n.BR capabilities (7)\n");
    page
}

#[test]
fn the_manual_is_what_the_table_of_options_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/portero.1");
    let rendered = render();
    if std::env::var_os("PORTERO_WRITE").is_some() {
        std::fs::write(path, &rendered).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == rendered,
        "{path} is not what src/cli/options.rs says now: write it anew with PORTERO_WRITE=1"
    );
}

#[test]
fn every_example_of_the_manual_is_a_line_that_portero_takes() {
    for (_, line) in EXAMPLES {
        let words: Vec<OsString> = line
            .replace("'alembic upgrade head'", "alembic")
            .split_whitespace()
            .skip(1)
            .map(OsString::from)
            .collect();
        assert!(matches!(parse(&words), Ok(Asked::Work(_))), "{line}");
    }
}
