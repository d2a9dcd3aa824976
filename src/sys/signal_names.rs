//! Signals by name and number, and what each does by default (`signal(7)`).

/// The numbers on x86-64 and arm64, 1 to 31.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names for some of them.
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// What a C library calls SIGRTMIN: glibc and musl keep 32–34 and 32–33 to themselves; 34 is glibc's first.
pub const RTMIN: i32 = 34;

const RTMAX: i32 = 64;

/// The number of a signal that was given by name, with or without SIG, or by number.
pub fn number(name: &str) -> Option<i32> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name
            .parse()
            .ok()
            .filter(|number| (1..=RTMAX).contains(number));
    }
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(index + 1).ok();
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(*number);
    }
    real_time(name)
}

fn real_time(name: &str) -> Option<i32> {
    let offset = |text: &str| match text {
        "" => Some(0),
        text => text[1..]
            .parse::<u8>()
            .ok()
            .filter(|_| text[1..].bytes().all(|byte| byte.is_ascii_digit()))
            .map(i32::from),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN + offset(Some(rest).filter(|rest| rest.is_empty() || rest.starts_with('+'))?)?
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        RTMAX - offset(Some(rest).filter(|rest| rest.is_empty() || rest.starts_with('-'))?)?
    };
    Some(number).filter(|number| (RTMIN..=RTMAX).contains(number))
}

/// `SIGTERM` for 15, `SIGRTMIN+1` for 35.
pub fn name(number: i32) -> String {
    match usize::try_from(number - 1)
        .ok()
        .and_then(|index| NAMES.get(index))
    {
        Some(name) => format!("SIG{name}"),
        None if number >= RTMIN => format!("SIGRTMIN+{}", number - RTMIN),
        None => format!("signal {number}"),
    }
}

/// Whether the signal's default action is to end the process.
pub fn terminates(number: i32) -> bool {
    !matches!(
        number,
        libc::SIGCHLD | libc::SIGCONT | libc::SIGSTOP | libc::SIGURG | libc::SIGWINCH
    ) && !is_terminal_stop(number)
}

/// The stops that a terminal sends, and that a process may catch.
pub fn is_terminal_stop(number: i32) -> bool {
    matches!(number, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// Whether the signal is what a program that goes wrong comes to (`signal(7)`, those that dump core by a fault).
pub fn is_crash(number: i32) -> bool {
    use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    matches!(
        number,
        SIGABRT | SIGBUS | SIGFPE | SIGILL | SIGSEGV | SIGSYS | SIGTRAP
    )
}

/// Whether the signal is job control's: a terminal's stops, and what continues after them.
pub fn is_job_control(number: i32) -> bool {
    is_terminal_stop(number) || number == libc::SIGCONT
}
