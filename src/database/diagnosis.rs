//! What an error of the database means: come back later, or a refusal; and how it is said.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;

use crate::net::tls;
use crate::wording;

/// Longest message of a server that is passed on, in bytes.
const LONGEST_MESSAGE: usize = 300;

/// What is said when the connection is over before the login is.
pub(super) const HUNG_UP: &str = "the server ended the connection (EOF)";

/// What is said of messages that are none of the protocol's.
const BROKEN: &str = "the server's answer can't be understood";

/// postgres-protocol, when a message ends before what it says is in it.
const TOO_SHORT: &str = "unexpected EOF";

/// What is said when nothing comes back at all, not even a refusal.
const SWALLOWED: &str = "no answer to the attempt to connect: a firewall drops it, or nobody has this address (ETIMEDOUT)";

/// tokio-postgres' codec, when the end comes amid a message.
const CUT_SHORT: &str = "bytes remaining on stream";

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

/// An `ErrorResponse`, as far as it matters (PostgreSQL manual, 55.8 "Error and Notice Message Fields").
#[derive(Debug, Default)]
pub(super) struct ErrorResponse {
    pub(super) code: String,
    pub(super) message: String,
    /// The function in the server's source that said it: it is never translated.
    pub(super) routine: String,
}

impl ErrorResponse {
    /// Fields, each a letter and a text that ends in NUL.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut answer = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, text)) = field.split_first() else {
                break;
            };
            let text = || String::from_utf8_lossy(text).into_owned();
            match kind {
                b'C' => answer.code = text(),
                b'M' => answer.message = text(),
                b'R' => answer.routine = text(),
                _ => {}
            }
        }
        answer
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        if let Some(answer) = error.as_db_error() {
            return from_answer(answer.code().code(), answer.message());
        }
        if error.is_closed() {
            return Self::NotYet(HUNG_UP.into());
        }
        match error.source() {
            // A message that is not due.
            None => Self::NotYet(format!("{BROKEN}: {error}")),
            Some(source) => match source.downcast_ref::<io::Error>() {
                Some(io) => Self::from(io),
                None => Self::Refused(source.to_string()),
            },
        }
    }
}

impl From<&io::Error> for Trouble {
    fn from(error: &io::Error) -> Self {
        if let Some(tls) = tls_error(error) {
            return Self::Refused(tls::explain(tls, "sslrootcert", "sslcert and sslkey"));
        }
        let said = error.to_string();
        let ended = error.kind() == io::ErrorKind::UnexpectedEof || said == CUT_SHORT;
        Self::NotYet(match error.kind() {
            // The kernel's own errors are no answer of the server's.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
                if error.raw_os_error().is_none() =>
            {
                format!("{BROKEN}: {}", wording::quoted(&said, LONGEST_MESSAGE))
            }
            _ if said == TOO_SHORT => format!("{BROKEN}: a message is too short"),
            _ if ended => HUNG_UP.into(),
            io::ErrorKind::TimedOut => SWALLOWED.into(),
            _ => wording::error(error),
        })
    }
}

/// The TLS error inside, when that is what it was.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

pub(super) fn from_answer(code: &str, message: &str) -> Trouble {
    let said = wording::quoted(message, LONGEST_MESSAGE);
    // What is no SQLSTATE is none of PostgreSQL's, and could be lines of a log.
    let is_code = code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let text = if is_code {
        format!("{said} ({code})")
    } else {
        said
    };
    if is_refusal(code, message) {
        Trouble::Refused(text)
    } else {
        Trouble::NotYet(text)
    }
}

/// By SQLSTATE (PostgreSQL manual, appendix A).
fn is_refusal(code: &str, message: &str) -> bool {
    // PgBouncer says 08P01 for nearly everything up to 1.18: its words tell (src/client.c and src/objects.c there).
    // Other poolers say so by an internal error, or by 58000, what is left of their words telling the same.
    if ["08P01", "58000", "XX000"].contains(&code) {
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
            // Supavisor, Neon, PgCat.
            "Tenant or user not found",
            "Endpoint ID is not specified",
            "No pool configured",
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
            ("XX000", "Tenant or user not found", true),
            (
                "XX000",
                "Endpoint ID is not specified. Either please upgrade",
                true,
            ),
            (
                "58000",
                "No pool configured for database: \"x\", user: \"y\"",
                true,
            ),
            ("XX000", "md5 authentication failed for user \"app\"", true),
            ("58000", "could not open file", false),
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
