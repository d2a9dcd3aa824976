//! Who is it that answers where PostgreSQL should: a web server, another database, the wrong port?
//!
//! tokio-postgres takes what such a server says for the beginning of a message and waits for its end.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::probe::words;

/// `SSLRequest`: its length and its code (PostgreSQL manual, 55.7 "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Longest part of a stranger's answer that is passed on, in bytes.
const LONGEST_ANSWER: usize = 60;

/// What is there, when it is not PostgreSQL: asks once more, and looks at the answer itself.
pub(super) async fn identify(address: IpAddr, port: u16, end: Instant) -> Option<String> {
    let mut answer = [0; LONGEST_ANSWER];
    let ask = async {
        let mut stream = TcpStream::connect(SocketAddr::new(address, port)).await?;
        stream.write_all(&SSL_REQUEST).await?;
        stream.read(&mut answer).await
    };
    let length = timeout_at(end, ask).await.ok()?.ok()?;
    describe(&answer[..length])
}

/// None when PostgreSQL, or a pooler, could have said this: one letter, or an error message.
fn describe(answer: &[u8]) -> Option<String> {
    let own = match answer {
        [] | [b'S' | b'N'] => true,
        [b'E', rest @ ..] => !rest.starts_with(b"RR"),
        _ => false,
    };
    if own {
        return None;
    }
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().next().unwrap_or_default().trim();
    let readable = !line.is_empty() && line.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    Some(if readable {
        format!(
            "what answers here is not PostgreSQL, it says {:?}",
            words::shortened(line, LONGEST_ANSWER)
        )
    } else {
        "what answers here is not PostgreSQL".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told_by_their_first_words() {
        let table: [(&[u8], Option<&str>); 9] = [
            (b"", None),
            (b"S", None),
            (b"N", None),
            (b"E\0\0\0\x55SFATAL\0C57P03\0", None),
            (
                b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n",
                Some("\"HTTP/1.1 400 Bad Request\""),
            ),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some("\"SSH-2.0-OpenSSH_9.2\"")),
            (b"J\0\0\0\x0a8.0.36\0", Some("not PostgreSQL")),
            (
                b"-ERR unknown command\r\n",
                Some("\"-ERR unknown command\""),
            ),
            (b"ERROR\r\n", Some("\"ERROR\"")),
        ];
        for (answer, words) in table {
            let said = describe(answer);
            match words {
                None => assert_eq!(said, None, "{answer:?}"),
                Some(words) => assert!(said.is_some_and(|said| said.contains(words)), "{answer:?}"),
            }
        }
    }
}
