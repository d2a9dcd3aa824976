//! The applications' programs, installed once, and the directory that one is started in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::applications::{Application, From};
use crate::common::{Run, TempDir, installed, packages, succeed, tool};

/// Where an application runs: a directory with the files of `apps/`, and an environment.
pub struct Site {
    directory: TempDir,
    /// What stands for `{NAME}` in words and files, and is in the environment.
    values: Vec<(&'static str, String)>,
}

impl Site {
    #[track_caller]
    pub fn new(application: &Application, port: u16, backend: &str) -> Self {
        let directory = TempDir::new();
        let programs = programs(application);
        if application.from == From::Node {
            symlink(programs.parent().unwrap(), directory.join("node_modules")).unwrap();
        }
        let values = vec![
            (
                "PATH",
                format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()),
            ),
            ("PORT", port.to_string()),
            ("BACKEND", backend.to_owned()),
            ("SITE", directory.path().display().to_string()),
        ];
        let site = Self { directory, values };
        for entry in fs::read_dir(apps()).unwrap().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap();
            let name = entry.file_name().into_string().unwrap();
            site.directory.file(&name, &site.filled(&text));
        }
        site
    }

    /// Puts one more variable into the environment.
    pub fn set(&mut self, name: &'static str, value: String) {
        self.values.push((name, value));
    }

    /// A command there.
    pub fn run(&self, words: &[String]) -> Run {
        let run = Run::program(&words[0])
            .args(&words[1..])
            .cwd(self.directory.path())
            .env("HOME", self.directory.path())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        self.values
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value))
    }

    /// A text with what its `{NAME}` stand for.
    pub fn filled(&self, text: &str) -> String {
        self.values
            .iter()
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value)
            })
    }
}

/// The directory of the application's programs.
#[track_caller]
fn programs(application: &Application) -> PathBuf {
    match application.from {
        From::Python => packages::python(&apps().join("requirements.txt")).join("bin"),
        From::Node => packages::node(&apps().join("package.json")).join("node_modules/.bin"),
        From::Go => packages::kept("go", &apps().join("server.go"), |directory| {
            succeed(
                Command::new(tool("go"))
                    .current_dir(directory)
                    .arg("build")
                    .arg(apps().join("server.go")),
            );
        }),
        From::Debian(package) => {
            let program = application.words()[0];
            assert!(
                installed(program).is_some(),
                "{program} is missing: apt-get install -y {package} (tests/stops/run does it)"
            );
            "/usr/bin".into()
        }
    }
}

fn apps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stops/apps")
}
