//! What an error of the database means: come back later, or a refusal; and how it is said.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::probe::{tls, words};

/// Longest message of a server that is passed on, in characters.
const LONGEST_MESSAGE: usize = 300;

/// What is said when the connection is over before the login is.
pub(super) const HUNG_UP: &str = "the server ended the connection (EOF)";

/// What is said when nothing comes back at all, not even a refusal.
const SWALLOWED: &str = "no answer to the attempt to connect: a firewall drops it, or nobody has this address (ETIMEDOUT)";

/// tokio-postgres' codec, when the end comes amid a message.
const CUT_SHORT: &str = "bytes remaining on stream";

/// tokio-postgres, when the answer to its request for TLS is anything but yes.
const NO_TLS: &str = "server does not support TLS";

/// Why the database could not be used. The text has the SQLSTATE or the errno in it, and no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Waiting helps: refused, timed out, starting up, too many connections.
    NotYet(String),
    /// It answers, and says no.
    Refused(String),
}

impl Trouble {
    /// The text alone.
    pub fn reason(&self) -> &str {
        match self {
            Self::NotYet(reason) | Self::Refused(reason) => reason,
        }
    }

    /// The same kind of trouble, said by `say`.
    pub(super) fn map(self, say: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::NotYet(reason) => Self::NotYet(say(reason)),
            Self::Refused(reason) => Self::Refused(say(reason)),
        }
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        if let Some(answer) = error.as_db_error() {
            return from_answer(answer);
        }
        if let Some(tls) = tls_error(error) {
            return Self::Refused(tls::explain(tls, "sslrootcert", "sslcert and sslkey"));
        }
        if error.is_closed() {
            return Self::NotYet(HUNG_UP.into());
        }
        let Some(source) = error.source() else {
            return Self::NotYet(error.to_string());
        };
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return Self::from(io);
        }
        // tokio-postgres keeps its kinds to itself: what is left is its own words about TLS and authentication.
        match source.to_string().as_str() {
            "password missing" => Self::Refused(
                "the server asks for a password, and none is given (URL, PGPASSWORD, ~/.pgpass)"
                    .into(),
            ),
            text => Self::Refused(text.to_owned()),
        }
    }
}

impl From<&io::Error> for Trouble {
    fn from(error: &io::Error) -> Self {
        let ended = error.kind() == io::ErrorKind::UnexpectedEof || error.to_string() == CUT_SHORT;
        Self::NotYet(match error.kind() {
            _ if ended => HUNG_UP.into(),
            io::ErrorKind::TimedOut => SWALLOWED.into(),
            _ => words::error(error),
        })
    }
}

/// The TLS error inside, when that is what it was.
pub(super) fn tls_error(error: &Error) -> Option<&rustls::Error> {
    error
        .source()?
        .downcast_ref::<io::Error>()?
        .get_ref()?
        .downcast_ref()
}

/// Whether the answer was none that PostgreSQL gives: something else may be there.
pub(super) fn is_gibberish(error: &Error) -> bool {
    if let Some(tls) = tls_error(error) {
        return matches!(tls, rustls::Error::InvalidMessage(_));
    }
    let Some(source) = error.source().filter(|_| error.as_db_error().is_none()) else {
        return false;
    };
    match source.downcast_ref::<io::Error>() {
        Some(io) => {
            matches!(
                io.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ) || io.to_string() == CUT_SHORT
        }
        None => source.to_string() == NO_TLS,
    }
}

fn from_answer(answer: &DbError) -> Trouble {
    let code = answer.code().code();
    let message: String = answer
        .message()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_MESSAGE)
        .collect();
    let text = format!("{message} ({code})");
    if is_refusal(code, &message) {
        Trouble::Refused(text)
    } else {
        Trouble::NotYet(text)
    }
}

/// By SQLSTATE (PostgreSQL manual, appendix A).
fn is_refusal(code: &str, message: &str) -> bool {
    // PgBouncer says 08P01 for nearly everything up to 1.18: its words tell (src/client.c and src/objects.c there).
    if code == "08P01" {
        let words = [
            "no such database",
            "no such user",
            "authentication failed",
            "auth failed",
            "not allowed",
            "unsupported startup parameter",
            "SSL required",
            "TLS required",
            "does not exist",
            "is disabled",
        ];
        return words.iter().any(|words| message.contains(words));
    }
    // 08 connection, 40 rollback, 53 resources, 55006 object in use, 57 operator intervention, 58 system, XX internal.
    let passing = ["08", "40", "53", "55006", "57", "58", "XX"];
    !passing.iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_tell_not_yet_from_a_refusal() {
        let table = [
            ("28P01", "", true),
            ("28000", "", true),
            ("3D000", "", true),
            ("42501", "", true),
            ("55000", "", true),
            ("57P03", "", false),
            ("57P01", "", false),
            ("57P02", "", false),
            ("57P05", "", false),
            ("53300", "", false),
            ("53400", "", false),
            ("08006", "", false),
            ("58030", "", false),
            ("XX000", "", false),
            ("08P01", "no such database: shop", true),
            ("08P01", "password authentication failed", true),
            (
                "08P01",
                "server login failed: FATAL database \"shop\" does not exist",
                true,
            ),
            (
                "08P01",
                "no more connections allowed (max_client_conn)",
                false,
            ),
            ("08P01", "pgbouncer cannot connect to server", false),
            ("08P01", "query_wait_timeout", false),
        ];
        for (code, message, refusal) in table {
            assert_eq!(is_refusal(code, message), refusal, "{code} {message}");
        }
    }
}
