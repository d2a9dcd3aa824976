//! Services that `docker-compose` starts together, and that end with the value.

use crate::common::{Run, TempDir, tool};
use crate::engine::{BUILD_LIMIT, Container, unique};
use crate::images;

/// A project of Compose.
#[derive(Debug)]
pub struct Compose {
    name: String,
    files: Vec<String>,
    directory: TempDir,
}

impl Compose {
    /// The Compose files of `tests/docker/apps/APP`, with what `prepare` puts beside them.
    #[track_caller]
    pub fn up(app: &str, files: &[&str], prepare: impl FnOnce(&TempDir)) -> Self {
        let directory = TempDir::new();
        images::copy(&images::source("apps").join(app), directory.path());
        prepare(&directory);
        let project = Self {
            name: unique("compose"),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            directory,
        };
        let started = project.compose(&["up", "--detach"]);
        started.assert_exit(0);
        project
    }

    /// The only container of a service.
    #[track_caller]
    pub fn service(&self, name: &str) -> Container {
        let listed = self.compose(&["ps", "--quiet", name]);
        listed.assert_exit(0);
        Container::named(listed.stdout.trim())
    }

    fn compose(&self, args: &[&str]) -> crate::common::Finished {
        let mut run = Run::program(tool("docker-compose"))
            .cwd(self.directory.path())
            .args(["--project-name", &self.name]);
        for file in &self.files {
            run = run.args(["--file", file]);
        }
        run.args(args).start().wait_at_most(BUILD_LIMIT)
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        self.compose(&["down", "--volumes", "--timeout", "1"]);
    }
}
