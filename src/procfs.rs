//! The line of `/proc/PID/stat` (`proc_pid_stat(5)`).

/// What of it is needed here.
#[derive(Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// The process's name.
    pub name: &'a [u8],
    /// One letter: `S` sleeps, `T` is stopped, `Z` has ended.
    pub state: u8,
    /// The parent's pid.
    pub parent: i32,
    /// The process group.
    pub group: i32,
    /// When it was started, in clock ticks since the boot.
    pub started: u64,
}

impl<'a> Stat<'a> {
    /// Reads the line. The name, in brackets, may hold spaces and brackets itself; the fields behind it are counted
    /// from 3.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let begin = line.iter().position(|byte| *byte == b'(')? + 1;
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let fields: Vec<&str> = std::str::from_utf8(&line[end + 1..])
            .ok()?
            .split_ascii_whitespace()
            .collect();
        Some(Self {
            name: line.get(begin..end)?,
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_name_is() {
        let rest = "S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1 2";
        for name in ["sh", "a b", ") S 1 1 (", "", "((((", "x)"] {
            let stat = format!("42 ({name}) {rest}");
            let process = Stat::parse(stat.as_bytes()).unwrap();
            assert_eq!(
                (
                    process.name,
                    process.state,
                    process.parent,
                    process.group,
                    process.started
                ),
                (name.as_bytes(), b'S', 7, 8, 123_456),
                "{name}"
            );
        }
        for bad in ["", "42 (sh", "42 (sh) S", "42 (sh) S x 8 9"] {
            assert_eq!(Stat::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
