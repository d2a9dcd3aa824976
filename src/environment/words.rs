//! Words as a POSIX shell sees them, without the shell (POSIX.1-2017, Shell Command Language, 2.2 Quoting).

use crate::cli::{reference_length, unit_length};
use crate::environment::expand::is_name;

/// One word: its text, in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// What stands as it is, and what is a `${…}` to be expanded.
    pub pieces: Vec<Piece>,
    /// Whether any part of it was quoted: it stays then when it comes out empty.
    pub quoted: bool,
    /// As a shell sees it: quoted characters and expansions, which are no syntax, as `HIDDEN`.
    bare: Vec<u8>,
}

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// It stays as it is.
    Literal(Vec<u8>),
    /// A whole `${…}`.
    Reference(Vec<u8>),
}

/// In no argument there is one.
const HIDDEN: u8 = 0;

impl Word {
    fn push(&mut self, bytes: &[u8], bare: bool) {
        match self.pieces.last_mut() {
            Some(Piece::Literal(text)) => text.extend_from_slice(bytes),
            _ => self.pieces.push(Piece::Literal(bytes.to_vec())),
        }
        if bare {
            self.bare.extend_from_slice(bytes);
        } else {
            self.quoted = true;
            self.bare.push(HIDDEN);
        }
    }
}

/// The commands of `text`: newlines outside of quotes and of `${…}` separate them.
pub fn lines(text: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut start, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let rest = &text[at..];
        at += match rest[0] {
            b'\n' => {
                lines.push(&text[start..at]);
                start = at + 1;
                1
            }
            b'\\' => 2,
            b'\'' => closing(rest, |_| 1),
            b'"' => closing(rest, |rest| {
                if rest[0] == b'\\' {
                    2
                } else {
                    unit_length(rest)
                }
            }),
            _ => unit_length(rest),
        };
    }
    lines.push(&text[start..]);
    lines.retain(|line| !line.trim_ascii().is_empty());
    lines
}

/// Up to behind the quote that closes the one at the start, or to the end.
fn closing(text: &[u8], step: impl Fn(&[u8]) -> usize) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != text[0] {
        at += step(&text[at..]);
    }
    at + 1
}

/// Splits the command `line`: programs joined by `&&`, each a list of words. With `expands` a `${…}` is one.
///
/// # Errors
/// One line about an open quote, shell syntax that needs a shell, or an `&&` without a command on one side.
pub fn command(line: &[u8], expands: bool) -> Result<Vec<Vec<Word>>, String> {
    let mut chain = vec![Vec::new()];
    for word in words(line, expands)? {
        if word.bare == b"&&" {
            chain.push(Vec::new());
            continue;
        }
        let command: &mut Vec<Word> = match chain.last_mut() {
            Some(command) => command,
            None => break,
        };
        if let Some(syntax) = shell_syntax(&word.bare) {
            return Err(format!("'{syntax}' {NO_SHELL}, or quote it to pass it on"));
        }
        if command.is_empty() {
            refuse_program(&word.bare)?;
        }
        command.push(word);
    }
    if chain.iter().any(Vec::is_empty) {
        return Err("'&&' needs a command on both sides".into());
    }
    Ok(chain)
}

const NO_SHELL: &str = "is shell syntax and there is no shell: use sh -c '…'";

/// What only a shell understands. The rest of the word is not shown: it may hold a password.
fn shell_syntax(bare: &[u8]) -> Option<&'static str> {
    const WORDS: [&str; 6] = ["|", "||", "&", "*", "(", ")"];
    const STARTS: [&str; 4] = ["<", ">", "2>", "~/"];
    let word = WORDS.into_iter().find(|word| word.as_bytes() == bare);
    let start = || {
        STARTS
            .into_iter()
            .find(|start| bare.starts_with(start.as_bytes()))
    };
    word.or_else(start)
        .or_else(|| substitution(bare))
        .or_else(|| contains(bare, "&&").then_some("&&"))
        .or_else(|| bare.ends_with(b";").then_some(";"))
}

/// A shell's substitution, which double quotes do not hide.
fn substitution(bare: &[u8]) -> Option<&'static str> {
    ["$(", "`"].into_iter().find(|what| contains(bare, what))
}

fn contains(bare: &[u8], what: &str) -> bool {
    bare.windows(what.len()).any(|part| part == what.as_bytes())
}

/// What a shell does itself, where a program is to stand.
fn refuse_program(bare: &[u8]) -> Result<(), String> {
    const BUILTINS: [&str; 12] = [
        "cd", ".", "source", "export", "set", "eval", "exec", "if", "for", "while", "ulimit",
        "umask",
    ];
    let builtin = BUILTINS.into_iter().find(|name| name.as_bytes() == bare);
    if let Some(name) = builtin {
        return Err(format!("'{name}' {NO_SHELL}"));
    }
    let name = bare.split(|byte| *byte == b'=').next().unwrap_or_default();
    let is_assignment = name.len() < bare.len() && std::str::from_utf8(name).is_ok_and(is_name);
    if is_assignment {
        return Err(
            "NAME=value before a program is shell syntax and there is no shell: use env NAME=value …, or --default"
                .into(),
        );
    }
    Ok(())
}

