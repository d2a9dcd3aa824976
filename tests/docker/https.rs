//! The same application over HTTPS, with Redis, in three Compose files that differ by portero's variables alone.

use crate::compose::Compose;
use crate::images;
use crate::postgres::{self, PASSWORD};
use crate::production::{assert_only_portero, assert_runs_as, assert_stops};

#[test]
fn compose_files_for_development_test_and_production_differ_by_variables_alone() {
    images::fastapi("https");
    images::make_base("postgres");
    images::make_base("redis");
    // The file that is laid over compose.yaml, what the log shows of its variables, and what it does not show.
    let table = [
        ("compose.dev.yaml", "the wait stage has begun", "{\"time\":"),
        ("compose.test.yaml", "Uvicorn running", "portero: "),
        ("compose.prod.yaml", "{\"time\":", "portero: "),
    ];
    for (file, shown, not_shown) in table {
        let project = Compose::up("https", &["compose.yaml", file], |_| ());
        let app = project.service("app");
        assert_runs_as(&app, 1000);
        let logs = app.logs();
        assert!(
            logs.contains(shown),
            "{file} lacks {shown:?}{}",
            app.report()
        );
        assert!(
            !logs.contains(not_shown),
            "{file} has {not_shown:?}{}",
            app.report()
        );
        let quiet = file == "compose.test.yaml";
        assert!(
            quiet || logs.contains("cache:6379"),
            "Redis was not waited for{}",
            app.report()
        );
        assert!(!logs.contains(PASSWORD), "{}", app.report());
        assert!(!logs.contains("c0rrect"), "{}", app.report());
        let checks = app.inspect("{{range .State.Health.Log}}{{.Output}}{{end}}");
        let line = "healthy: GET https://localhost:8000/health 200 in ";
        assert!(checks.contains(line), "{checks}{}", app.report());
        let database = project.service("db");
        assert_eq!(
            postgres::query(&database, "SELECT count(*) FROM migration_runs"),
            "1"
        );
        // uvicorn without workers raises the signal again that it was stopped by.
        assert_stops(&app, 143);
    }
    assert_only_portero("portero-test/app-https");
}
