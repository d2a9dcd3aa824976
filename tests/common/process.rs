//! Processes under test: plain, or as PID 1 of a PID namespace of their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{DEADLINE, poll_until, portero, tool, words};

/// A command that is about to be started. It gets an empty environment but for `PATH`.
#[derive(Clone, Debug)]
pub struct Run {
    argv: Vec<OsString>,
    via: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    user: Option<(u32, u32)>,
    pid1: bool,
}

impl Run {
    /// Any program.
    pub fn program(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            via: Vec::new(),
            environment: BTreeMap::from([(
                "PATH".into(),
                "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into(),
            )]),
            directory: "/".into(),
            user: None,
            pid1: false,
        }
    }

    /// portero as an ordinary process.
    pub fn portero() -> Self {
        Self::program(portero())
    }

    /// portero as PID 1 of a new PID namespace, as in a container.
    pub fn as_pid1() -> Self {
        Self::portero().pid1()
    }

    /// This command as PID 1 of a new PID namespace with a /proc of its own.
    pub fn pid1(mut self) -> Self {
        self.pid1 = true;
        self
    }

    pub(super) fn is_pid1(&self) -> bool {
        self.pid1
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.argv
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// The words of a line, as they stand between blanks or in quotes.
    #[track_caller]
    pub fn line(self, line: impl AsRef<str>) -> Self {
        self.args(words(line.as_ref()))
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    pub fn cwd(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = directory.as_ref().to_owned();
        self
    }

    /// Starts as this user, without supplementary groups and without capabilities.
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Programs that set something up and then exec what follows, e.g. `env --ignore-signal=HUP`. They run inside
    /// the namespace, so that a hostile state reaches the command and not the harness.
    pub fn via(mut self, wrapper: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.via
            .extend(wrapper.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Runs a shell script first, as root, in a mount namespace of its own: what it mounts is there for the command.
    pub fn mounts(self, script: &str) -> Self {
        let unshare = tool("unshare");
        let script = format!("set -e; {script}\nexec \"$@\"");
        self.via([
            unshare.to_str().unwrap(),
            "--mount",
            "/bin/sh",
            "-c",
            &script,
            "sh",
        ])
    }

    /// The same, before the wrappers that are there already.
    pub(super) fn via_first(
        mut self,
        wrapper: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let mut via: Vec<OsString> = wrapper
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        via.append(&mut self.via);
        self.via = via;
        self
    }

    fn command_line(&self) -> Vec<OsString> {
        let mut line: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| line.extend(words.iter().map(OsString::from));
        if self.pid1 {
            require_namespaces();
            // The kernel ends the namespace with the test, whatever ends the test.
            add(&[tool("setpriv").to_str().unwrap(), "--pdeathsig", "KILL"]);
            add(&[
                tool("unshare").to_str().unwrap(),
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "--",
            ]);
        }
        if let Some((uid, gid)) = self.user {
            let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
            add(&[
                tool("setpriv").to_str().unwrap(),
                &uid,
                &gid,
                "--clear-groups",
            ]);
        }
        line.extend(self.via.iter().cloned());
        line.extend(self.argv.iter().cloned());
        line
    }

    pub(super) fn command(&self) -> Command {
        let line = self.command_line();
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.directory);
        command
    }

    /// How a failing test shows this command.
    pub(super) fn shown(&self) -> String {
        let environment: Vec<String> = self
            .environment
            .iter()
            .filter(|(name, _)| *name != "PATH")
            .map(|(name, value)| format!("{}={value:?} ", name.display()))
            .collect();
        let words: Vec<String> = self
            .via
            .iter()
            .chain(&self.argv)
            .map(|word| format!("{word:?}"))
            .collect();
        let place = if self.pid1 {
            " (PID 1 of a namespace)"
        } else {
            ""
        };
        format!("{}{}{place}", environment.concat(), words.join(" "))
    }

    /// Starts it with captured output and a stdin that is /dev/null.
    pub fn start(self) -> Process {
        self.start_with(Stdio::null())
    }

    /// Starts it with captured output and this stdin.
    pub fn start_with(self, stdin: impl Into<Stdio>) -> Process {
        let mut command = self.command();
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.shown()));
        let stdout = Capture::start(child.stdout.take().unwrap());
        let stderr = Capture::start(child.stderr.take().unwrap());
        Process {
            shown: self.shown(),
            pid1: self.pid1,
            child,
            stdout,
            stderr,
            ended: None,
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.start().wait()
    }

    /// Runs it to its end, which must have this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Finished {
        self.start().exits(code)
    }

    /// Runs it to its end: 125, and one line on stderr.
    #[track_caller]
    pub fn refused(self) -> Finished {
        let finished = self.exits(125);
        finished.assert_one_error_line();
        finished
    }
}

