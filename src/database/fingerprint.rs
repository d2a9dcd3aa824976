//! Who is it that answers where PostgreSQL should: a web server, another database, the wrong port? To tell takes 3.8 kB
//! of the binary.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::database::diagnosis::Trouble;
use crate::database::wire::{LONGEST_ANSWER, SSL_REQUEST};
use crate::wording;

/// Longest part of a stranger's answer that is passed on, in bytes.
const LONGEST_QUOTATION: usize = 60;

/// How long a server has that speaks first (SSH, SMTP, most databases).
const GREETING: Duration = Duration::from_millis(300);

/// What is there, when it is not PostgreSQL: connects once more, hears whether there is a greeting, else asks for TLS.
/// For a server that resets the connection: what it had said is lost with it.
pub(super) async fn identify(address: IpAddr, port: u16, end: Instant) -> Option<Trouble> {
    let mut said = [0; LONGEST_ANSWER];
    let ask = async {
        let mut stream = TcpStream::connect(SocketAddr::new(address, port)).await?;
        if let Ok(greeting) = timeout(GREETING, stream.read(&mut said)).await {
            return greeting;
        }
        stream.write_all(&SSL_REQUEST).await?;
        stream.read(&mut said).await
    };
    let length = timeout_at(end, ask).await.ok()?.ok()?;
    let said = &said[..length];
    let own = said.is_empty() || matches!(said, [b'S' | b'N'] | [b'E', 0, ..]);
    (!own).then(|| trouble(said))
}

/// What an answer means that is none of PostgreSQL's.
pub(super) fn trouble(said: &[u8]) -> Trouble {
    // Its elder brothers, when they can't start a process for the connection: the letter, and words.
    if let [b'E', rest @ ..] = said
        && !rest.starts_with(b"RR")
    {
        let text = String::from_utf8_lossy(rest);
        let text = text.trim_end_matches(['\0', '\n']);
        return Trouble::NotYet(wording::quoted(text, LONGEST_QUOTATION));
    }
    Trouble::Refused(describe(said))
}

fn describe(said: &[u8]) -> String {
    // The header of a packet, number 0, and version 10 of the protocol.
    if matches!(said, [_, _, 0, 0, 10, ..]) {
        return "what answers here is not PostgreSQL, but MySQL or MariaDB".into();
    }
    let text = String::from_utf8_lossy(said);
    let line = text.lines().next().unwrap_or_default().trim();
    let readable = !line.is_empty() && line.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    if readable {
        let line = wording::quoted(line, LONGEST_QUOTATION);
        format!("what answers here is not PostgreSQL, it says {line:?}")
    } else {
        "what answers here is not PostgreSQL".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told_by_their_first_words() {
        let table: [(&[u8], &str); 6] = [
            (
                b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n",
                "not PostgreSQL, it says \"HTTP/1.1 400 Bad Request\"",
            ),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "\"SSH-2.0-OpenSSH_9.2\""),
            (b"J\0\0\0\x0a8.0.36\0", "MySQL or MariaDB"),
            (b"-ERR unknown command\r\n", "\"-ERR unknown command\""),
            (b"ERROR\r\n", "\"ERROR\""),
            (b"\x15\x03\x03\0\x02\x02\x46", "is not PostgreSQL"),
        ];
        for (said, words) in table {
            let Trouble::Refused(reason) = trouble(said) else {
                panic!("{said:?}")
            };
            assert!(reason.contains(words), "{reason}");
        }
        let old = trouble(b"Ecould not fork new process for connection: out of memory\n\0");
        let said = "could not fork new process for connection: out of memory";
        assert_eq!(old, Trouble::NotYet(said.into()));
    }
}
