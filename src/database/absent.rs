//! What stands for the database in a build without Postgres. Its URLs, and the options of its lock, are refused by
//! name, so nothing comes as far as this.
// The signatures are those of the database.
#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    clippy::unused_self
)]

pub mod url {
    use std::fmt;
    use std::time::Duration;

    use crate::environment::Environment;
    use crate::features::Feature;
    use crate::net::readiness::Readiness;

    #[path = "scheme.rs"]
    mod scheme;

    /// There is none.
    #[derive(Clone, Debug)]
    pub enum PostgresUrl {}

    impl PostgresUrl {
        pub fn parse(_: &str, _: &Environment) -> Result<Self, String> {
            Err(Feature::Postgres.refusal())
        }

        pub fn is_meant_by(text: &str) -> bool {
            scheme::is_postgres(text)
        }

        pub fn ask(&self, _: Duration) -> Readiness {
            match *self {}
        }

        pub fn check_files(&self) -> Result<(), String> {
            match *self {}
        }
    }

    impl fmt::Display for PostgresUrl {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            match *self {}
        }
    }
}

pub mod once {
    use crate::features::Feature;

    /// Nothing is recorded.
    #[derive(Clone, Debug)]
    pub struct MigrateOnce {
        pub version: String,
        pub table: Table,
    }

    impl MigrateOnce {
        pub fn version(_: &str) -> Result<String, String> {
            Err(Feature::Postgres.refusal())
        }
    }

    /// Nobody makes it.
    #[derive(Clone, Debug)]
    pub struct Table;

    impl Table {
        pub fn parse(_: &str) -> Result<Self, String> {
            Ok(Self)
        }

        pub fn quoted(&self) -> String {
            String::new()
        }
    }
}

pub mod lock {
    use std::convert::Infallible;
    use std::os::fd::OwnedFd;

    use crate::database::lock::key::Wanted;
    use crate::database::lock::shared::Request;
    use crate::exit::Failure;

    /// There is none.
    pub enum Lock {}

    /// What never comes of wanting it.
    pub enum Acquired {
        Lock(Lock),
        Recorded(Infallible),
    }

    impl Lock {
        pub fn acquire<F>(wanted: Wanted, _: F) -> Result<Acquired, Failure> {
            match wanted.url {}
        }

        pub fn ask(&self, _: Request) -> fn() -> Result<(), Failure> {
            match *self {}
        }

        pub fn socket(&self) -> Result<OwnedFd, Failure> {
            match *self {}
        }

        pub fn detach(self) {
            match self {}
        }
    }

    impl Drop for Lock {
        fn drop(&mut self) {
            match *self {}
        }
    }

    pub mod key {
        use std::time::Duration;

        use crate::database::once::MigrateOnce;
        use crate::database::url::PostgresUrl;

        /// Which lock would be wanted.
        pub struct Wanted {
            pub url: PostgresUrl,
            pub name: String,
            pub timeout: Option<Duration>,
            pub writable_within: Option<Duration>,
            pub once: Option<MigrateOnce>,
        }
    }

    pub mod shared {
        /// What nobody is there to be asked.
        pub enum Request {
            IsHeld,
            Record,
        }
    }
}
