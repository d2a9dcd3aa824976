//! What `portero migrate` comes to.

use super::run::command;
use super::wait::database;
use super::{MigratePlan, WaitPlan, supervision};
use crate::cli::{Mode, Opt};
use crate::database::once::{Once, Table};
use crate::exit::Failure;
use crate::settings::Settings;

impl MigratePlan {
    /// What `portero migrate` comes to: its operands as one command, else `--migrate`.
    ///
    /// # Errors
    /// 125: usage errors, nothing to run, neither a database nor `--no-lock`.
    pub fn new(settings: &Settings<'_>) -> Result<Self, Failure> {
        let is_subcommand = settings.typed.mode == Mode::Migrate;
        let commands = if is_subcommand && !settings.typed.operands.is_empty() {
            vec![vec![command(settings)?]]
        } else {
            settings.commands(Opt::Migrate)?
        };
        if commands.is_empty() {
            return Err(Failure::failed(
                "there is nothing to migrate: say a COMMAND, or set PORTERO_MIGRATE",
            ));
        }
        let unguarded = settings.switch(Opt::NoLock)?;
        let database = database(settings)?.filter(|_| !unguarded);
        if database.is_none() && !unguarded {
            return Err(settings.invalid(
                Opt::Migrate,
                "needs --database for its lock, or --no-lock to run without one",
            ));
        }
        Ok(Self {
            wait: WaitPlan::of_run(settings)?,
            database,
            commands,
            lock_name: settings
                .text(Opt::LockName)?
                .ok_or_else(|| settings.invalid(Opt::LockName, "it is empty"))?,
            lock_timeout: settings.limit(Opt::LockTimeout)?,
            once: once(settings, unguarded)?,
            supervision: supervision(settings)?,
        })
    }
}

/// `--migrate-once` and `--migrate-table`. Without the lock nothing may be recorded: two could migrate at once.
fn once(settings: &Settings<'_>, unguarded: bool) -> Result<Option<Once>, Failure> {
    if !settings.is_given(Opt::MigrateOnce) {
        return Ok(None);
    }
    let refuse = |opt| move |why: String| settings.invalid(opt, &why);
    if unguarded {
        return Err(refuse(Opt::MigrateOnce)(
            "works under the migration lock only: leave out --no-lock, or this".into(),
        ));
    }
    let version = settings.text(Opt::MigrateOnce)?.unwrap_or_default();
    let table = settings.text(Opt::MigrateTable)?.unwrap_or_default();
    Ok(Some(Once {
        version: Once::version(&version).map_err(refuse(Opt::MigrateOnce))?,
        table: Table::parse(&table).map_err(refuse(Opt::MigrateTable))?,
    }))
}
