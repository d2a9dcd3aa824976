//! What an application needs beside itself: a queue with tasks, or the files of a database.

use std::time::Duration;

use crate::applications::{Application, Load};
use crate::clients::Protocol;
use crate::common::{Postgres, Redis, postgres};
use crate::install::Site;

/// How long the tasks may take to be queued on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// They end with the value.
pub enum Services {
    Nothing,
    Queue(Redis),
    /// Its files: the application is the server.
    Database(Postgres),
}

impl Services {
    pub fn start(application: &Application) -> Self {
        match application.load {
            Load::Tasks(_) => Self::Queue(Redis::start(&[])),
            Load::Requests(Protocol::Postgres) => {
                let trust = "host all all 127.0.0.1/32 trust";
                Self::Database(Postgres::options().hba(trust).prepare())
            }
            Load::Requests(_) => Self::Nothing,
        }
    }

    /// The port that the application has to take.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Database(database) => Some(database.port()),
            _ => None,
        }
    }

    /// Lets the application know of them, and puts its tasks on the queue.
    #[track_caller]
    pub fn tell(&self, application: &Application, site: &mut Site) {
        match (self, application.load) {
            (Self::Queue(redis), Load::Tasks(module)) => {
                site.set("REDIS_URL", format!("redis://127.0.0.1:{}/0", redis.port()));
                let count = application.under_way();
                let script =
                    format!("import {module}\nfor _ in range({count}): {module}.enqueue()");
                let words = ["python", "-c", &script].map(String::from);
                site.run(&words).start().wait_at_most(LIMIT).assert_exit(0);
            }
            (Self::Database(database), _) => {
                let data = database.socket_directory().join("data");
                site.set("DATA", data.display().to_string());
                site.set(
                    "POSTGRES",
                    postgres::programs().join("postgres").display().to_string(),
                );
            }
            _ => {}
        }
    }
}
