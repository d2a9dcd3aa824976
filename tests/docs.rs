//! README and docs: every link leads somewhere, every page is found, and the lines to paste are ones that portero
//! takes. Options, variables and messages in them are held to the source by src/cli/tests.rs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Run, portero};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn docs() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs")).unwrap();
    let pages = entries.map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let mut pages: Vec<_> = pages.collect();
    pages.sort();
    assert!(pages.len() >= 10, "{pages:?}");
    pages
}

fn pages() -> Vec<PathBuf> {
    let others = ["README.md", "CHANGELOG.md"];
    let mut pages: Vec<_> = others.iter().map(|name| root().join(name)).collect();
    pages.extend(docs());
    pages
}

/// The lines that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    })
}

/// The blocks of code in that language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let parts: Vec<_> = text.split("```").skip(1).step_by(2).collect();
    let heading = format!("{language}\n");
    let of_language = parts.iter().filter_map(|part| part.strip_prefix(&heading));
    of_language.collect()
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars();
    let kept = kept.filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = prose(&text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// The targets of the links, those in code left out.
fn links(text: &str) -> Vec<&str> {
    let outside = |line| str::split(line, '`').step_by(2).collect::<Vec<_>>();
    let parts = prose(text).flat_map(outside);
    let targets = parts.flat_map(|part| part.split("](").skip(1));
    targets.filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let (mut count, mut dead) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        // A link's text may be code, and its target is none.
        for link in links(&text.replace("[`", "[").replace("`](", "](")) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            if !target.exists() || !heading.is_empty() && !anchors(&target).contains(heading) {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert_eq!(dead, Vec::<String>::new());
    assert!(count > 80, "{count}");
}

#[test]
fn the_readme_is_short_and_its_first_screen_leads_to_every_page() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 200, "{}", readme.lines().count());
    let (first, _) = readme.split_once("\n## ").unwrap();
    assert!(first.lines().count() <= 40, "{}", first.lines().count());
    for page in docs() {
        let name = page.strip_prefix(root()).unwrap().to_str().unwrap();
        let leads = |link: &&str| link.split('#').next() == Some(name);
        assert!(links(first).iter().any(leads), "{name}");
    }
}

#[test]
fn lines_have_120_columns_at_most_but_in_tables() {
    for page in docs()
        .into_iter()
        .chain(["README.md", "CHANGELOG.md"].map(|page| root().join(page)))
    {
        let text = fs::read_to_string(&page).unwrap();
        for (number, line) in text.lines().enumerate() {
            let fits = line.starts_with('|') || line.chars().count() <= 120;
            assert!(fits, "{}:{}: {line}", page.display(), number + 1);
        }
    }
}

/// A line of the shell, with portero by its path in `$0`, which must be a plan that portero takes.
#[track_caller]
fn assert_is_taken(line: &str, arguments: &[String]) {
    let run = Run::program("/bin/sh").args(["-c", line]).arg(portero());
    let run = run
        .args(arguments)
        .env("DATABASE_URL", "postgres://app:secret@db/app")
        .env("DIRECT_URL", "postgres://app:secret@db/app")
        .env("REDIS_URL", "redis://cache:6379")
        .env("PORT", "8000")
        .env("DB_PASSWORD", "secret")
        .env("API_KEY", "secret");
    let finished = run.finish();
    finished.assert_exit(0).assert_stderr("");
    let said = ["command: ", "exec: ", "wait: ", "migrate: ", "probe: "];
    let is_plan = said.iter().any(|start| finished.stdout.contains(start));
    assert!(is_plan, "{line}: no plan{finished}");
}

/// A line of portero's as the pages show it, as one of the shell; none for what is no line.
fn dry_run(shown: &str) -> Option<String> {
    let stage = ["wait", "migrate", "healthcheck"]
        .into_iter()
        .find_map(|name| {
            let rest = shown.strip_prefix("portero ")?.strip_prefix(name)?;
            Some(format!("\"$0\" {name} --dry-run{rest}"))
        });
    let options = shown.strip_prefix("portero ").unwrap_or(shown);
    let is_options = options.starts_with('-') && options.len() > 1;
    let command = if options.contains("-- ") {
        ""
    } else {
        " -- CMD"
    };
    let run = is_options.then(|| format!("\"$0\" --dry-run {options}{command}"));
    stage.or(run)
}

#[test]
fn what_stands_for_lines_of_other_tools_is_taken_by_portero() {
    let text = fs::read_to_string(root().join("docs/coming-from.md")).unwrap();
    let mut count = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        // A bar in a cell has a backslash before it.
        let row = row.strip_suffix(" |").unwrap();
        let cell = row.rsplit_once(" | ").unwrap().1;
        for shown in cell.split('`').skip(1).step_by(2) {
            if let Some(line) = dry_run(shown) {
                assert_is_taken(&line, &[]);
                count += 1;
            }
        }
    }
    assert!(count > 60, "{count}");
}

/// The words of `["a", "b"]`.
fn exec_form(text: &str) -> Vec<String> {
    let inner = text
        .trim()
        .strip_prefix("[\"")
        .and_then(|text| text.strip_suffix("\"]"));
    let inner = inner.unwrap_or_else(|| panic!("{text} is not the exec form"));
    inner.split("\", \"").map(str::to_owned).collect()
}

#[test]
fn the_images_of_the_pages_start_and_check_with_lines_that_portero_takes() {
    let (mut starts, mut checks) = (0, 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text, "dockerfile") {
            let block = block.replace("\\\n", "");
            // What ENV says is what the shell's export says, down to the backslash before a dollar.
            let sets = |line: &str| Some(format!("export {};", line.strip_prefix("ENV ")?));
            let environment: String = block.lines().filter_map(sets).collect();
            let of = |word: &str| block.lines().find_map(|line| line.strip_prefix(word));
            if let Some(check) = block.lines().find(|line| line.starts_with("HEALTHCHECK ")) {
                let words = exec_form(check.split_once("CMD ").unwrap().1);
                assert_eq!(words[..2], ["/portero", "healthcheck"], "{block}");
                let line = format!("{environment} exec \"$0\" healthcheck --dry-run \"$@\"");
                assert_is_taken(&line, &words[2..]);
                checks += 1;
            }
            if let Some(entry) = of("ENTRYPOINT ") {
                let mut words = exec_form(entry);
                assert_eq!(words.remove(0), "/portero", "{block}");
                words.extend(exec_form(of("CMD ").unwrap_or("[\"true\"]")));
                let line = format!("{environment} exec \"$0\" --dry-run \"$@\"");
                assert_is_taken(&line, &words);
                starts += 1;
            }
        }
    }
    assert!(starts >= 8 && checks >= 6, "{starts} {checks}");
}
