//! An application that is of no use before a slow service answers.

use std::time::Instant;

use crate::engine::{Container, Network};
use crate::images;
use crate::production::{assert_only_portero, assert_runs_as, assert_stops};

#[test]
fn the_application_starts_when_the_slow_service_answers_and_is_never_called_unhealthy() {
    let image = images::fastapi("slow");
    let network = Network::new();
    let options = ["--network", network.name()];
    let alias = ["--network-alias", "ollama"];
    let start = Instant::now();
    let server = Container::run(
        &image,
        &[&options[..], &alias, &["--entrypoint", "python"]].concat(),
        &["model_server.py"],
    );
    let app = Container::run(&image, &options, &[]);
    // `until_healthy` takes nothing but starting and healthy.
    assert_runs_as(&app, 1001);
    let took = start.elapsed();
    assert!(
        took.as_secs() >= 15,
        "healthy after {took:?}{}",
        app.report()
    );
    let logs = app.logs();
    assert!(
        logs.contains("503"),
        "the log does not say why it waits{}",
        app.report()
    );
    let checks = app.inspect("{{range .State.Health.Log}}{{.Output}}{{end}}");
    assert!(
        checks.contains("portero is still waiting"),
        "the check does not say so{}",
        app.report()
    );
    // uvicorn without workers raises the signal again that it was stopped by.
    assert_stops(&app, 143);
    drop(server);
    assert_only_portero(&image);
}
