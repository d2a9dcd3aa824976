//! Who logs in when the URL does not say it: the operating system's user, and the password file
//! (PostgreSQL manual, 34.16 "The Password File").

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::accounts::User;
use crate::database::url::PostgresUrl;
use crate::{files, wording};

/// A wait tries many times and says it once.
static PASSED_OVER: Once = Once::new();

/// An entry of `/etc/passwd`, as far as it matters here.
struct Account {
    name: String,
    home: PathBuf,
}

impl PostgresUrl {
    /// The user to log in as: the URL's, else the operating system's, as libpq does it.
    pub(super) fn login(&self) -> Result<String, String> {
        if let Some(user) = &self.user {
            return Ok(user.clone());
        }
        own_account().map(|account| account.name).ok_or_else(|| {
            let uid = nix::unistd::geteuid();
            format!("no database user is given, and uid {uid} has no name in /etc/passwd: put a user into the URL or set PGUSER")
        })
    }

    /// The password for one server: the URL's or `PGPASSWORD`, else the password file's.
    pub(super) fn password_for(&self, host: &str, port: u16, user: &str) -> Option<String> {
        if self.password.is_some() {
            return self.password.clone();
        }
        let file = self.passfile.clone().or_else(|| {
            let home = self
                .home
                .clone()
                .or_else(|| own_account().map(|account| account.home))?;
            Some(home.join(".pgpass"))
        })?;
        let database = self.database.as_deref().unwrap_or(user);
        look_up(&read(&file)?, [host, &port.to_string(), database, user])
    }
}

/// The file's lines, unless others can read it too: libpq passes over such a file, and one that is none.
fn read(file: &Path) -> Option<String> {
    let (bytes, metadata) = files::read(file).ok()?;
    if metadata.mode() & 0o077 != 0 {
        PASSED_OVER.call_once(|| {
            let file = wording::named(file);
            log::warn!("the password file {file} is passed over: group or others have access to it (chmod 0600)");
        });
        return None;
    }
    String::from_utf8(bytes).ok()
}

/// The password of the first line `host:port:database:user:password` that fits.
pub fn look_up(lines: &str, wanted: [&str; 4]) -> Option<String> {
    lines
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let fields = fields(line);
            let (keys, password) = fields.split_at_checked(4)?;
            let fits = keys
                .iter()
                .zip(wanted)
                .all(|(key, wanted)| key.raw == "*" || key.text == wanted);
            password
                .first()
                .filter(|_| fits)
                .map(|password| password.text.clone())
        })
}

/// A field of a line, as written and without its backslashes.
#[derive(Default)]
struct Field {
    raw: String,
    text: String,
}

/// The fields between colons; a backslash takes the next character to the letter.
fn fields(line: &str) -> Vec<Field> {
    let mut fields = vec![Field::default()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        // Also behind the password, as libpq does it.
        if character == ':' {
            fields.push(Field::default());
            continue;
        }
        if let Some(field) = fields.last_mut() {
            field.raw.push(character);
            let literal = if character == '\\' {
                characters.next()
            } else {
                Some(character)
            };
            field.text.extend(literal);
        }
    }
    fields
}

/// This process's own entry in `/etc/passwd`, read directly: a static binary has no NSS.
fn own_account() -> Option<Account> {
    account(nix::unistd::geteuid().as_raw())
}

/// The name of a user.
pub(super) fn name_of(uid: u32) -> Option<String> {
    account(uid).map(|account| account.name)
}

fn account(uid: u32) -> Option<Account> {
    let (passwd, _) = files::read(Path::new("/etc/passwd")).ok()?;
    let user = User::find(&passwd, |user| user.uid == uid)?;
    Some(Account {
        name: String::from_utf8_lossy(user.name).into_owned(),
        home: PathBuf::from(OsString::from_vec(user.home.to_vec())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_gives_the_password() {
        let file = "# comment\nother:5432:shop:app:no\ndb:*:shop:app:with\\:colon\n*:*:*:*:rest\n\\*:1:1:1:x\n";
        assert_eq!(
            look_up(file, ["db", "5433", "shop", "app"]).as_deref(),
            Some("with:colon")
        );
        assert_eq!(
            look_up(file, ["web", "5432", "shop", "app"]).as_deref(),
            Some("rest")
        );
        assert_eq!(look_up("a:b:c\n", ["a", "b", "c", "d"]), None);
        assert_eq!(look_up("\\*:1:2:3:x\n", ["db", "1", "2", "3"]), None);
    }
}
