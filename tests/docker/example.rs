//! `Dockerfile.example`, built and run as it is, on bases of the tests.

use std::path::Path;

use crate::common::{Ended, Run, TempDir, tool};
use crate::engine::{BUILD_LIMIT, Container, Network, docker, docker_with};
use crate::images;
use crate::postgres;
use crate::production::{assert_only_portero, assert_runs_as, assert_stops};

const RUST: &str = "portero-test/rust";

/// A program, with the path and the toolchain of the cargo that runs the tests.
pub fn with_cargo(program: &str) -> Run {
    let inherited = |name: &str| std::env::var(name).unwrap_or_default();
    Run::program(program)
        .env("PATH", inherited("PATH"))
        .env("HOME", inherited("HOME"))
        .env("RUSTUP_TOOLCHAIN", inherited("RUSTUP_TOOLCHAIN"))
}

/// Builds one target of the file; the first stage is built once.
fn build(target: &str, options: &[&str]) -> String {
    let tag = format!("portero-test/example-{target}");
    let context = env!("CARGO_MANIFEST_DIR");
    let file = Path::new(context).join("Dockerfile.example");
    let command = [
        "build",
        "--file",
        file.to_str().unwrap(),
        "--target",
        target,
    ];
    docker(&[&command, options, &["--tag", &tag, context]].concat());
    tag
}

/// Stands for `rust:slim`: this machine's toolchain, rustup included, on Debian with a C compiler. It optimizes
/// nothing: the build itself is what is tested here, and other tests have the binary as it is released.
pub fn rust() -> &'static str {
    if docker_with(&["image", "inspect", RUST]).ended == Ended::Code(0) {
        return RUST;
    }
    images::make_base("debian:bookworm");
    let context = TempDir::new();
    let sysroot = with_cargo("rustc").args(["--print", "sysroot"]).finish();
    sysroot.assert_exit(0);
    let toolchain = Path::new(sysroot.stdout.trim());
    let (toolchains, name) = (toolchain.parent().unwrap(), toolchain.file_name().unwrap());
    let home = toolchains.parent().unwrap();
    let name = name.to_str().unwrap();
    // Its documentation is half of it.
    Run::program(tool("tar"))
        .args(["--exclude", "share", "-cf"])
        .arg(context.join("rustup.tar"))
        .arg("-C")
        .arg(home)
        .args(["settings.toml", &format!("toolchains/{name}")])
        .start()
        .wait_at_most(BUILD_LIMIT)
        .assert_exit(0);
    let rustup = with_cargo("sh").args(["-c", "command -v rustup"]).finish();
    std::fs::copy(rustup.stdout.trim(), context.join("rustup")).unwrap();
    context.file(
        "Dockerfile",
        &format!(
            "FROM portero-test/debian:bookworm\n\
             RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev\n\
             ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo RUSTUP_TOOLCHAIN={name} \
             PATH=/usr/local/cargo/bin:/usr/bin:/bin\n\
             ENV CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
             CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true\n\
             ADD rustup.tar /usr/local/rustup/\n\
             COPY rustup /usr/local/cargo/bin/rustup\n\
             RUN ln -s rustup /usr/local/cargo/bin/cargo && ln -s rustup /usr/local/cargo/bin/rustc\n"
        ),
    );
    images::build("rust", &context, &[]);
    RUST
}

#[test]
fn the_example_builds_portero_and_both_applications_on_bases_without_a_shell() {
    for base in ["python", "distroless-python", "node", "distroless-node"] {
        images::make_base(base);
    }
    let bases = [
        format!("RUST_IMAGE={}", rust()),
        "PYTHON_BUILD_IMAGE=portero-test/python".into(),
        "PYTHON_IMAGE=portero-test/distroless-python".into(),
        "NODE_IMAGE=portero-test/distroless-node".into(),
        "VERSION=abc123".into(),
    ];
    let options: Vec<&str> = bases
        .iter()
        .flat_map(|argument| ["--build-arg", argument.as_str()])
        .collect();
    let (python, node) = (build("python", &options), build("node", &options));

    let network = Network::new();
    let database = postgres::start(&network);
    let url = postgres::url();
    let often = [
        "--health-interval=1s",
        "--network",
        network.name(),
        "--env",
        &url,
    ];
    let app = Container::run(&python, &often, &[]);
    assert_runs_as(&app, 1000);
    let recorded = "SELECT version FROM portero.migrations";
    assert_eq!(postgres::query(&database, recorded), "abc123");
    // uvicorn without workers raises the signal again that it was stopped by.
    assert_stops(&app, 143);

    let app = Container::run(&node, &["--health-interval=1s"], &[]);
    assert_runs_as(&app, 1001);
    assert_stops(&app, 0);
    for image in [&python, &node] {
        assert_only_portero(image);
        assert_eq!(
            docker_with(&["run", "--rm", image, "sh"]).ended,
            Ended::Code(127)
        );
    }
}
