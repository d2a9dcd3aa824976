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
    /// The items of a list in one text. Commands, whose quotes count, come as one.
    pub fn items(self, text: &OsStr) -> impl Iterator<Item = &OsStr> {
        let mut rest = Some(text.as_bytes());
        let items = std::iter::from_fn(move || {
            let item;
            (item, rest) = self.first(rest?);
            Some(item)
        });
        let items = items.filter(|item| !item.trim_ascii().is_empty());
        items.map(OsStr::from_bytes)
    }

    /// The first item, and what is behind its separator.
    fn first(self, text: &[u8]) -> (&[u8], Option<&[u8]>) {
        if self == Self::Words
            && let Some((item, rest)) = quoted(text)
        {
            return (item, Some(rest));
        }
        let is_separator = |byte: &u8| match self {
            Self::Words => byte.is_ascii_whitespace(),
            Self::Commas => byte.is_ascii_whitespace() || *byte == b',',
            Self::Lines => *byte == b'\n',
            Self::Commands => false,
        };
        let end = text.iter().position(is_separator);
        let (item, rest) = end.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
        match self {
            // The other half of a line end of Windows.
            Self::Lines => (item.strip_suffix(b"\r").unwrap_or(item), rest),
            _ => (item, rest),
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
