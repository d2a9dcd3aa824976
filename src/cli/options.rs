//! The table of options: one row each, from which clap, the environment, the stages and the help texts are made.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use crate::cli::mode::Mode;
use crate::cli::values::{Split, ValueKind};
use crate::features::Feature;

/// An option, as an index into `OPTIONS`.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    Secret,
    DefaultPort,
    Default,
    ExpandArgs,
    User,
    Mkdir,
    Chown,
    KeepCap,
    AllowNewPrivileges,
    RequireNonRoot,
    Umask,
    Wait,
    Database,
    WaitTimeout,
    WaitMaxInterval,
    CaCert,
    Insecure,
    OnlyFor,
    Skip,
    Migrate,
    MigrateOnce,
    MigrateTable,
    LockName,
    LockTimeout,
    NoLock,
    Prepare,
    SignalGroup,
    MapSignal,
    MapExit,
    StopDelay,
    StopTimeout,
    OrphanGrace,
    Program,
    Exec,
    Port,
    Path,
    Timeout,
    Status,
    Method,
    Header,
    Contains,
    HealthCaCert,
    HealthInsecure,
    Live,
    LogLevel,
    Quiet,
    Verbose,
    LogFormat,
    DryRun,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Which one.
    pub opt: Opt,
    /// Without the two hyphens; also clap's id.
    pub long: &'static str,
    /// `-q`, `-v`: those have no long form.
    pub short: Option<char>,
    /// What stands for its value in the help.
    pub value_name: &'static str,
    /// What it takes.
    pub kind: ValueKind,
    /// Its default as the help shows it and as it is parsed; empty when there is none.
    pub default: &'static str,
    /// The help's line.
    pub help: &'static str,
    /// Which commands take it, and under which heading.
    section: Section,
    /// What a build without this feature lacks it for.
    needs: Option<Feature>,
    /// Whether a stage gets its variable: not of what is done before, nor of what concerns COMMAND alone.
    pub is_for_stages: bool,
}

/// The sections of the contract: they say which commands take an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Environment,
    Identity,
    Dependencies,
    /// Dependencies that concern COMMAND only.
    Steps,
    Migrations,
    /// Signals and stopping: also of a migration.
    Stopping,
    Supervision,
    Health,
    Output,
}

impl OptionSpec {
    /// Why this build does not take it.
    pub fn lacking(&self) -> Option<String> {
        self.needs?.required().err()
    }

    /// Whether `mode` takes it.
    pub fn is_of(&self, mode: Mode) -> bool {
        match self.section {
            Section::Environment | Section::Identity | Section::Output => true,
            Section::Dependencies => mode != Mode::Healthcheck,
            Section::Migrations | Section::Stopping => matches!(mode, Mode::Run | Mode::Migrate),
            Section::Steps | Section::Supervision => mode == Mode::Run,
            Section::Health => mode == Mode::Healthcheck,
        }
    }

