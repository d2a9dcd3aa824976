//! The lines of /etc/passwd and /etc/group (`passwd(5)`, `group(5)`), read directly: a static binary has no NSS.

/// The largest id that is taken: the sign bit belongs to "unchanged" and to overflow.
pub const MAX_ID: u32 = i32::MAX.cast_unsigned();

/// A line of /etc/passwd.
pub struct User<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home directory; may be empty.
    pub home: &'a [u8],
}

impl<'a> User<'a> {
    /// The first that fits counts, as for the C library.
    pub fn find(passwd: &'a [u8], fits: impl Fn(&Self) -> bool) -> Option<Self> {
        lines(passwd).filter_map(Self::parse).find(fits)
    }

    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, _password, uid, gid) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let (_comment, home) = (fields.next()?, fields.next()?);
        Some(Self {
            name,
            uid: entry_id(uid)?,
            gid: entry_id(gid)?,
            home,
        })
    }
}

/// A line of /etc/group: name, id, and members between commas.
pub fn groups(group: &[u8]) -> impl Iterator<Item = (&[u8], u32, &[u8])> {
    lines(group).filter_map(parse_group)
}

fn parse_group(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let mut fields = line.split(|byte| *byte == b':');
    let (name, _password, gid, members) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    Some((name, entry_id(gid)?, members))
}

/// Entries, less comments, NIS lines, empty names and what a DOS editor left.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = file
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b'+' | b'-' | b':')))
}

fn entry_id(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok().and_then(id)
}

/// An id: digits only, in the range, without leading zeros.
pub fn id(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = is_number && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|id| plain && *id <= MAX_ID)
}
