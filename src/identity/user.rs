//! SPEC → credentials: a strict reading of `user[:group]` against /etc/passwd and /etc/group, read directly (no NSS).
//!
//! Other droppers take `-1`, an empty name or 4294967296 for root. Here uid 0 is reached by `root` and by `0`, and by
//! nothing else.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

use crate::accounts::{self, MAX_ID, User};
use crate::environment::expand;
use crate::wording::shown;

/// Who to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user id.
    pub uid: u32,
    /// The primary group id.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The user's name, when there is an entry.
    pub name: Option<OsString>,
    /// The home directory, when there is an entry that has one.
    pub home: Option<OsString>,
}

/// Whether `spec` asks for root, which it does by these spellings alone.
pub fn asks_for_root(spec: &str) -> bool {
    matches!(spec.split(':').next(), Some("root" | "0"))
}

/// Reads `spec` against the texts of /etc/passwd and /etc/group (`passwd(5)`, `group(5)`).
///
/// # Errors
/// One line that says what is wrong and what would be right.
pub fn resolve(spec: &str, passwd: &[u8], group: &[u8]) -> Result<Credentials, String> {
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    if user.is_empty() || wanted_group.is_some_and(str::is_empty) {
        return Err(format!(
            "{} is not a user: user, user:group, uid or uid:gid",
            shown(spec)
        ));
    }
    let gid = wanted_group.map(|name| group_id(name, group)).transpose()?;
    let entry = if let Some(uid) = id(user)? {
        match (User::find(passwd, |entry| entry.uid == uid), gid) {
            (Some(entry), _) => entry,
            (None, Some(gid)) => {
                return Ok(Credentials {
                    uid,
                    gid,
                    groups: vec![gid],
                    name: None,
                    home: None,
                });
            }
            (None, None) => {
                return Err(format!(
                    "uid {uid} is not in /etc/passwd, so its group is unknown: say {uid}:GID"
                ));
            }
        }
    } else {
        let known = User::find(passwd, |entry| entry.name == user.as_bytes());
        known.ok_or_else(|| {
            let (name, hint) = (shown(user), expand::hint(OsStr::new(user)));
            format!("there is no user {name} in /etc/passwd: add it in the Dockerfile, or use a numeric uid:gid{hint}")
        })?
    };
    if entry.uid == 0 && !asks_for_root(spec) {
        return Err(format!("'{user}' is uid 0: say root or 0 if that is meant"));
    }
    let groups = match gid {
        Some(gid) => vec![gid],
        None => groups_of(&entry, group),
    };
    Ok(Credentials {
        uid: entry.uid,
        gid: gid.unwrap_or(entry.gid),
        groups,
        name: Some(OsString::from_vec(entry.name.to_vec())),
        home: Some(OsString::from_vec(entry.home.to_vec())).filter(|home| !home.is_empty()),
    })
}

/// The primary group and those of which the user is a member.
fn groups_of(user: &User<'_>, group: &[u8]) -> Vec<u32> {
    let mut groups = vec![user.gid];
    for (_, gid, members) in accounts::groups(group) {
        if members
            .split(|byte| *byte == b',')
            .any(|member| member == user.name)
            && !groups.contains(&gid)
        {
            groups.push(gid);
        }
    }
    groups
}

fn group_id(name: &str, group: &[u8]) -> Result<u32, String> {
    if let Some(gid) = id(name)? {
        return Ok(gid);
    }
    let known = accounts::groups(group).find(|(entry, ..)| *entry == name.as_bytes());
    match known {
        Some((_, 0, _)) if name != "root" => Err(format!(
            "the group '{name}' is gid 0: say root or 0 if that is meant"
        )),
        Some((_, gid, _)) => Ok(gid),
        None => Err(format!(
            "there is no group {} in /etc/group: use a numeric gid",
            shown(name)
        )),
    }
}

/// A numeric id, or `None` for what is a name. What looks like a number and is none is an error.
fn id(text: &str) -> Result<Option<u32>, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let id = accounts::id(text);
        return id
            .map(Some)
            .ok_or_else(|| format!("'{text}' is not an id: 0 to {MAX_ID}, without leading zeros"));
    }
    let is_name_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"_-.$@".contains(&byte) || byte >= 0x80;
    if !text.bytes().all(is_name_byte) || text.starts_with(['-', '.', '@']) {
        return Err(format!("{} is neither a name nor an id", shown(text)));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"# comment\nroot:x:0:0:root:/root:/bin/sh\r\n+nis::::::\napp:x:1000:1001:App:/home/app:/bin/sh\n\
        1234:x:0:0:numeric:/:\ntoor:x:0:0::/root:\nbad:x:-1:0::/:\nover:x:4294967296:0::/:\nbroken\napp:x:0:0:double:/:\nlast:x:7:8::/";
    const GROUP: &[u8] =
        b"root:x:0:\napp:x:1001:\nssl:x:50:other,app\nwww:x:51:app\nnot:x:52:application";

    fn of(spec: &str) -> Result<(u32, u32, Vec<u32>), String> {
        resolve(spec, PASSWD, GROUP).map(|found| (found.uid, found.gid, found.groups))
    }

    #[test]
    fn plain_specs_resolve() {
        let table = [
            ("app", (1000, 1001, vec![1001, 50, 51])),
            ("1000", (1000, 1001, vec![1001, 50, 51])),
            ("app:ssl", (1000, 50, vec![50])),
            ("app:0", (1000, 0, vec![0])),
            ("1000:2000", (1000, 2000, vec![2000])),
            ("5:6", (5, 6, vec![6])),
            (
                "2147483647:2147483647",
                (2_147_483_647, 2_147_483_647, vec![2_147_483_647]),
            ),
            ("root", (0, 0, vec![0])),
            ("0", (0, 0, vec![0])),
            ("last", (7, 8, vec![8])),
        ];
        for (spec, expected) in table {
            assert_eq!(of(spec), Ok(expected), "{spec}");
        }
    }

    #[test]
    fn nothing_else_is_a_user() {
        let specs = "|:|:0|:app|app:|0:| | 0|0 |-1|+0|00|0x0|1e3|4294967296|2147483648|1000:4294967296|1000:-1|\
            app:nogroup|nosuch|1234|bad|over|broken|app:app:app|a b|root\n|nis|+nis|#|99999999999999999999|٠|\
            0:0:0|app :app|../x|1234:|toor";
        for spec in specs.split('|') {
            assert!(of(spec).is_err(), "{spec:?} became {:?}", of(spec));
        }
    }

    #[test]
    fn a_user_without_an_entry_has_no_home_and_no_name() {
        let found = resolve("5:6", b"", b"").unwrap();
        assert_eq!((found.name, found.home), (None, None));
    }
}
