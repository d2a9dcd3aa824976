//! A password in a file, on a read-only root, without a capability.

use std::fs;

use crate::compose::Compose;
use crate::images;
use crate::postgres::PASSWORD;
use crate::production::{assert_only_portero, assert_runs_as, assert_stops};

#[test]
fn a_secret_file_becomes_the_database_url_of_a_locked_down_container() {
    images::fastapi("secrets");
    images::make_base("postgres");
    let project = Compose::up("secrets", &["compose.yaml"], |directory| {
        let encoded = PASSWORD.replace('@', "%40").replace('/', "%2F");
        directory.file("database_password", &format!("{encoded}\n"));
    });
    let app = project.service("app");
    assert_runs_as(&app, 1000);
    let said = app.logs() + &app.inspect("{{json .Config}}{{json .Args}}");
    for pid in app.pids() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        assert!(!line.contains("c0rrect"), "{line}");
    }
    assert!(!said.contains("c0rrect"), "{said}");
    // uvicorn's own parent, and two workers beside its resource tracker.
    let names = app.statuses("Uid").len();
    assert!(
        names >= 4,
        "WORKERS was not taken: {names} processes{}",
        app.report()
    );
    assert_stops(&app, 0);
    assert_only_portero("portero-test/app-secrets");
}
