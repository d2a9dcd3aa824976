//! The environment as portero resolves it and as COMMAND gets it: in order, byte for byte.

pub mod expand;
pub mod resolved;
pub mod words;

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use crate::cli::is_own_variable;
use crate::sys;

/// Variables in the order in which they were given, each as the kernel has it: `NAME=VALUE`. What was inherited stays
/// where the kernel put it, so that a copy costs next to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(Vec<Cow<'static, CStr>>);

impl Environment {
    /// The environment that this process was given. Of doubles, which nothing forbids, the first one stays: portero and
    /// the C library read that one, a shell the last.
    pub fn inherited() -> Self {
        let mut entries: Vec<_> = sys::environment().into_iter().map(Cow::Borrowed).collect();
        remove_doubles(&mut entries);
        Self(entries)
    }

    /// The value of `name`; an empty value is a value.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        let known = self.iter().find(|(known, _)| *known == name.as_ref());
        known.map(|(_, value)| value)
    }

    /// The value of `name`, when it is set and not empty: as everywhere in portero, empty counts as not given.
    pub fn given(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Sets `name`, in its place when it is there already. Neither may hold a NUL.
    pub fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        let name = name.as_ref();
        let entry = Cow::Owned(c_string(&[
            name.as_bytes(),
            b"=",
            value.as_ref().as_bytes(),
        ]));
        match self.0.iter_mut().find(|entry| split(entry).0 == name) {
            Some(known) => *known = entry,
            None => self.0.push(entry),
        }
    }

    /// Removes `name`; also every double of it.
    pub fn remove(&mut self, name: impl AsRef<OsStr>) {
        self.0.retain(|entry| split(entry).0 != name.as_ref());
    }

    /// What COMMAND and the migrations see: everything but portero's own variables.
    #[must_use]
    pub fn without_own(mut self) -> Self {
        self.0.retain(|entry| !is_own(entry));
        self
    }

    /// Name and value of portero's own variables. A start asks for each option's: so the many others are told apart by
    /// their first bytes, and not split.
    pub fn own(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0
            .iter()
            .filter(|entry| is_own(entry))
            .map(|entry| split(entry))
    }

    /// Every variable's name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|entry| split(entry))
    }

    /// Every `NAME=VALUE`, ready for `execve(2)`.
    pub fn into_entries(self) -> Vec<Cow<'static, CStr>> {
        self.0
    }
}

fn remove_doubles(entries: &mut Vec<Cow<'static, CStr>>) {
    // Every start comes here, and next to none finds any: so the names are looked up once, and then compared only.
    let mut names: Vec<(&OsStr, usize)> = entries
        .iter()
        .map(|entry| split(entry).0)
        .zip(0..)
        .collect();
    names.sort_unstable();
    let pairs = names
        .array_windows()
        .filter(|[(first, _), (second, _)]| first == second);
    let doubles: Vec<usize> = pairs.map(|[_, (_, second)]| *second).collect();
    if doubles.is_empty() {
        return;
    }
    let mut index = 0..;
    entries.retain(|_| index.next().is_some_and(|index| !doubles.contains(&index)));
}

fn is_own(entry: &CStr) -> bool {
    is_own_variable(OsStr::from_bytes(entry.to_bytes()))
}

/// Name and value. An entry without `=`, which nothing forbids, is a name.
fn split(entry: &CStr) -> (&OsStr, &OsStr) {
    let bytes = entry.to_bytes();
    let end = bytes
        .iter()
        .position(|byte| *byte == b'=')
        .unwrap_or(bytes.len());
    (
        OsStr::from_bytes(&bytes[..end]),
        OsStr::from_bytes(bytes.get(end + 1..).unwrap_or_default()),
    )
}

/// The parts as one C string, cut at a NUL if there should be one: secrets are checked before, and all else came as C
/// strings.
pub fn c_string(parts: &[&[u8]]) -> CString {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 1);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes.truncate(
        bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len()),
    );
    CString::new(bytes).unwrap_or_default()
}

impl<K: AsRef<OsStr>, V: AsRef<OsStr>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let entry = |(name, value): (K, V)| {
            c_string(&[name.as_ref().as_bytes(), b"=", value.as_ref().as_bytes()])
        };
        Self(
            pairs
                .into_iter()
                .map(|pair| Cow::Owned(entry(pair)))
                .collect(),
        )
    }
}
