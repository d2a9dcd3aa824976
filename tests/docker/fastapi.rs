//! FastAPI, SQLAlchemy, alembic and PostgreSQL: wait, migrate, seed, start.

use crate::engine::{Container, Network};
use crate::postgres::{self, PASSWORD, query};
use crate::production::{
    TIMED_OUT_CHECKS, assert_only_portero, assert_reaps_timed_out_checks, assert_runs_as,
    assert_stops,
};
use crate::{http, images};

#[test]
fn three_replicas_started_before_the_database_migrate_once_seed_and_serve() {
    let image = images::fastapi("fastapi");
    let network = Network::new();
    let url = postgres::url();
    let options = ["--network", network.name(), "--env", &url];
    let replicas = [(); 3].map(|()| Container::run(&image, &options, &[]));
    for replica in &replicas {
        replica.until_said("waiting for");
    }
    let database = postgres::start(&network);
    for replica in &replicas {
        assert_runs_as(replica, 1000);
        assert!(http::get(replica, 8000, "/whoami").contains("\"port\":\"8000\""));
    }
    assert_eq!(query(&database, "SELECT count(*) FROM migration_runs"), "1");
    assert_eq!(query(&database, "SELECT value FROM settings"), "hello");
    for replica in replicas {
        assert_stops(&replica, 0);
        assert!(!replica.logs().contains(PASSWORD), "{}", replica.report());
    }
    assert_only_portero(&image);
}

#[test]
fn the_port_of_the_platform_reaches_the_application_and_the_health_check() {
    let image = images::fastapi("fastapi");
    let network = Network::new();
    let _database = postgres::start(&network);
    let url = postgres::url();
    let given = [
        "--network",
        network.name(),
        "--env",
        &url,
        "--env",
        "PORT=9123",
    ];
    let container = Container::run(&image, &given, &[]);
    assert_runs_as(&container, 1000);
    assert!(http::get(&container, 9123, "/whoami").contains("\"port\":\"9123\""));
}

#[test]
fn what_health_checks_that_timed_out_leave_behind_is_reaped() {
    let image = images::fastapi("fastapi");
    let network = Network::new();
    let _database = postgres::start(&network);
    let url = postgres::url();
    let options = ["--network", network.name(), "--env", &url];
    let container = Container::run(&image, &[&options[..], &TIMED_OUT_CHECKS].concat(), &[]);
    container.until_said("Application startup complete");
    assert_reaps_timed_out_checks(&container);
    assert_stops(&container, 0);
}
