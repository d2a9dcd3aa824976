//! A command line made ready to be executed, and why one could not be.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::environment::{Environment, c_string, expand};
use crate::exit::{Exit, Failure};
use crate::sys::{ExecError, Image};
use crate::wording::{named, shown};

/// Where commands are looked for when PATH is unset (`execvp(3)`).
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/bin:/usr/bin";

/// Makes `command` ready, to be found along the PATH of `environment`.
///
/// # Errors
/// 125 for a command without a name.
pub fn image(command: &[OsString], environment: Environment) -> Result<Image, Failure> {
    let Some(name) = command.first().filter(|name| !name.is_empty()) else {
        return Err(Failure::failed("COMMAND is empty: say what to run"));
    };
    Ok(Image {
        candidates: candidates(name, &environment),
        arguments: command
            .iter()
            .map(|argument| c_string(&[argument.as_bytes()]))
            .collect(),
        environment: environment.into_entries(),
        ends_with_parent: false,
    })
}

/// A stage: portero itself under another command. /proc/self/exe works under any name and directory. When its init is
/// killed below another one, so that nobody is left to supervise it, that is a stop: a migration is ended from its top,
/// and keeps its lock to its end.
pub fn own_image(subcommand: &str, environment: Environment) -> Image {
    Image {
        candidates: [c_string(&[b"/proc/self/exe"])]
            .into_iter()
            .chain(crate::sys::executed_path())
            .collect(),
        arguments: vec![c_string(&[b"portero"]), c_string(&[subcommand.as_bytes()])],
        environment: environment.into_entries(),
        ends_with_parent: true,
    }
}

fn candidates(name: &OsStr, environment: &Environment) -> Vec<CString> {
    let name = name.as_bytes();
    if name.contains(&b'/') {
        return vec![c_string(&[name])];
    }
    let path = environment
        .get("PATH")
        .map_or(DEFAULT_PATH, OsStrExt::as_bytes);
    let in_directory = |directory: &[u8]| match directory {
        // An empty entry is the current directory (POSIX.1-2017, 8.3 PATH).
        [] => c_string(&[name]),
        directory => c_string(&[directory, b"/", name]),
    };
    path.split(|byte| *byte == b':').map(in_directory).collect()
}

/// Whether a command of this name could be executed: an executable file, or one on the environment's PATH.
pub fn exists(name: &OsStr, environment: &Environment) -> bool {
    let is_executable = |path: &CString| {
        let file = fs::metadata(OsStr::from_bytes(path.as_bytes()));
        file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    !name.is_empty() && candidates(name, environment).iter().any(is_executable)
}

/// The failure that an `ExecError` is for the user: 125 no process to execute it in, 127 not found, 126 can't be
/// executed, with the reason.
pub fn failure(image: &Image, error: ExecError) -> Failure {
    let name = image.arguments.first().map_or_else(OsString::new, |name| {
        OsString::from_vec(name.as_bytes().to_vec())
    });
    let is_path = name.as_bytes().contains(&b'/');
    let hints = hints(&name);
    let name = if name.as_bytes().iter().any(u8::is_ascii_control) {
        shown(&name)
    } else {
        named(&name)
    };
    let candidate = image
        .candidates
        .get(error.candidate.unwrap_or_default())
        .map_or(&[][..], |path| path.as_bytes());
    let path = Path::new(OsStr::from_bytes(candidate));
    let tried = named(path);
    match error.errno {
        errno if error.candidate.is_none() && errno != libc::ENOENT => Failure::failed(format!(
            "no process for {name}: {}: the limit on processes (ulimit -u, the pids cgroup) or on memory is reached",
            nix::errno::Errno::from_raw(errno).desc().to_lowercase()
        )),
        libc::ENOENT | libc::ENOTDIR => match missing_interpreter(image) {
            Some((path, interpreter)) => cannot(&format!(
                "{}: its interpreter {interpreter} does not exist in this image",
                named(path)
            )),
            None if is_path => Failure::new(Exit::NotFound, format!("{name}: not found{hints}")),
            None => Failure::new(
                Exit::NotFound,
                format!("{name}: not found in any directory of PATH{hints}"),
            ),
        },
        libc::EACCES => cannot(&format!("{tried}: {}", why_refused(path))),
        libc::ENOEXEC => cannot(&format!("{tried}: {}", why_no_program(path))),
        libc::EPERM => cannot(&format!(
            "{tried}: operation not permitted: a file capability that the emptied bounding set forbids? Keep it by --keep-cap, or see --allow-new-privileges"
        )),
        errno => cannot(&format!(
            "{tried}: {}",
            nix::errno::Errno::from_raw(errno).desc()
        )),
    }
}

/// What to write instead of a name that only a shell would have understood.
fn hints(name: &OsStr) -> String {
    let mut hints = String::new();
    if name.as_bytes().iter().any(u8::is_ascii_whitespace) {
        hints +=
            "; it has white space in it: give each word by itself, not all in one pair of quotes";
    }
    let variable = expand::hint(name);
    if !variable.is_empty() {
        hints = format!("{hints}{variable}, and for COMMAND --expand-args");
    }
    hints
}

fn cannot(message: &str) -> Failure {
    Failure::new(Exit::CannotExecute, format!("can't execute {message}"))
}

/// A candidate that exists although `execve(2)` found nothing: then what is missing is the program that runs it.
fn missing_interpreter(image: &Image) -> Option<(&Path, String)> {
    let paths = image
        .candidates
        .iter()
        .map(|path| Path::new(OsStr::from_bytes(path.as_bytes())));
    paths
        .filter(|path| path.is_file())
        .find_map(|path| Some((path, interpreter(path)?)))
}

fn interpreter(path: &Path) -> Option<String> {
    let head = head(path);
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let carriage_return = if line.ends_with(b"\r") {
            " (its first line ends in a carriage return)"
        } else {
            ""
        };
        let program = String::from_utf8_lossy(line)
            .split_whitespace()
            .next()?
            .to_string();
        return Some(format!("{program}{carriage_return}"));
    }
    elf_interpreter(&head).or_else(|| {
        head.starts_with(b"\x7fELF")
            .then(|| "(dynamic loader)".into())
    })
}

