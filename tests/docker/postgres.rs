//! A PostgreSQL server in a container, as `db`.

use crate::engine::{Container, Network};
use crate::images;

/// The password of `app`: no log may ever show it.
pub const PASSWORD: &str = "c0rrect-h0rse@battery/staple";

/// The server of this network. Its first start is waited for by those who need it.
pub fn start(network: &Network) -> Container {
    images::make_base("postgres");
    Container::run(
        "portero-test/postgres",
        &["--network", network.name(), "--network-alias", "db"],
        &[],
    )
}

/// What `psql` would print, unaligned and without headers.
#[track_caller]
pub fn query(server: &Container, sql: &str) -> String {
    let asked = server.exec(&[
        "psql", "-h", "/tmp", "-U", "app", "-d", "app", "-XAtqc", sql,
    ]);
    asked.assert_exit(0);
    asked.stdout.trim_end().to_owned()
}

/// The variable that an application gets, with everything in the password that must be encoded there.
pub fn url() -> String {
    let password = PASSWORD.replace('@', "%40").replace('/', "%2F");
    format!("DATABASE_URL=postgresql+psycopg://app:{password}@db:5432/app")
}
