//! Tables of cases as text: a line a case, its columns two blanks or more apart.

/// The rows of a table of `N` columns; `-` is an empty one.
pub fn rows<const N: usize>(text: &str) -> impl Iterator<Item = [&str; N]> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| {
        let columns = line.split("  ").map(str::trim);
        let columns = columns.filter(|column| !column.is_empty());
        let columns = columns.map(|column| if column == "-" { "" } else { column });
        let columns = columns.collect::<Vec<_>>().try_into();
        columns.unwrap_or_else(|columns| panic!("not {N} columns: {columns:?}"))
    })
}

/// With the bytes that `\r`, `\n` and `\0` stand for.
pub fn unescaped(text: &str) -> String {
    let escapes = [("\\r", "\r"), ("\\n", "\n"), ("\\0", "\0")];
    let text = text.to_owned();
    escapes
        .iter()
        .fold(text, |text, (escape, byte)| text.replace(escape, byte))
}