    /// The heading in the help.
    pub fn heading(&self, mode: Mode) -> &'static str {
        match self.section {
            Section::Environment => "Environment",
            Section::Identity => "Identity",
            Section::Steps if self.opt == Opt::Prepare => "Migrations",
            Section::Dependencies | Section::Steps => "Dependencies",
            Section::Migrations => "Migrations",
            Section::Stopping if mode == Mode::Migrate => "Stopping the migration",
            Section::Stopping | Section::Supervision => "Supervision",
            Section::Health => "Health check",
            Section::Output => "Output",
        }
    }

    /// Whether it says how COMMAND is supervised, which `--exec` leaves to somebody else.
    pub fn supervises(&self) -> bool {
        matches!(self.section, Section::Stopping | Section::Supervision)
            && !matches!(self.opt, Opt::Exec | Opt::Program)
    }

    /// Whether it concerns who becomes a user and does nothing else.
    pub fn is_of_dropper(&self) -> bool {
        matches!(self.section, Section::Identity | Section::Output)
    }

    /// As it is typed.
    pub fn typed_name(&self) -> String {
        self.short
            .map_or_else(|| format!("--{}", self.long), |short| format!("-{short}"))
    }

    /// Whether it can be set by environment.
    pub fn has_variable(&self) -> bool {
        !matches!(self.opt, Opt::DryRun | Opt::Quiet | Opt::Verbose)
    }

    /// `PORTERO_…`, or `PORTERO_HEALTH_…` for an option of the health check.
    pub fn variable(&self) -> String {
        let family = if self.section == Section::Health {
            "PORTERO_HEALTH_"
        } else {
            "PORTERO_"
        };
        format!(
            "{family}{}",
            self.long.replace('-', "_").to_ascii_uppercase()
        )
    }

    /// Whether `name` is this option's variable: as comparing with `variable`, which every start does for every
    /// option, but without the text in between.
    pub fn is_set_by(&self, name: &OsStr) -> bool {
        let Some(rest) = name.as_bytes().strip_prefix(b"PORTERO_") else {
            return false;
        };
        let rest = if self.section == Section::Health {
            rest.strip_prefix(b"HEALTH_")
        } else {
            Some(rest)
        };
        let spelled = |long: u8| {
            if long == b'-' {
                b'_'
            } else {
                long.to_ascii_uppercase()
            }
        };
        self.has_variable()
            && rest.is_some_and(|rest| rest.iter().copied().eq(self.long.bytes().map(spelled)))
    }

    /// The help's line with the default and the variable.
    pub fn long_help(&self) -> String {
        let mut help = String::from(self.help);
        if !self.default.is_empty() {
            let _ = write!(help, " [default: {}]", self.default);
        }
        if self.has_variable() {
            let _ = write!(help, " [env: {}]", self.variable());
        }
        help
    }
}

const fn row(
    opt: Opt,
    long: &'static str,
    kind: ValueKind,
    value_name: &'static str,
    section: Section,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        opt,
        long,
        short: None,
        value_name,
        kind,
        default: "",
        help,
        section,
        needs: None,
        is_for_stages: true,
    }
}

const fn defaults(default: &'static str, row: OptionSpec) -> OptionSpec {
    OptionSpec { default, ..row }
}

/// What a build without `feature` lacks.
const fn needs(feature: Feature, row: OptionSpec) -> OptionSpec {
    OptionSpec {
        needs: Some(feature),
        ..row
    }
}

/// Done before the stages, or COMMAND's alone.
const fn not_for_stages(row: OptionSpec) -> OptionSpec {
    OptionSpec {
        is_for_stages: false,
        ..row
    }
}

const fn short(short: char, row: OptionSpec) -> OptionSpec {
    OptionSpec {
        short: Some(short),
        ..row
    }
}

use Split::{Commands, Commas, Lines, Words};
use ValueKind::{List, Switch, Value};

