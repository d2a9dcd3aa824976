//! What `portero migrate` comes to.

use std::ffi::OsString;
use std::time::Duration;

use crate::cli::Opt;
use crate::cli::mode::Mode;
use crate::database::once::{MigrateOnce, Table};
use crate::exit::Failure;
use crate::features::Feature;
use crate::plan::command::command;
use crate::plan::supervision::supervision;
use crate::plan::wait::{WaitPlan, database};
use crate::probe::target::Target;
use crate::settings::Settings;
use crate::supervise::Supervision;

/// The variable by which a run tells a stage that its migrations are `--prepare`. Nobody else sets it.
pub(super) const PREPARES: &str = "PORTERO_PREPARES";

/// One command of a migration: programs joined by `&&`, each with its arguments.
pub type Chain = Vec<Vec<OsString>>;

/// What `portero migrate` does.
#[derive(Clone, Debug)]
pub struct MigratePlan {
    /// What must be ready first: the database among it.
    pub wait: WaitPlan,
    /// Whose lock guards the migrations; `None` with `--no-lock`.
    pub database: Option<Target>,
    /// What one of them is called: a migration, or a preparation.
    pub noun: &'static str,
    /// Run in order.
    pub commands: Vec<Chain>,
    /// Which lock.
    pub lock_name: String,
    /// How long to wait for it; `None` is no limit.
    pub lock_timeout: Option<Duration>,
    /// What need not be migrated again once it is recorded.
    pub once: Option<MigrateOnce>,
    /// How a migration is supervised.
    pub supervision: Supervision,
}

impl MigratePlan {
    /// What `portero migrate` comes to: its operands as one command, else `--migrate`.
    ///
    /// # Errors
    /// 125: usage errors, nothing to run, neither a database nor `--no-lock`.
    pub fn new(settings: &Settings<'_>) -> Result<Self, Failure> {
        let is_subcommand = settings.typed.mode == Mode::Migrate;
        let commands = if is_subcommand && !settings.typed.operands.is_empty() {
            vec![vec![command(settings, None)?]]
        } else {
            settings.commands(Opt::Migrate)?
        };
        // What guards leave out is no mistake.
        if commands.is_empty() && !settings.has_guards(Opt::Migrate) {
            return Err(Failure::failed(
                "there is nothing to migrate: say a COMMAND, or set PORTERO_MIGRATE",
            ));
        }
        let unguarded = settings.switch(Opt::NoLock)?;
        let database = database(settings)?.filter(|_| !unguarded);
        if database.is_none() && !unguarded {
            let lacking = Feature::Postgres.required();
            lacking
                .map_err(|why| settings.invalid(Opt::Migrate, &format!("{why}, or --no-lock")))?;
            return Err(settings.invalid(
                Opt::Migrate,
                "needs --database for its lock, or --no-lock to run without one",
            ));
        }
        Ok(Self {
            wait: WaitPlan::of_run(settings)?,
            database,
            noun: if settings.environment.get(PREPARES).is_some() {
                "preparation"
            } else {
                "migration"
            },
            commands,
            lock_name: lock_name(settings)?,
            lock_timeout: settings.limit(Opt::LockTimeout)?,
            once: once(settings, unguarded)?,
            supervision: supervision(settings)?,
        })
    }
}

/// Whether the values hold that only a migration would use, where there is none.
///
/// # Errors
/// 125: usage errors.
pub(super) fn check(settings: &Settings<'_>) -> Result<(), Failure> {
    lock_name(settings)?;
    settings.limit(Opt::LockTimeout)?;
    settings.switch(Opt::NoLock)?;
    if let Some(version) = settings.text(Opt::MigrateOnce)? {
        parse_version(settings, &version)?;
    }
    table(settings).map(drop)
}

fn lock_name(settings: &Settings<'_>) -> Result<String, Failure> {
    let name = settings.text(Opt::LockName)?;
    name.filter(|name| !name.trim().is_empty())
        .ok_or_else(|| settings.invalid(Opt::LockName, "it is empty"))
}

fn parse_version(settings: &Settings<'_>, version: &str) -> Result<String, Failure> {
    MigrateOnce::version(version).map_err(|why| settings.invalid(Opt::MigrateOnce, &why))
}

fn table(settings: &Settings<'_>) -> Result<Table, Failure> {
    let table = settings.text(Opt::MigrateTable)?.unwrap_or_default();
    Table::parse(&table).map_err(|why| settings.invalid(Opt::MigrateTable, &why))
}

/// `--migrate-once` and `--migrate-table`. Without the lock nothing may be recorded: two could migrate at once.
fn once(settings: &Settings<'_>, unguarded: bool) -> Result<Option<MigrateOnce>, Failure> {
    let table = table(settings)?;
    if !settings.is_given(Opt::MigrateOnce) {
        return Ok(None);
    }
    if unguarded {
        return Err(settings.invalid(
            Opt::MigrateOnce,
            "works under the migration lock only: leave out --no-lock, or this",
        ));
    }
    let version = settings.text(Opt::MigrateOnce)?.unwrap_or_default();
    let version = parse_version(settings, &version)?;
    Ok(Some(MigrateOnce { version, table }))
}
