//! The lines of the README and docs/install.md by which portero is installed, word for word, in containers that have
//! nothing else. They take what `release/build` has left in target/dist, and long: `.ci/release` runs them.
//!
//! No image is pulled: this machine's toolchain on Debian stands for the one of Rust, and a root of nothing but busybox
//! for Alpine, whose tools are busybox's.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::common::{Ended, Process, Run, TempDir, poll_until, tool};
use crate::engine::{BUILD_LIMIT, Container, LIMIT, docker, docker_with};
use crate::{example, images};

const VERSION: &str = concat!("portero ", env!("CARGO_PKG_VERSION"));

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// It is portero of this version, and starts: after the version come its features.
#[track_caller]
fn assert_is_portero(said: &str) {
    assert!(said.starts_with(&format!("{VERSION} (")), "{said}");
}

/// The lines of the shell in the README's section and on the page.
fn shell_lines(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let section = text.split("\n## Install\n").nth(1);
    let section = section.map_or(text.as_str(), |rest| rest.split("\n## ").next().unwrap());
    let blocks = section.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    lines.map(str::to_owned).collect()
}

/// The README's line with this in it.
fn line(part: &str) -> String {
    let lines = shell_lines("README.md");
    let found = lines.iter().find(|line| line.contains(part));
    found
        .unwrap_or_else(|| panic!("no line with {part}: {lines:?}"))
        .clone()
}

/// A file that `release/build` made.
fn released(rest: &str) -> PathBuf {
    let name = format!("portero-{}-{rest}", env!("CARGO_PKG_VERSION"));
    let path = root().join("target/dist").join(name);
    assert!(
        path.is_file(),
        "{} is missing: release/build",
        path.display()
    );
    path
}

/// A root with busybox alone, and the directory that every system has.
fn busybox() -> &'static str {
    let context = TempDir::new();
    context.file(
        "Dockerfile",
        "FROM portero-test/debian:bookworm AS debian\n\
         RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends busybox-static\n\
         FROM scratch\nCOPY --from=debian /bin/busybox /bin/busybox\n\
         RUN [\"/bin/busybox\", \"--install\", \"/bin\"]\nRUN mkdir -p /usr/local\n",
    );
    images::build("busybox", &context, &[]);
    "portero-test/busybox"
}

/// Images by names that are not the tests' own, taken off with the value.
struct Names(&'static [&'static str]);

impl Drop for Names {
    fn drop(&mut self) {
        for name in self.0 {
            docker_with(&["image", "rm", name]);
        }
    }
}

/// A clone of what is committed, as a server has it.
fn repository() -> TempDir {
    let directory = TempDir::new();
    Run::program("/usr/bin/git")
        .args(["-c", "safe.directory=*", "clone", "--quiet", "--bare"])
        .arg(root())
        .arg(directory.join("portero.git"))
        .exits(0);
    directory
}

#[test]
fn the_page_and_the_readme_have_the_same_lines() {
    let readme = shell_lines("README.md");
    let page = shell_lines("docs/install.md");
    assert!(page.len() >= 4, "{page:?}");
    for line in page {
        assert!(readme.contains(&line), "{line}: {readme:?}");
    }
}

#[test]
#[ignore = "takes what release/build makes"]
fn the_tarball_s_line_installs_it_in_debian_and_in_alpine_s_busybox() {
    images::make_base("debian:bookworm");
    let install = line("tar -xzf");
    for base in ["portero-test/debian:bookworm", busybox()] {
        let context = TempDir::new();
        let sums = root().join("target/dist/SHA256SUMS");
        fs::copy(sums, context.join("SHA256SUMS")).unwrap();
        for kind in ["x86_64", "x86_64-minimal", "aarch64", "aarch64-minimal"] {
            let file = released(&format!("{kind}.tar.gz"));
            fs::copy(&file, context.join(file.file_name().unwrap())).unwrap();
        }
        context.file(
            "Dockerfile",
            &format!("FROM {base}\nWORKDIR /download\nCOPY . .\nRUN {install}\n"),
        );
        let image = images::build("installed", &context, &[]);
        let inside = |argv: &[&str]| docker(&[&["run", "--rm", &image], argv].concat());
        assert_is_portero(&inside(&["/usr/local/bin/portero", "--version"]));
        let page = inside(&["cat", "/usr/local/share/man/man1/portero.1"]);
        assert!(page.contains(".TH PORTERO 1"), "{page}");
        let licences = inside(&["cat", "/usr/local/share/doc/portero/THIRD-PARTY.txt"]);
        assert!(licences.contains("rustls"), "{licences}");

        // A file that is not what the sums say is not unpacked.
        context.file(
            released("x86_64.tar.gz")
                .file_name()
                .unwrap()
                .to_str()
                .unwrap(),
            "changed",
        );
        let directory = context.path().to_str().unwrap();
        let refused = docker_with(&["build", "--no-cache", directory]);
        assert_ne!(refused.ended, Ended::Code(0), "{refused}");
    }
}

#[test]
#[ignore = "takes what release/build makes"]
fn docker_unpacks_the_tarball_where_there_is_no_tar() {
    let context = TempDir::new();
    let tarball = released("x86_64.tar.gz");
    let name = tarball.file_name().unwrap().to_str().unwrap();
    fs::copy(&tarball, context.join(name)).unwrap();
    context.file(
        "Dockerfile",
        &format!("FROM scratch\nADD {name} /usr/local/\n"),
    );
    let image = images::build("unpacked", &context, &[]);
    let said = docker(&["run", "--rm", &image, "/usr/local/bin/portero", "--version"]);
    assert_is_portero(&said);
}