/// Panics when PID namespaces can't be made here: the tests of an init mean nothing without them.
fn require_namespaces() {
    static CHECKED: OnceLock<Result<(), String>> = OnceLock::new();
    let checked = CHECKED.get_or_init(|| {
        let output = Command::new(tool("unshare"))
            .args([
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "--",
                "true",
            ])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    });
    if let Err(why) = checked {
        panic!(
            "no PID namespace can be made here: {}; run the tests as root (in a container: docker run --privileged)",
            why.trim()
        );
    }
}

/// Output that a thread reads as it comes, so that a test can look at it while the process runs.
#[derive(Debug)]
pub(super) struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Capture {
    pub(super) fn start(mut source: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal ends with EIO, a pipe with 0.
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, reader }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Whether the stream has come to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// Everything up to the end of the stream; a process that outlives the command may keep it open.
    fn complete(&self) -> String {
        poll_until(Duration::from_secs(5), || {
            self.reader.is_finished().then_some(())
        });
        self.text()
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Code(i32),
    Signal(i32),
}

impl From<std::process::ExitStatus> for Ended {
    fn from(status: std::process::ExitStatus) -> Self {
        status
            .code()
            .map_or_else(|| Self::Signal(status.signal().unwrap_or(0)), Self::Code)
    }
}

/// A process that has ended, and everything it said.
#[derive(Clone, Debug)]
pub struct Finished {
    pub command: String,
    /// Of a namespace: how its PID 1 ended (unshare exits with its code, or kills itself with its signal).
    pub ended: Ended,
    pub stdout: String,
    pub stderr: String,
}

impl Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\n  command: {}\n  ended:   {:?}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.command,
            self.ended,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}

impl Finished {
    #[track_caller]
    pub fn assert_exit(&self, code: i32) -> &Self {
        assert_eq!(
            self.ended,
            Ended::Code(code),
            "expected exit code {code}{self}"
        );
        self
    }

    #[track_caller]
    pub fn assert_stdout(&self, expected: &str) -> &Self {
        assert_eq!(self.stdout, expected, "unexpected stdout{self}");
        self
    }

    #[track_caller]
    pub fn assert_stdout_contains(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text), "stdout lacks {text:?}{self}");
        self
    }

    #[track_caller]
    pub fn assert_stderr(&self, expected: &str) -> &Self {
        assert_eq!(self.stderr, expected, "unexpected stderr{self}");
        self
    }

    #[track_caller]
    pub fn assert_stderr_contains(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}{self}");
        self
    }

    /// Neither stream may hold this text: a password, a secret.
    #[track_caller]
    pub fn assert_never_says(&self, secret: &str) -> &Self {
        assert!(!secret.is_empty(), "an empty secret proves nothing");
        assert!(
            !self.stdout.contains(secret) && !self.stderr.contains(secret),
            "{secret:?} was printed{self}"
        );
        self
    }

    /// Exactly one line on stderr, which starts `portero: `.
    #[track_caller]
    pub fn assert_one_error_line(&self) -> &Self {
        self.assert_one_line_of("portero: ")
    }

    /// stderr is one line that starts with `prefix`.
    pub fn assert_one_line_of(&self, prefix: &str) -> &Self {
        let one = self.stderr.lines().count() == 1 && self.stderr.ends_with('\n');
        assert!(
            one && self.stderr.starts_with(prefix),
            "expected one line on stderr that starts with {prefix:?}{self}"
        );
        self
    }
}

/// A process that runs; dropped, it ends with all its descendants.
#[derive(Debug)]
pub struct Process {
    shown: String,
    pid1: bool,
    child: Child,
    stdout: Capture,
    stderr: Capture,
    ended: Option<Ended>,
}

