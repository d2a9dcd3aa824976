//! Is the database ready: does a login with these credentials succeed, and does `SELECT 1` answer?
//!
//! `pg_isready` asks less: it says yes to a wrong password, a missing database and a server that has no connection
//! left.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::database::connect::Connector;
use crate::database::diagnosis::Trouble;
use crate::database::endpoint::check_sockets;
use crate::database::url::PostgresUrl;
use crate::net::readiness::Readiness;

/// What the server sees as `application_name`, unless the URL has one.
const APPLICATION_NAME: &str = "portero";

/// How long the end of the connection may take.
const GOODBYE: Duration = Duration::from_millis(100);

impl PostgresUrl {
    /// Asks once. `timeout` bounds all of it: name lookup, connecting, TLS, login and query.
    pub fn ask(&self, timeout: Duration) -> Readiness {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(reason) => return Readiness::NotYet(reason),
        };
        let readiness = runtime.block_on(async {
            match tokio::time::timeout(timeout, select_one(self, timeout)).await {
                Ok(Ok(())) => Readiness::Ready("SELECT 1".into()),
                Ok(Err(Trouble::NotYet(reason))) => Readiness::NotYet(reason),
                Ok(Err(Trouble::Refused(reason))) => Readiness::Refused(reason),
                Err(_) => Readiness::NotYet("no answer in time (ETIMEDOUT)".into()),
            }
        });
        // A name lookup may still sit in its thread; it must not hold up the answer.
        runtime.shutdown_background();
        readiness
    }

    /// Reads what the URL names, so that what no waiting can change is known before any wait.
    ///
    /// # Errors
    /// A certificate that can't be read or parsed, with its name and errno; no user to log in as; a socket's path that
    /// is too long.
    pub fn check_files(&self) -> Result<(), String> {
        check_sockets(self)?;
        Connector::new(self, APPLICATION_NAME).map(drop)
    }
}

async fn select_one(url: &PostgresUrl, limit: Duration) -> Result<(), Trouble> {
    let connector = Connector::new(url, APPLICATION_NAME).map_err(Trouble::Refused)?;
    let ended = Arc::new(Notify::new());
    let login = connector.connect(limit, Some(&ended)).await?;
    login.first_row("SELECT 1", 1).await?;
    // Say goodbye, or the server's log has an unexpected end of the connection for every probe.
    drop(login);
    let _ = tokio::time::timeout(GOODBYE, ended.notified()).await;
    Ok(())
}

fn runtime() -> Result<Runtime, String> {
    let built = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    built.map_err(|error| {
        format!(
            "the network can't be set up: {}",
            crate::wording::error(&error)
        )
    })
}
