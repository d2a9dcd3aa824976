//! By any other name: called as `dumb-init`, `tini`, `gosu` or `su-exec` (a copy or a link), portero reads that tool's
//! command line and means what it means by it. What is typed there is as if typed in portero's own words; what the name
//! alone implies is a default, which `PORTERO_…` variables beat. Of a dropper's variables those of identity and output
//! count, and the others are left to whoever comes after it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cli::getopt::{Options, unknown};
use crate::cli::mode::Mode;
use crate::cli::options::Opt;
use crate::cli::typed::{Asked, Typed};
use crate::exit::{Exit, Failure};

/// Another init, or another dropper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// <https://github.com/Yelp/dumb-init>, 1.2.5.
    DumbInit,
    /// <https://github.com/krallin/tini>, 0.19.0.
    Tini,
    /// <https://github.com/tianon/gosu>, 1.14.
    Gosu,
    /// <https://github.com/ncopa/su-exec>, 0.2.
    SuExec,
}

use StandIn::{DumbInit, Gosu, SuExec, Tini};

/// Looks a variable up.
type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl StandIn {
    /// By the file name of argv[0]. A login shell's has a hyphen before it.
    pub fn of(argv0: &OsStr) -> Option<Self> {
        let name = Path::new(argv0).file_name()?.as_bytes();
        match name.strip_prefix(b"-").unwrap_or(name) {
            b"dumb-init" => Some(DumbInit),
            b"tini" | b"tini-static" => Some(Tini),
            b"gosu" => Some(Gosu),
            b"su-exec" => Some(SuExec),
            _ => None,
        }
    }

    /// Its exit code for what it would have failed by, too; portero's own steps keep portero's.
    pub fn exit(self, exit: Exit) -> Exit {
        match (self, exit) {
            (DumbInit, Exit::NotFound | Exit::CannotExecute) => Exit::Command(2),
            (Gosu | SuExec, Exit::NotFound | Exit::CannotExecute) => Exit::Command(1),
            _ => exit,
        }
    }

    /// Its command line in portero's words.
    ///
    /// # Errors
    /// 1, as from all of them, for a usage error of its own.
    pub fn translate(
        self,
        arguments: &[OsString],
        variable: Variable<'_>,
    ) -> Result<Asked, Failure> {
        let mut words = Translation {
            tool: self,
            typed: Typed::nothing(Mode::Run),
            print: None,
        };
        words.typed.is_dropper = matches!(self, Gosu | SuExec);
        match self {
            DumbInit => words.dumb_init(arguments, variable)?,
            Tini => words.tini(arguments, variable)?,
            Gosu | SuExec => words.dropper(arguments)?,
        }
        if let Some(text) = words.print {
            return Ok(Asked::Print(text));
        }
        match words.typed.operands.first() {
            None => Err(self.wrong("there is no command")),
            Some(name) if name.is_empty() => Err(Failure::new(
                self.exit(Exit::NotFound),
                format!("{}: the name of the command is empty", self.name()),
            )),
            Some(_) => Ok(Asked::Work(words.typed)),
        }
    }

    /// What was read, or a usage error.
    fn usage<T>(self, read: Result<T, String>) -> Result<T, Failure> {
        read.map_err(|what| self.wrong(&what))
    }

    /// A usage error.
    fn wrong(self, what: &str) -> Failure {
        Failure::new(
            Exit::Command(1),
            format!(
                "{}: {what} (see '{} {}')",
                self.name(),
                self.name(),
                self.help_option()
            ),
        )
    }

    fn name(self) -> &'static str {
        match self {
            DumbInit => "dumb-init",
            Tini => "tini",
            Gosu => "gosu",
            SuExec => "su-exec",
        }
    }

    fn help_option(self) -> &'static str {
        if self == Tini { "-h" } else { "--help" }
    }

    fn version(self) -> String {
        format!(
            "{} (portero {} in its place)\n",
            self.name(),
            env!("CARGO_PKG_VERSION")
        )
    }

    fn help(self) -> String {
        let usage = match self {
            DumbInit => {
                "dumb-init [OPTION] COMMAND [ARG]...

  -c, --single-child  signals go to COMMAND alone, not to its whole process group
  -r, --rewrite S:R   forward R in the place of S; nothing when R is 0; repeatable
  -v, --verbose       --log-level debug
  -h, --help; -V, --version

Variables: DUMB_INIT_SETSID=0 is -c, DUMB_INIT_DEBUG=1 is -v"
            }
            Tini => {
                "tini [OPTION] [--] COMMAND [ARG]...

  -s         nothing to do: portero is always a child subreaper
  -p SIGNAL  get SIGNAL when the parent process dies
  -v         --log-level debug
  -w         a line for each orphan that is reaped
  -g         signals go to COMMAND's whole process group
  -e CODE    exit with 0 when COMMAND exits with CODE; repeatable
  -l         show the licence
  -h; --version

Variables: TINI_KILL_PROCESS_GROUP is -g, TINI_VERBOSITY from 2 on is -v"
            }
            Gosu => "gosu USER[:GROUP] COMMAND [ARG]...\n       gosu --version | --help",
            SuExec => "su-exec USER[:GROUP] COMMAND [ARG]...",
        };
        format!(
            "{}Usage: {usage}\n\nPORTERO_… variables count, too: see portero --help\n",
            self.version()
        )
    }
}

/// A command line on its way from one language to the other.
struct Translation {
    tool: StandIn,
    typed: Typed,
    /// What is to be printed instead.
    print: Option<String>,
}

