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
    /// At white space: targets, names.
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
        let is_separator = move |byte: &u8| match self {
            Self::Words => byte.is_ascii_whitespace(),
            Self::Commas => byte.is_ascii_whitespace() || *byte == b',',
            Self::Lines => *byte == b'\n',
            Self::Commands => false,
        };
        let items = text
            .as_bytes()
            .split(is_separator)
            .map(move |item| match self {
                // The other half of a line end of Windows.
                Self::Lines => item.strip_suffix(b"\r").unwrap_or(item),
                _ => item,
            });
        let items = items.filter(|item| !item.trim_ascii().is_empty());
        items.map(OsStr::from_bytes)
    }

    /// What joins two items so that they split again.
    pub fn separator(self) -> &'static str {
        match self {
            Self::Words | Self::Commas => " ",
            Self::Lines | Self::Commands => "\n",
        }
    }
}
