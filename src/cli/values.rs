//! What an option takes, and where a list of values in one text splits.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Nothing; its variable takes `1/true/yes/on` and `0/false/no/off`.
    Switch,
    /// One value; the last one counts.
    Value,
    /// Several values, also several in one text.
    List(Split),
}

/// Where a list splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// At white space outside of quotes: targets, names, paths.
    Words,
    /// At commas or white space: steps, statuses.
    Commas,
    /// At newlines: headers, `NAME=VALUE`.
    Lines,
    /// At newlines outside of quotes: commands.
    Commands,
}

impl Split {
    /// The items of a list in one text, and whether each was in quotes. Commands, whose quotes count, come as one.
    pub fn items(self, text: &OsStr) -> impl Iterator<Item = (&OsStr, bool)> {
        let mut rest = Some(text.as_bytes());
        let items = std::iter::from_fn(move || {
            let item;
            (item, rest) = self.first(rest?);
            Some(item)
        });
        let items = items.filter(|(item, _)| !item.trim_ascii().is_empty());
        items.map(|(item, quoted)| (OsStr::from_bytes(item), quoted))
    }

    /// The first item, and what is behind its separator.
    fn first(self, text: &[u8]) -> ((&[u8], bool), Option<&[u8]>) {
        if self == Self::Words
            && let Some((item, rest)) = quoted(text)
        {
            return ((item, true), Some(rest));
        }
        let is_separator = |byte: u8| match self {
            Self::Words => byte.is_ascii_whitespace(),
            Self::Commas => byte.is_ascii_whitespace() || byte == b',',
            Self::Lines => byte == b'\n',
            Self::Commands => false,
        };
        let mut end = 0;
        while end < text.len() && !is_separator(text[end]) {
            end += unit_length(&text[end..]);
        }
        let (item, rest) = (&text[..end], text.get(end + 1..));
        match self {
            // The other half of a line end of Windows.
            Self::Lines => ((item.strip_suffix(b"\r").unwrap_or(item), false), rest),
            _ => ((item, false), rest),
        }
    }

    /// What joins two items so that they split again.
    pub fn separator(self) -> &'static str {
        match self {
            Self::Words | Self::Commas => " ",
            Self::Lines | Self::Commands => "\n",
        }
    }
}

/// The item at the start of `text` that is in quotes as a whole, without them, and what follows. A quote that is none
/// of such a pair is a character as any other: a password may have one.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (quote, inner) = text
        .split_first()
        .filter(|(first, _)| b"'\"".contains(first))?;
    let ends =
        |&at: &usize| inner[at] == *quote && inner.get(at + 1).is_none_or(u8::is_ascii_whitespace);
    let end = (0..inner.len()).find(ends)?;
    Some((&inner[..end], &inner[end + 1..]))
}

/// How many bytes at the start of `text` belong together: a whole `${…}`, white space included, else a byte.
pub fn unit_length(text: &[u8]) -> usize {
    // What is behind `$$` is literal.
    let literal = if text.starts_with(b"$${") { 3 } else { 1 };
    reference_length(text).unwrap_or(literal)
}

/// The length of the `${…}` at the start of `text`, with those that are in it, when it is closed.
pub fn reference_length(text: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (0, 0_usize);
    while at < text.len() {
        if text[at..].starts_with(b"${") {
            (at, open) = (at + 2, open + 1);
            continue;
        }
        if open == 0 {
            return None;
        }
        at += 1;
        if text[at - 1] == b'}' {
            open -= 1;
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

/// Whether `text` is as a whole one `${…}`.
pub fn is_reference(text: &[u8]) -> bool {
    reference_length(text) == Some(text.len())
}