impl Translation {
    fn dumb_init(&mut self, arguments: &[OsString], variable: Variable<'_>) -> Result<(), Failure> {
        let is = |name: &str, value: &str| variable(name).is_some_and(|known| known == value);
        let mut alone = is("DUMB_INIT_SETSID", "0");
        if is("DUMB_INIT_DEBUG", "1") {
            self.imply(Opt::LogLevel, "debug");
        }
        let mut options = Options::new(arguments, "r");
        while let Some((name, value)) = self.tool.usage(options.next(&DUMB_INIT_LONG))? {
            match name {
                'c' => alone = true,
                'v' => self.switch(Opt::Verbose),
                'r' => {
                    // The value is not shown: what is secret is not known yet.
                    let wrong =
                        "-r takes SIGNAL:SIGNAL, two numbers up to 31, the second one 0 to drop it";
                    let map = rewrite(&value).ok_or_else(|| self.tool.wrong(wrong))?;
                    // The kernel's own go to nobody, whatever they were to become.
                    if ![libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD].contains(&map.0) {
                        self.value(Opt::MapSignal, format!("{}={}", map.0, map.1).into());
                    }
                }
                'h' => self.print = Some(self.tool.help()),
                'V' => self.print = Some(self.tool.version()),
                _ => return Err(self.tool.wrong(&unknown(format!("-{name}")))),
            }
        }
        self.typed.operands = options.rest.to_vec();
        if alone {
            self.imply(Opt::OrphanGrace, "none");
        } else {
            self.imply(Opt::SignalGroup, "1");
        }
        Ok(())
    }

    fn tini(&mut self, arguments: &[OsString], variable: Variable<'_>) -> Result<(), Failure> {
        self.imply(Opt::OrphanGrace, "none");
        if variable("TINI_KILL_PROCESS_GROUP").is_some() {
            self.imply(Opt::SignalGroup, "1");
        }
        let verbosity = variable("TINI_VERBOSITY").and_then(|value| value.to_str()?.parse().ok());
        if verbosity.is_some_and(|level: u32| level > 1) {
            self.imply(Opt::LogLevel, "debug");
        }
        if arguments.len() == 1 && arguments[0] == "--version" {
            self.print = Some(self.tool.version());
            return Ok(());
        }
        let mut options = Options::new(arguments, "ep");
        while let Some((name, value)) = self.tool.usage(options.next(&[]))? {
            match name {
                's' => {}
                'v' => self.switch(Opt::Verbose),
                'w' => self.typed.tells_reaped = true,
                'g' => self.switch(Opt::SignalGroup),
                'p' => self.typed.parent_death = Some(value.to_string_lossy().into_owned()),
                'e' => {
                    let code = value.to_str().filter(|code| code.parse::<u8>().is_ok());
                    let wrong = || self.tool.wrong("-e takes an exit code, 0 to 255");
                    let code = code.ok_or_else(wrong)?;
                    self.value(Opt::MapExit, format!("{code}=0").into());
                }
                'h' => self.print = Some(self.tool.help()),
                'l' => self.print = Some(String::from("portero, in tini's place: MIT licence\n")),
                _ => return Err(self.tool.wrong(&unknown(format!("-{name}")))),
            }
        }
        self.typed.operands = options.rest.to_vec();
        Ok(())
    }

    fn dropper(&mut self, arguments: &[OsString]) -> Result<(), Failure> {
        let [user, command @ ..] = arguments else {
            return Err(self.tool.wrong("there is no user"));
        };
        self.print = match user.to_str() {
            Some("--help" | "-h") => Some(self.tool.help()),
            Some("--version" | "-v") => Some(self.tool.version()),
            _ => None,
        };
        if self.print.is_some() {
            return Ok(());
        }
        let spec = user.to_string_lossy();
        // An argument in the wrong place may be a password; and `user:` is the user's own group.
        if spec.contains(['/', '@']) || spec.matches(':').count() > 1 {
            return Err(self
                .tool
                .wrong("the first argument is no user: user, user:group, uid or uid:gid"));
        }
        let own_group = spec.strip_suffix(':').filter(|user| !user.is_empty());
        let spec = own_group.unwrap_or(&spec);
        if spec.is_empty() {
            return Err(self
                .tool
                .wrong(r#""" is no user: user, user:group, uid or uid:gid"#));
        }
        // It is never expanded.
        self.value(Opt::User, spec.replace("${", "$${").into());
        self.typed.operands = command.to_vec();
        self.imply(Opt::Exec, "1");
        self.imply(Opt::AllowNewPrivileges, "1");
        Ok(())
    }

    fn switch(&mut self, opt: Opt) {
        self.typed.values[opt as usize] = vec![OsString::new()];
    }

    fn value(&mut self, opt: Opt, value: OsString) {
        self.typed.values[opt as usize].push(value);
    }

    fn imply(&mut self, opt: Opt, value: &'static str) {
        self.typed.implied.push((opt, value));
    }
}

/// dumb-init's long options by the letter that means the same.
const DUMB_INIT_LONG: [(&str, char); 5] = [
    ("single-child", 'c'),
    ("rewrite", 'r'),
    ("verbose", 'v'),
    ("help", 'h'),
    ("version", 'V'),
];

/// `15:3` as 15 and `3`, `1:0` as 1 and nothing; as `sscanf(3)` reads `%d:%d`, with white space before and anything
/// behind.
fn rewrite(text: &OsStr) -> Option<(i32, String)> {
    let (from, to) = text.to_str()?.split_once(':')?;
    let to = to.trim_ascii_start();
    let end = to.find(|c: char| !c.is_ascii_digit()).unwrap_or(to.len());
    let (from, to): (i32, u8) = (
        from.trim_ascii_start().parse().ok()?,
        to[..end].parse().ok()?,
    );
    let to = Some(to).filter(|to| *to <= 31 && (1..=31).contains(&from))?;
    Some((
        from,
        if to == 0 {
            String::new()
        } else {
            to.to_string()
        },
    ))
}
