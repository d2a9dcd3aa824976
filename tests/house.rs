//! The house: rooms in an order, and no two files that need each other. Read from the `use` lines of `src`, and from
//! what stands in the code as `crate::…`; what only unit tests use does not count.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the top down, as main.rs' first page has them: a room may use those below it. On one line stand equals, which
/// may use each other's files as long as no circle comes of it.
const ROOMS: [&[&str]; 14] = [
    &["main"],
    &["run", "migrate", "wait", "healthcheck"],
    &["process"],
    &["plan"],
    &["variables"],
    &["identity"],
    &["probe"],
    &["supervise"],
    &["database"],
    &["settings"],
    &["environment"],
    &["net"],
    &["cli"],
    &[
        "logger",
        "files",
        "accounts",
        "procfs",
        "cgroup",
        "wording",
        "redaction",
        "exit",
        "features",
        "sys",
    ],
];

/// A module by its path below `crate`, as `net/tls`; main.rs is `main`.
type Module = String;

/// Which files each file uses.
type House = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn every_arrow_between_rooms_goes_down() {
    let mut upward = Vec::new();
    for (file, used) in house() {
        for other in used {
            if level(&other) < level(&file) {
                upward.push(format!("{file} uses {other}, which lies above it"));
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut house = house();
    // Whoever uses nothing that is left, or is used by nobody, is in no circle.
    loop {
        let used: BTreeSet<Module> = house.values().flatten().cloned().collect();
        let before = house.len();
        house.retain(|file, uses| used.contains(file) && !uses.is_empty());
        let left: BTreeSet<Module> = house.keys().cloned().collect();
        for uses in house.values_mut() {
            uses.retain(|file| left.contains(file));
        }
        if house.len() == before {
            break;
        }
    }
    assert!(house.is_empty(), "in circles, or between two: {house:#?}");
}

#[test]
fn the_first_page_shows_the_rooms() {
    let page = fs::read_to_string(source().join("main.rs")).unwrap();
    let mut rest = page.as_str();
    for room in ROOMS.iter().flat_map(|rooms| rooms.iter()).skip(1) {
        let at = rest.find(&format!("`{room}`"));
        let at = at.unwrap_or_else(|| panic!("{room} is not there, or not in its place"));
        rest = &rest[at..];
    }
}

#[test]
fn comments_have_120_columns_at_most_but_in_tables() {
    for room in ["src", "tests"] {
        for path in rust_files(&root().join(room)) {
            let text = fs::read_to_string(&path).unwrap();
            for (number, line) in text.lines().enumerate() {
                let comment = line.trim_start();
                let fits = !comment.starts_with("//")
                    || comment.starts_with("//! |")
                    || line.chars().count() <= 120;
                assert!(fits, "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn source_files_have_400_lines_at_most() {
    for path in rust_files(&source()) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        let is_of_tests = path.components().any(|part| part.as_os_str() == "tests");
        assert!(lines <= 400 || is_of_tests, "{}: {lines}", path.display());
    }
}

fn level(module: &str) -> usize {
    let room = module.split('/').next().unwrap();
    ROOMS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("{room} has no place in the list of rooms"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    root().join("src")
}

fn house() -> House {
    let files = files(&source());
    let mut house = House::new();
    for (module, text) in &files {
        let text = code(text);
        let mut used = BTreeSet::new();
        for path in paths(&text) {
            let target = absolute(&path, module, &files);
            used.extend(target.filter(|target| target != module));
        }
        house.insert(module.clone(), used);
    }
    assert!(house.len() > 100, "only {} files", house.len());
    house
}

/// Every file of `src` by its module, but those of tests.
fn files(directory: &Path) -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    for path in rust_files(directory) {
        let module = path.strip_prefix(directory).unwrap().with_extension("");
        let module = module.to_str().unwrap();
        let module = module.strip_suffix("/mod").unwrap_or(module).to_owned();
        if !module
            .split('/')
            .any(|part| ["tests", "testing", "properties"].contains(&part))
        {
            found.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
    found
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_path_buf()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The text without comments and without the unit tests, which stand at a file's end.
fn code(text: &str) -> String {
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub mod tests {"];
    let ends = tests.iter().filter_map(|tests| text.find(tests));
    let end = ends.min().unwrap_or(text.len());
    let lines = text[..end].lines();
    let lines = lines.map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// What `use` lines bring, each by its whole path, and every other `crate::…`.
fn paths(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let is_word = rest[..at].ends_with(|before: char| before.is_whitespace()) || at == 0;
        rest = &rest[at + 4..];
        if let Some(end) = rest.find(';').filter(|_| is_word) {
            expand("", &rest[..end], &mut paths);
        }
    }
    for (at, _) in text.match_indices("crate::") {
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let end = text[at..].find(|c| !is_path(c)).unwrap_or(text.len() - at);
        let path = &text[at..at + end];
        // What ends there is the beginning of a tree.
        if !path.ends_with("::") {
            paths.push(path.to_owned());
        }
    }
    paths
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, inner)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        return paths.push(format!("{prefix}{name}"));
    };
    let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&format!("{prefix}{head}"), &inner[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The file that a path leads to from `module`; none for what is of another crate.
fn absolute(path: &str, module: &str, files: &BTreeMap<Module, String>) -> Option<Module> {
    let mut parts: Vec<&str> = path.split("::").collect();
    let mut base: Vec<&str> = module.split('/').filter(|part| *part != "main").collect();
    match parts[0] {
        "crate" => base.clear(),
        "super" => {
            base.pop();
        }
        "self" => {}
        // A child's name, as the parent has it.
        child => {
            let child = [&base[..], &[child]].concat().join("/");
            files.get(&child)?;
            parts.insert(0, "self");
        }
    }
    base.extend(parts.iter().skip(1).skip_while(|part| **part == "super"));
    (0..=base.len()).rev().find_map(|length| {
        let file = base[..length].join("/");
        let file = if file.is_empty() {
            "main".to_owned()
        } else {
            file
        };
        files.contains_key(&file).then_some(file)
    })
}