/// The path in the `PT_INTERP` segment (`elf(5)`), when it is within the head of a 64-bit little-endian file. It takes
/// 0.6 kB of the binary.
fn elf_interpreter(head: &[u8]) -> Option<String> {
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = head.get(at..at + length)?;
        usize::try_from(
            bytes
                .iter()
                .rev()
                .fold(0u64, |number, byte| number << 8 | u64::from(*byte)),
        )
        .ok()
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, entry_size, entries) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..entries {
        let entry = index.checked_mul(entry_size)?.checked_add(table)?;
        if number(entry, 4)? == 3 {
            let (offset, size) = (
                number(entry.checked_add(8)?, 8)?,
                number(entry.checked_add(32)?, 8)?,
            );
            let path = head.get(offset..offset.checked_add(size)?)?;
            return Some(
                String::from_utf8_lossy(path)
                    .trim_end_matches('\0')
                    .to_string(),
            );
        }
    }
    None
}

fn why_refused(path: &Path) -> String {
    if let Some(closed) = closed_directory(path) {
        return format!(
            "permission denied: this user (uid {}) may not enter {}",
            nix::unistd::Uid::effective(),
            named(closed)
        );
    }
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => "it is a directory".into(),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => "it has no x bit (chmod +x)".into(),
        Ok(_) if may_execute(path) => {
            "permission denied: its file system is mounted noexec, or its interpreter can't be executed".into()
        }
        _ => format!("permission denied for uid {}", nix::unistd::Uid::effective()),
    }
}

fn may_execute(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// The first directory on the way to `path` that may not be searched.
fn closed_directory(path: &Path) -> Option<&Path> {
    let mut directories: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    directories.reverse();
    let closed = |path: &&Path| {
        path.is_dir() && nix::unistd::access(*path, nix::unistd::AccessFlags::X_OK).is_err()
    };
    directories.into_iter().find(closed)
}

fn why_no_program(path: &Path) -> String {
    let head = head(path);
    if head.is_empty() {
        return "it is empty".into();
    }
    if let Some(machine) = head.get(18..20).filter(|_| head.starts_with(b"\x7fELF")) {
        let machine = match machine {
            [0x3e, 0] => "x86-64",
            [0xb7, 0] => "arm64",
            [0x28, 0] => "32-bit arm",
            [0x03, 0] => "32-bit x86",
            _ => "another architecture",
        };
        return format!(
            "it is built for {machine}, this machine is {}: build the image with --platform",
            std::env::consts::ARCH
        );
    }
    if head.starts_with(b"#!") {
        return "its #! line can't be understood".into();
    }
    "it is no program: a script needs a first line such as #!/bin/sh".into()
}

/// The first bytes of the file: enough for a `#!` line, and for the headers of any usual ELF file.
fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    if fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
        && let Ok(file) = File::open(path)
    {
        let _ = file.take(4096).read_to_end(&mut head);
    }
    head
}