/// Every option, in the order of `Opt` and of the help.
#[rustfmt::skip]
pub const OPTIONS: &[OptionSpec] = &[
    row(Opt::Secret, "secret", List(Words), "NAME", Section::Environment,
        "Read NAME from the file that NAME_FILE names, less one trailing newline; repeatable"),
    not_for_stages(row(Opt::DefaultPort, "default-port", Value, "PORT", Section::Environment,
        "The value of PORT when it is unset or empty; PORT must then be 1-65535")),
    not_for_stages(row(Opt::Default, "default", List(Lines), "NAME=VALUE", Section::Environment,
        "The value of NAME when it is unset or empty; may use ${EARLIER}; repeatable")),
    row(Opt::ExpandArgs, "expand-args", Switch, "", Section::Environment,
        "Expand ${NAME}, ${NAME:-default}, ${NAME:+text} and ${NAME:?message} in COMMAND's arguments too"),
    not_for_stages(row(Opt::User, "user", Value, "SPEC", Section::Identity,
        "Become this user: user, user:group, uid or uid:gid, from /etc/passwd and /etc/group")),
    not_for_stages(row(Opt::Mkdir, "mkdir", List(Words), "PATH", Section::Identity,
        "Make PATH and its missing parents before --chown, each new one the user's; repeatable")),
    not_for_stages(row(Opt::Chown, "chown", List(Words), "PATH", Section::Identity,
        "Give PATH to the user before the drop: recursive, only what differs; repeatable")),
    not_for_stages(row(Opt::KeepCap, "keep-cap", List(Words), "CAP", Section::Identity,
        "Keep this capability across the drop, e.g. net_bind_service; repeatable")),
    row(Opt::AllowNewPrivileges, "allow-new-privileges", Switch, "", Section::Identity,
        "Leave no_new_privs and the bounding set alone, for sudo, setuid and file-capability programs"),
    row(Opt::RequireNonRoot, "require-non-root", Switch, "", Section::Identity,
        "Refuse to start COMMAND as uid 0"),
    not_for_stages(row(Opt::Umask, "umask", Value, "MODE", Section::Identity,
        "The umask of all that portero starts, octal: 0-777")),
    row(Opt::Wait, "wait", List(Words), "TARGET", Section::Dependencies,
        "Wait until TARGET is ready; repeatable, all are probed side by side"),
    row(Opt::Database, "database", Value, "URL", Section::Dependencies,
        "A Postgres target that is waited for and whose lock guards the migrations"),
    defaults("60s", row(Opt::WaitTimeout, "wait-timeout", Value, "D", Section::Dependencies,
        "The limit of the wait, for all targets together")),
    defaults("1s", row(Opt::WaitMaxInterval, "wait-max-interval", Value, "D", Section::Dependencies,
        "The longest pause between two tries")),
    needs(Feature::Tls, row(Opt::CaCert, "ca-cert", Value, "FILE", Section::Dependencies,
        "Verify the certificates of https and rediss targets against FILE, not the system's roots")),
    needs(Feature::Tls, row(Opt::Insecure, "insecure", Switch, "", Section::Dependencies,
        "Do not verify the certificates of https and rediss targets")),
    not_for_stages(row(Opt::OnlyFor, "only-for", List(Words), "NAMES", Section::Steps,
        "Wait and migrate only when COMMAND begins with one of these; '\"rails server\"' is one of two words")),
    not_for_stages(row(Opt::Skip, "skip", List(Commas), "STEPS", Section::Steps,
        "Skip any of wait, migrate and prepare, this time; yes skips all")),
    row(Opt::Migrate, "migrate", List(Commands), "COMMANDS", Section::Migrations,
        "Run this before COMMAND, under the migration lock; 'a && b' works, a shell is never started; repeatable"),
    needs(Feature::Postgres, row(Opt::MigrateOnce, "migrate-once", Value, "VERSION", Section::Migrations,
        "Skip the migrations when VERSION, unique to each build, already migrated this database")),
    needs(Feature::Postgres, defaults("portero.migrations", row(
        Opt::MigrateTable, "migrate-table", Value, "NAME", Section::Migrations,
        "Where --migrate-once records: SCHEMA.TABLE"))),
    needs(Feature::Postgres, defaults("portero", row(Opt::LockName, "lock-name", Value, "NAME", Section::Migrations,
        "Which lock"))),
    needs(Feature::Postgres, defaults("10m", row(Opt::LockTimeout, "lock-timeout", Value, "D", Section::Migrations,
        "How long to wait for other replicas"))),
    row(Opt::NoLock, "no-lock", Switch, "", Section::Migrations,
        "Run the migrations without the lock"),
    row(Opt::Prepare, "prepare", List(Commands), "COMMANDS", Section::Steps,
        "Run this after the migrations, in every container at every start, without the lock; repeatable"),
    row(Opt::SignalGroup, "signal-group", Switch, "", Section::Stopping,
        "Send signals to COMMAND's whole process group, not to COMMAND alone"),
    row(Opt::MapSignal, "map-signal", List(Words), "FROM=TO", Section::Stopping,
        "Forward TO instead of FROM, e.g. TERM=QUIT; nothing when TO is empty; repeatable"),
    not_for_stages(row(Opt::MapExit, "map-exit", List(Words), "CODE=CODE", Section::Supervision,
        "Exit with the second code when COMMAND ends with the first, e.g. 143=0; repeatable")),
    not_for_stages(row(Opt::StopDelay, "stop-delay", Value, "D", Section::Stopping,
        "Wait D before a stop is forwarded; a second stop ends the delay")),
    defaults("none", row(Opt::StopTimeout, "stop-timeout", Value, "D", Section::Stopping,
        "SIGKILL everything D after the first stop was forwarded")),
    defaults("5s", row(Opt::OrphanGrace, "orphan-grace", Value, "D", Section::Stopping,
        "How long processes that outlive COMMAND have to end after a SIGTERM, parents first, before SIGKILL")),
    not_for_stages(row(Opt::Program, "program", List(Commands), "COMMAND", Section::Supervision,
        "Put this before what was given when that is nothing, begins with -, or is no program")),
    not_for_stages(row(Opt::Exec, "exec", Switch, "", Section::Supervision,
        "Replace portero by COMMAND instead of supervising it")),
    row(Opt::Port, "port", Value, "PORT", Section::Health,
        "The port of the default target; else the variable PORT, else PORTERO_DEFAULT_PORT"),
    defaults("/health", row(Opt::Path, "path", Value, "PATH", Section::Health,
        "The path of the default target")),
    defaults("2500ms", row(Opt::Timeout, "timeout", Value, "D", Section::Health,
        "One deadline over everything, from resolving to the status line")),
    defaults("200-399", row(Opt::Status, "status", List(Commas), "LIST", Section::Health,
        "Statuses that are healthy")),
    defaults("GET", row(Opt::Method, "method", Value, "M", Section::Health,
        "The HTTP method")),
    row(Opt::Header, "header", List(Lines), "'K: V'", Section::Health,
        "A header of the request; Host changes the header alone; repeatable"),
    row(Opt::Contains, "contains", Value, "TEXT", Section::Health,
        "The first 64 KiB of the body must contain TEXT"),
    needs(Feature::Tls, row(Opt::HealthCaCert, "ca-cert", Value, "FILE", Section::Health,
        "Verify certificates against FILE; without it loopback and unix sockets are not verified")),
    needs(Feature::Tls, row(Opt::HealthInsecure, "insecure", Switch, "", Section::Health,
        "Do not verify certificates")),
    row(Opt::Live, "live", Switch, "", Section::Health,
        "Healthy also while portero itself is still waiting or migrating"),
    defaults("info", row(Opt::LogLevel, "log-level", Value, "LEVEL", Section::Output,
        "error, warn, info or debug")),
    short('q', row(Opt::Quiet, "quiet", Switch, "", Section::Output, "--log-level error")),
    short('v', row(Opt::Verbose, "verbose", Switch, "", Section::Output, "--log-level debug")),
    defaults("text", row(Opt::LogFormat, "log-format", Value, "FORMAT", Section::Output,
        "text, or json: one object a line")),
    row(Opt::DryRun, "dry-run", Switch, "", Section::Output,
        "Print what would be done, secrets as ***, and exit 0"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_its_index() {
        for (index, option) in OPTIONS.iter().enumerate() {
            assert_eq!(option.opt as usize, index, "{}", option.long);
        }
    }

    #[test]
    fn variables_have_the_names_of_the_contract() {
        let table = [
            (Opt::WaitTimeout, "PORTERO_WAIT_TIMEOUT"),
            (Opt::Path, "PORTERO_HEALTH_PATH"),
            (Opt::CaCert, "PORTERO_CA_CERT"),
            (Opt::HealthCaCert, "PORTERO_HEALTH_CA_CERT"),
            (Opt::User, "PORTERO_USER"),
        ];
        for (opt, variable) in table {
            assert_eq!(OPTIONS[opt as usize].variable(), variable);
        }
        for option in OPTIONS {
            assert_eq!(
                option.is_set_by(OsStr::new(&option.variable())),
                option.has_variable()
            );
            assert!(!option.is_set_by(OsStr::new("PORTERO_NOPE")));
        }
    }
}