impl Process {
    /// The process id, as the host sees it, of the command itself: of a namespace that is its PID 1.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let child = i32::try_from(self.child.id()).unwrap();
        if !self.pid1 {
            return child;
        }
        let end = Instant::now() + DEADLINE;
        // Without a pause: tests of the first milliseconds come through here.
        loop {
            if let Some(&inner) = children(child).first() {
                return inner;
            }
            assert!(
                Instant::now() < end && Path::new(&format!("/proc/{child}")).exists(),
                "{self} made no namespace"
            );
        }
    }

    /// The same, or 0 when it has ended.
    pub fn pid_if_any(&self) -> i32 {
        let child = i32::try_from(self.child.id()).unwrap();
        if self.pid1 {
            children(child).first().copied().unwrap_or(0)
        } else {
            child
        }
    }

    /// Closes the stdin of a process that was started with a pipe.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits, without a pause, until the command itself has replaced the programs that prepare its start.
    #[track_caller]
    pub fn until_executed(&self, program: &Path) -> i32 {
        let wanted = program.canonicalize().unwrap();
        let pid = self.pid();
        let link = format!("/proc/{pid}/exe");
        let end = Instant::now() + DEADLINE;
        while fs::read_link(&link).ok().as_deref() != Some(&wanted) {
            assert!(
                Instant::now() < end,
                "{} was not executed{self}",
                wanted.display()
            );
        }
        pid
    }

    /// Sends a signal from outside to the command itself.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal)
            .unwrap_or_else(|error| panic!("{signal}: {error}{self}"));
    }

    /// The same for any number, real-time signals included.
    pub fn signal_number(&self, number: i32) {
        let status = Command::new("/bin/sh")
            .args(["-c", &format!("kill -{number} {}", self.pid())])
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "kill -{number}{self}");
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until stdout holds `text`.
    #[track_caller]
    pub fn until_stdout(&mut self, text: &str) -> &mut Self {
        self.until(
            |process| process.stdout().contains(text),
            &format!("{text:?} on stdout"),
        );
        self
    }

    /// Waits until stderr holds `text`.
    #[track_caller]
    pub fn until_stderr(&mut self, text: &str) -> &mut Self {
        self.until(
            |process| process.stderr().contains(text),
            &format!("{text:?} on stderr"),
        );
        self
    }

    /// Waits until `condition` holds; a process that ends before it does is a failure.
    #[track_caller]
    pub fn until(&mut self, condition: impl Fn(&Self) -> bool, what: &str) {
        let end = Instant::now() + DEADLINE;
        while !condition(self) {
            let over = Instant::now() >= end || self.poll().is_some();
            // It may have come true between the look and the end.
            assert!(
                !over
                    || (
                        self.stdout.complete(),
                        self.stderr.complete(),
                        condition(self)
                    )
                        .2,
                "never came: {what}{self}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every process of the namespace as its own /proc shows it.
    pub fn processes(&self) -> Vec<Entry> {
        let root = if self.pid1 {
            format!("/proc/{}/root/proc", self.pid())
        } else {
            "/proc".into()
        };
        processes(Path::new(&root))
    }

    /// One field of the command's own /proc/PID/status, e.g. `CapEff`.
    #[track_caller]
    pub fn status_field(&self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        field(&status, name).unwrap_or_else(|| panic!("no {name} in /proc/PID/status{self}"))
    }

    /// Has it ended?
    pub fn poll(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap().map(Ended::from);
        }
        self.ended
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(self) -> Finished {
        self.wait_at_most(DEADLINE)
    }

    /// Waits for its end, which must have this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Finished {
        let finished = self.wait();
        finished.assert_exit(code);
        finished
    }

    /// Waits for its end; later than `limit` is a failure.
    #[track_caller]
    pub fn wait_at_most(mut self, limit: Duration) -> Finished {
        let ended = poll_until(limit, || self.poll());
        let ended = ended.unwrap_or_else(|| panic!("still runs after {limit:?}{self}"));
        let stderr = self.stderr.complete();
        // unshare fails to say so when a SIGKILL ended its child: it can't reset that signal before it raises it.
        let killed = self.pid1 && ended == Ended::Code(1) && stderr.contains("unshare: ");
        let ended = if killed { Ended::Signal(9) } else { ended };
        Finished {
            command: self.shown.clone(),
            ended,
            stdout: self.stdout.complete(),
            stderr,
        }
    }
}

impl Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\n  command: {}\n  ended:   {:?}\n--- stdout so far\n{}\n--- stderr so far\n{}\n---",
            self.shown,
            self.ended,
            self.stdout().trim_end(),
            self.stderr().trim_end()
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // unshare's --kill-child is not enough: the kernel forgets a parent-death signal when a process changes its
        // user, as PID 1 does here.
        if self.poll().is_none() {
            end_tree(i32::try_from(self.child.id()).unwrap());
            let _ = self.child.wait();
        }
    }
}

/// Kills a process and all its descendants.
pub(super) fn end_tree(pid: i32) {
    for child in children(pid) {
        end_tree(child);
    }
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// The children of a process, as the host sees them.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A process and all its descendants, as the host sees them.
pub fn tree(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    for child in children(pid) {
        all.extend(tree(child));
    }
    all
}

/// One line of a process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// `R`, `S`, `T`, `Z`: see proc(5).
    pub state: char,
    pub name: String,
}

fn processes(proc: &Path) -> Vec<Entry> {
    let Ok(entries) = fs::read_dir(proc) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name stands in parentheses and may hold any of them.
            let (head, tail) = stat.rsplit_once(')')?;
            let (_, name) = head.split_once('(')?;
            let mut fields = tail.split_whitespace();
            Some(Entry {
                pid,
                state: fields.next()?.chars().next()?,
                parent: fields.next()?.parse().ok()?,
                group: fields.next()?.parse().ok()?,
                session: fields.next()?.parse().ok()?,
                name: name.to_owned(),
            })
        })
        .collect()
}

/// The value of `name` in the text of a /proc/PID/status, blanks made single.
pub fn field(status: &str, name: &str) -> Option<String> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}
