//! Words as a POSIX shell sees them, without the shell (POSIX.1-2017, Shell Command Language, 2.2 Quoting).

/// Commands from one text: newlines outside of quotes separate commands; each is a chain of commands joined by `&&`,
/// each of those a list of words.
pub type Chain = Vec<Vec<Vec<u8>>>;

/// One word, and whether any part of it was quoted: a quoted `|` is an argument, a bare one is shell syntax.
#[derive(Debug, Default)]
struct Word {
    text: Vec<u8>,
    quoted: bool,
}

/// Splits `text` into the commands on its lines.
///
/// # Errors
/// One line about an open quote, shell syntax that needs a shell, or an `&&` without a command on one side.
pub fn commands(text: &[u8]) -> Result<Vec<Chain>, String> {
    lines(text)?
        .into_iter()
        .filter(|words| !words.is_empty())
        .map(chain)
        .collect()
}

fn chain(words: Vec<Word>) -> Result<Chain, String> {
    let mut chain = vec![Vec::new()];
    for word in words {
        if !word.quoted && word.text == b"&&" {
            chain.push(Vec::new());
            continue;
        }
        if let Some(syntax) = shell_syntax(&word.text).filter(|_| !word.quoted) {
            let syntax = String::from_utf8_lossy(syntax);
            return Err(format!(
                "'{syntax}' is shell syntax and there is no shell: use sh -c '…', or quote it to pass it on"
            ));
        }
        if let Some(command) = chain.last_mut() {
            command.push(word.text);
        }
    }
    if chain.iter().any(Vec::is_empty) {
        return Err("'&&' needs a command on both sides".into());
    }
    Ok(chain)
}

/// What only a shell understands: an operator that is a word of its own, a substitution at its start, or the `;` at
/// its end, which everybody means as a shell does. The rest of the word is not shown: it may hold a password.
fn shell_syntax(word: &[u8]) -> Option<&'static [u8]> {
    const OPERATORS: [&[u8]; 12] = [
        b"|", b"||", b";", b";;", b"&", b">", b">>", b"<", b"<<", b"(", b")", b"2>&1",
    ];
    const STARTS: [&[u8]; 2] = [b"$(", b"`"];
    let operator = OPERATORS.into_iter().find(|operator| *operator == word);
    let start = || STARTS.into_iter().find(|start| word.starts_with(start));
    operator
        .or_else(start)
        .or_else(|| word.ends_with(b";").then_some(b";"))
}

fn lines(text: &[u8]) -> Result<Vec<Vec<Word>>, String> {
    let mut lines = vec![Vec::new()];
    let mut word: Option<Word> = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                if let Some(line) = lines.last_mut() {
                    line.extend(word.take());
                }
                if byte == b'\n' {
                    lines.push(Vec::new());
                }
            }
            b'\'' => single_quoted(&mut bytes, word.get_or_insert_default())?,
            b'"' => double_quoted(&mut bytes, word.get_or_insert_default())?,
            b'\\' => escaped(&mut bytes, &mut word)?,
            byte => word.get_or_insert_default().text.push(byte),
        }
    }
    if let Some(line) = lines.last_mut() {
        line.extend(word);
    }
    Ok(lines)
}

fn single_quoted(bytes: &mut impl Iterator<Item = u8>, word: &mut Word) -> Result<(), String> {
    word.quoted = true;
    loop {
        match bytes.next() {
            Some(b'\'') => return Ok(()),
            Some(byte) => word.text.push(byte),
            None => return Err("a ' is not closed".into()),
        }
    }
}

/// Inside of double quotes a backslash counts before `$`, `` ` ``, `"`, `\` and newline only.
fn double_quoted(bytes: &mut impl Iterator<Item = u8>, word: &mut Word) -> Result<(), String> {
    word.quoted = true;
    loop {
        match bytes.next() {
            Some(b'"') => return Ok(()),
            Some(b'\\') => match bytes.next() {
                Some(byte @ (b'$' | b'`' | b'"' | b'\\')) => word.text.push(byte),
                Some(b'\n') => {}
                Some(byte) => word.text.extend([b'\\', byte]),
                None => return Err("a \" is not closed".into()),
            },
            Some(byte) => word.text.push(byte),
            None => return Err("a \" is not closed".into()),
        }
    }
}

/// A backslash outside of quotes: before a newline it continues the line, before all else it quotes.
fn escaped(bytes: &mut impl Iterator<Item = u8>, word: &mut Option<Word>) -> Result<(), String> {
    match bytes.next() {
        Some(b'\n') => {}
        Some(byte) => {
            let word = word.get_or_insert_default();
            word.quoted = true;
            word.text.push(byte);
        }
        None => return Err("a backslash at the end quotes nothing".into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<Vec<Vec<Vec<String>>>, String> {
        let text_of = |word: Vec<u8>| String::from_utf8(word).unwrap();
        let commands = commands(text.as_bytes())?;
        Ok(commands
            .into_iter()
            .map(|chain| {
                chain
                    .into_iter()
                    .map(|words| words.into_iter().map(text_of).collect())
                    .collect()
            })
            .collect())
    }

    #[test]
    fn words_split_as_in_a_posix_shell() {
        let table: &[(&str, &[&str])] = &[
            ("alembic upgrade head", &["alembic", "upgrade", "head"]),
            ("  a\t b  ", &["a", "b"]),
            ("a 'b c' \"d e\"", &["a", "b c", "d e"]),
            ("a b\\ c", &["a", "b c"]),
            ("a ''", &["a", ""]),
            ("a 'b'\"c\"d", &["a", "bcd"]),
            ("a \"\\$x \\n \\\\ \\\"\"", &["a", "$x \\n \\ \""]),
            ("a '\\n'", &["a", "\\n"]),
            ("a b\\\nc", &["a", "bc"]),
            ("a 'x\ny'", &["a", "x\ny"]),
            ("a '&&' \\| \";\"", &["a", "&&", "|", ";"]),
            ("a x|y b;c", &["a", "x|y", "b;c"]),
        ];
        for (text, words) in table {
            assert_eq!(split(text).unwrap(), [[words.to_vec()]], "{text}");
        }
    }

    #[test]
    fn lines_and_ands_separate_commands() {
        assert_eq!(
            split("a 1 && b\n\n c\n").unwrap(),
            [vec![vec!["a", "1"], vec!["b"]], vec![vec!["c"]]]
        );
        assert!(split("").unwrap().is_empty());
    }

    #[test]
    fn what_only_a_shell_understands_is_an_error() {
        for text in [
            "a | b",
            "a ; b",
            "a; b",
            "a > f",
            "a $(b) c",
            "a & ",
            "&& a",
            "a &&",
            "a && && b",
            "a 'b",
            "a \"b",
            "a \\",
            "a || b",
        ] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