#[test]
#[ignore = "builds for minutes"]
fn docker_s_line_makes_an_image_of_the_binary_alone() {
    let _names = Names(&["rust:1.95-slim-bookworm", "portero"]);
    docker(&["tag", example::rust(), "rust:1.95-slim-bookworm"]);
    let built = Run::program("/bin/sh")
        .args(["-c", &line("docker build")])
        .cwd(root());
    built.start().wait_at_most(BUILD_LIMIT).assert_exit(0);

    images::make_base("debian:bookworm");
    let context = TempDir::new();
    context.file(
        "Dockerfile",
        "FROM portero-test/debian:bookworm\nCOPY --from=portero /portero /portero\nRUN [\"/portero\", \"--version\"]\n",
    );
    images::build("copied", &context, &[]);
    let said = docker(&["run", "--rm", "portero", "--version"]);
    assert_is_portero(&said);
    assert_eq!(
        docker(&["inspect", "--format", "{{len .RootFS.Layers}}", "portero"]),
        "1"
    );
}

#[test]
#[ignore = "builds for minutes"]
fn cargo_s_lines_install_and_run_it_in_debian() {
    let context = TempDir::new();
    context.file(
        "Dockerfile",
        &format!(
            "FROM {}\nRUN apt-get install -y -qq --no-install-recommends git python3\n",
            example::rust()
        ),
    );
    let image = images::build("rust-git", &context, &[]);
    let repository = repository();
    let volume = format!("{}:/srv:ro", repository.path().display());
    let run = line("cargo run");
    let script = format!(
        "set -e\n{}\n{}\ngit clone -q file:///srv/portero.git /clone\ncd /clone\n{run}\n",
        line("rustup target add"),
        line("cargo install").replace("URL", "file:///srv/portero.git"),
    );
    let container = Container::run(&image, &["--volume", &volume], &["sh", "-c", &script]);
    let installed = "/usr/local/cargo/bin/portero";
    let said = poll_until(BUILD_LIMIT, || {
        let asked = container.exec(&[installed, "--version"]);
        let ended = container.inspect("{{.State.Status}}") == "exited";
        assert!(!ended, "{}", container.report());
        (asked.ended == Ended::Code(0)).then_some(asked.stdout)
    });
    assert_is_portero(&said.unwrap_or_default());
    // It would say so of another C library: the binary runs where there is none.
    let copy = context.join("portero");
    docker(&[
        "cp",
        &format!("{}:{installed}", container.name()),
        copy.to_str().unwrap(),
    ]);
    context.file("Dockerfile", "FROM scratch\nCOPY portero /portero\n");
    let image = images::build("of-cargo", &context, &[]);
    docker(&["run", "--rm", &image, "/portero", "--version"]);

    let answers = poll_until(BUILD_LIMIT, || {
        let asked = container.exec(&[installed, "healthcheck", "--port", "8000", "--path", "/"]);
        (asked.ended == Ended::Code(0)).then_some(asked.stdout)
    });
    assert!(
        answers.is_some_and(|said| said.starts_with("healthy: ")),
        "{}",
        container.report()
    );
}

/// A registry of Debian's package, on loopback.
fn registry(directory: &TempDir) -> (Process, String) {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = directory.file(
        "registry.yml",
        &format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{free}\"}}\n",
            directory.join("registry").display()
        ),
    );
    let process = Run::program(tool("docker-registry"))
        .arg("serve")
        .arg(config)
        .start();
    let answers = poll_until(LIMIT, || std::net::TcpStream::connect(free).ok());
    assert!(answers.is_some(), "{process}");
    (process, free.to_string())
}

#[test]
#[ignore = "takes what release/build makes"]
fn a_registry_gets_images_of_both_architectures_by_their_digests() {
    released("image.tar");
    tool("skopeo");
    let directory = TempDir::new();
    let (_process, address) = registry(&directory);
    // Owners have capitals on GitHub, and none in a registry.
    let pushed = Run::program(root().join("release/push"))
        .arg(format!("{address}/Owner/portero"))
        .start()
        .wait_at_most(BUILD_LIMIT);
    pushed.assert_exit(0);
    let names: Vec<&str> = pushed.stdout.lines().collect();
    assert_eq!(names.len(), 2, "{pushed}");
    for name in names {
        assert!(
            name.starts_with(&format!("{address}/owner/portero@sha256:")),
            "{name}"
        );
        for (platform, architecture) in [("linux/arm64", "arm64"), ("linux/amd64", "amd64")] {
            docker(&["pull", "--quiet", "--platform", platform, name]);
            let label =
                "{{.Architecture}} {{index .Config.Labels \"org.opencontainers.image.version\"}}";
            let expected = format!("{architecture} {}", env!("CARGO_PKG_VERSION"));
            assert_eq!(
                docker(&["image", "inspect", "--format", label, name]),
                expected
            );
            let created = docker(&["create", "--platform", platform, name]);
            let container = Container::named(&created);
            let file = directory.join("portero");
            docker(&[
                "cp",
                &format!("{}:/portero", container.name()),
                file.to_str().unwrap(),
            ]);
            let run = match architecture {
                "arm64" => Run::program(tool("qemu-aarch64-static")).arg(&file),
                _ => Run::program(&file),
            };
            let said = run.arg("--version").exits(0).stdout;
            assert_is_portero(&said);
            if architecture == "amd64" {
                assert_is_portero(&docker(&["run", "--rm", name, "--version"]));
            }
            drop(container);
            docker(&["image", "rm", name]);
        }
    }
    let tagged = format!(
        "docker://{address}/owner/portero:{}",
        env!("CARGO_PKG_VERSION")
    );
    Run::program(tool("skopeo"))
        .args(["inspect", "--raw", "--tls-verify=false", &tagged])
        .exits(0)
        .assert_stdout_contains("\"architecture\":\"arm64\"");
}