/// The words of a text; what is in single quotes is never expanded.
fn words(text: &[u8], expands: bool) -> Result<Vec<Word>, String> {
    let (mut words, mut word, mut rest) = (Vec::new(), None::<Word>, text);
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                words.extend(word.take());
                after
            }
            b'\'' => single_quoted(after, word.get_or_insert_default())?,
            b'"' => double_quoted(after, word.get_or_insert_default(), expands)?,
            // Outside of quotes: before a newline it continues the line, before all else it quotes.
            b'\\' => match after.split_first() {
                Some((b'\n', after)) => after,
                Some((byte, after)) => {
                    word.get_or_insert_default().push(&[*byte], false);
                    after
                }
                None => return Err("a backslash at the end quotes nothing".into()),
            },
            _ => one(rest, word.get_or_insert_default(), expands, b"'\"\\`")?,
        };
    }
    words.extend(word);
    Ok(words)
}

/// Takes a `${…}`, or one byte, from the start of `text`. What a shell would read as a quote of its own in there would
/// come out otherwise than in a shell.
fn one<'a>(
    text: &'a [u8],
    word: &mut Word,
    expands: bool,
    quotes: &[u8],
) -> Result<&'a [u8], String> {
    if expands && text.starts_with(b"$${") {
        word.push(b"${", true);
        return Ok(&text[3..]);
    }
    if !expands || !text.starts_with(b"${") {
        word.push(&text[..1], true);
        return Ok(&text[1..]);
    }
    let length = reference_length(text).ok_or("a '${' is not closed ('$${' is a literal '${')")?;
    let (reference, rest) = text.split_at(length);
    if reference.iter().any(|byte| quotes.contains(byte)) {
        return Err("a '${…}' inside of a command can't hold quotes: put them around it".into());
    }
    word.pieces.push(Piece::Reference(reference.to_vec()));
    word.bare.push(HIDDEN);
    Ok(rest)
}

fn single_quoted<'a>(text: &'a [u8], word: &mut Word) -> Result<&'a [u8], String> {
    let end = text.iter().position(|byte| *byte == b'\'');
    let end = end.ok_or("a ' is not closed")?;
    word.push(&text[..end], false);
    Ok(&text[end + 1..])
}

/// Inside of double quotes a backslash counts before `$`, `` ` ``, `"`, `\` and newline only, and a shell's
/// substitutions are ones as everywhere.
fn double_quoted<'a>(
    mut text: &'a [u8],
    word: &mut Word,
    expands: bool,
) -> Result<&'a [u8], String> {
    let mut inner = Word::default();
    word.push(b"", false);
    loop {
        text = match text {
            [] | [b'\\'] => return Err("a \" is not closed".into()),
            [b'"', rest @ ..] => {
                if let Some(syntax) = substitution(&inner.bare) {
                    return Err(format!("'{syntax}' {NO_SHELL}, or quote it to pass it on"));
                }
                word.pieces.append(&mut inner.pieces);
                return Ok(rest);
            }
            [b'\\', byte @ (b'$' | b'`' | b'"' | b'\\'), rest @ ..] => {
                inner.push(&[*byte], false);
                rest
            }
            [b'\\', b'\n', rest @ ..] => rest,
            [b'\\', rest @ ..] => {
                inner.push(b"\\", true);
                rest
            }
            _ => one(text, &mut inner, expands, b"\"\\`")?,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<Vec<Vec<Vec<String>>>, String> {
        let text_of = |word: Word| {
            let pieces = word.pieces.into_iter().map(|piece| match piece {
                Piece::Literal(text) | Piece::Reference(text) => text,
            });
            String::from_utf8(pieces.collect::<Vec<_>>().concat()).unwrap()
        };
        let words_of = |words: Vec<Word>| words.into_iter().map(text_of).collect();
        let chain_of = |line: &[u8]| Ok(command(line, true)?.into_iter().map(words_of).collect());
        lines(text.as_bytes()).into_iter().map(chain_of).collect()
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
            ("a ${A:-b c}d", &["a", "${A:-b c}d"]),
            ("a \"${A:-b\nc}\"", &["a", "${A:-b\nc}"]),
            ("a $${A:-b c}", &["a", "${A:-b", "c}"]),
            ("a b=c ~", &["a", "b=c", "~"]),
            ("\\cd './cd' 'a=b'", &["cd", "./cd", "a=b"]),
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
            "a *",
            "a >f",
            "a 2>&1",
            "a 2>/dev/null",
            "a <f",
            "a ~/f",
            "a b&&c",
            "a b&& c",
            "a x$(b)",
            "a \"$(b)\"",
            "a \"x`b`\"",
            "a >\"f\"",
            "A=b c",
            "a && A=${B} c",
            "cd /srv && a",
            "exec a",
            ". ./env",
            "a ${B:-'c d'}",
            "a \"${B:-\"c\"}\"",
            "a ${B",
        ] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
