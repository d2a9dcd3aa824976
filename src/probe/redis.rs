//! Is Redis ready: does it take these credentials, and does `PING` answer `PONG`?
//!
//! The protocol is RESP, as every version speaks it ("Redis serialization protocol specification"): a command is an
//! array of strings, and each of the answers here is one line.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use crate::net::address::Host;
use crate::net::deadline::Deadline;
use crate::net::link::{self, Link, TLS_ALERT};
use crate::net::readiness::Readiness;
use crate::net::stream;
use crate::net::tls::{self, Config};
use crate::net::verification::OwnFiles;
use crate::probe::question::Question;
use crate::probe::target::RedisUrl;
use crate::probe::target::redis::Server;
use crate::{redaction, wording};

/// The longest answer that is read, in bytes: an error of Redis' own has a few hundred.
const ANSWER_LIMIT: usize = 4096;

impl RedisUrl {
    /// Logs in where the URL has a password, and asks once: each of its servers, until one is ready. What says no says
    /// more than what does not answer.
    pub fn ask(&self, question: &Question, deadline: Deadline) -> Readiness {
        let mut said: Option<Readiness> = None;
        if let Some(password) = &self.password {
            redaction::hide_password(password, &self.to_string());
        }
        for (index, server) in self.servers.iter().enumerate() {
            let share = deadline.share(self.servers.len() - index);
            let Err(why) = ping(self, server, question, share) else {
                return Readiness::Ready("PONG".to_owned());
            };
            if !matches!(said, Some(Readiness::Refused(_))) {
                said = Some(of_server(why, self, server));
            }
        }
        said.unwrap_or_else(|| deadline.missed())
    }

    /// Reads the files that TLS takes, before anything is asked.
    ///
    /// # Errors
    /// A certificate or key that can't be read.
    pub fn check_files(&self, question: &Question) -> Result<(), String> {
        if !self.tls {
            return Ok(());
        }
        self.config(None, question).map(drop)
    }

    /// The TLS configuration for a server at `peer`, by files that the URL may name. `--ca-cert` goes before all that
    /// the URL says.
    fn config(&self, peer: Option<IpAddr>, question: &Question) -> Result<Config, String> {
        let own_ca = question.verification.ca_cert.is_some();
        let verify = self.verify || own_ca;
        if self.files == OwnFiles::default() {
            // Roots of the system are not asked for where a loopback address may do without them.
            let early = peer.is_none() && question.trust_loopback && !own_ca;
            return question.tls(peer, verify && !early);
        }
        let believed = self.files.roots.is_none() && question.is_believed(peer);
        tls::client_config(&question.verification, &self.files, verify && !believed)
    }
}

/// Names the server where there are several.
fn of_server(why: Readiness, url: &RedisUrl, server: &Server) -> Readiness {
    match why {
        Readiness::NotYet(why) if url.servers.len() > 1 => {
            Readiness::NotYet(format!("{server}: {why}"))
        }
        Readiness::Refused(why) if url.servers.len() > 1 => {
            Readiness::Refused(format!("{server}: {why}"))
        }
        why => why,
    }
}

fn ping(
    url: &RedisUrl,
    server: &Server,
    question: &Question,
    deadline: Deadline,
) -> Result<(), Readiness> {
    let link = match server {
        Server::Host(host) => connect(url, host, question, deadline)?,
        Server::Socket(path) => Link::unix(stream::unix(path, deadline)?, deadline),
    };
    let mut answers = Answers {
        link,
        deadline,
        bytes: Vec::new(),
    };
    let login = login(url);
    let commands = login.iter().cloned().chain([command(&[b"PING"])]);
    answers
        .link
        .write_all(&commands.collect::<Vec<_>>().concat())
        .map_err(|error| explain(&error, deadline))?;
    if login.is_some() {
        let answer = answers.next()?;
        if answer != "+OK" {
            return Err(login_refused(&answer));
        }
    }
    let answer = answers.next()?;
    if answer == "+PONG" {
        return Ok(());
    }
    Err(no_pong(&answer, url))
}

fn connect(
    url: &RedisUrl,
    host: &Host,
    question: &Question,
    deadline: Deadline,
) -> Result<Link, Readiness> {
    let tcp = stream::tcp(host, deadline)?;
    if !url.tls {
        return Ok(Link::tcp(tcp, deadline));
    }
    let peer = tcp.peer_addr().ok().map(|address| address.ip());
    let config = url.config(peer, question).map_err(Readiness::Refused)?;
    Link::tls(tcp, &host.name, config, deadline, "redis://").map_err(|why| {
        // A Redis without TLS takes the handshake for the beginning of a command, and waits for the rest.
        if deadline.remaining().is_none() {
            return Readiness::NotYet(
                "no answer to the TLS handshake (without TLS it is redis://)".to_owned(),
            );
        }
        why
    })
}

/// The command that logs in (redis.io, "AUTH"). A user without a password logs in nowhere, and clients don't try.
fn login(url: &RedisUrl) -> Option<Vec<u8>> {
    let password = url.password.as_deref()?;
    Some(match url.user.as_deref() {
        Some(user) => command(&[b"AUTH", user, password]),
        None => command(&[b"AUTH", password]),
    })
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The server's side of the connection, by lines.
struct Answers {
    link: Link,
    deadline: Deadline,
    bytes: Vec<u8>,
}

impl Answers {
    /// The next line, without its end.
    fn next(&mut self) -> Result<String, Readiness> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.bytes.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if !self.link.is_tls() && self.bytes.starts_with(&TLS_ALERT) {
                return Err(speaks_tls());
            }
            // Whatever it is, it is not going to be an answer.
            let is_answer = matches!(self.bytes.first(), None | Some(b'+' | b'-'));
            if !is_answer || self.bytes.len() >= ANSWER_LIMIT {
                return Err(not_redis());
            }
            let mut chunk = [0; 512];
            match self.link.read(&mut chunk) {
                Ok(0) if self.bytes.is_empty() => return Err(closed(&self.link)),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Err(closed(&self.link));
                }
                Ok(0) => return Err(not_redis()),
                Ok(length) => self.bytes.extend_from_slice(&chunk[..length]),
                Err(error) => return Err(explain(&error, self.deadline)),
            }
        }
    }
}

fn explain(error: &io::Error, deadline: Deadline) -> Readiness {
    link::explain(error, deadline, "redis://")
}

fn speaks_tls() -> Readiness {
    Readiness::Refused("it speaks TLS on this port: use rediss://".to_owned())
}

fn not_redis() -> Readiness {
    Readiness::NotYet("it does not speak the Redis protocol".to_owned())
}

/// A Redis with TLS closes or resets the connection on what is no handshake, without a word.
fn closed(link: &Link) -> Readiness {
    let hint = if link.is_tls() {
        ""
    } else {
        " (with TLS it is rediss://)"
    };
    Readiness::NotYet(format!("it closed the connection without an answer{hint}"))
}

/// Why the login failed. Nothing of the answer is shown but its first word: what does not know AUTH quotes what it
/// was sent, and that is the password.
fn login_refused(answer: &str) -> Readiness {
    let has = |part: &str| answer.contains(part);
    match code(answer) {
        None => not_redis(),
        Some("WRONGPASS") => {
            Readiness::Refused("it refuses the user or the password (WRONGPASS)".to_owned())
        }
        // Up to Redis 5.
        Some("ERR") if has("invalid password") => {
            Readiness::Refused("it refuses the password (ERR invalid password)".to_owned())
        }
        Some("ERR") if has("without any password configured") || has("no password is set") => {
            Readiness::Refused("the URL has a password, and the server wants none".to_owned())
        }
        Some("ERR") if has("max number of clients") => Readiness::NotYet(
            "it has no connection left (max number of clients reached)".to_owned(),
        ),
        Some(code @ ("LOADING" | "BUSY" | "MASTERDOWN" | "TRYAGAIN")) => not_yet(code, ""),
        Some(code) => {
            let code = wording::quoted(code, 20);
            Readiness::Refused(format!("it refuses the login ({code})"))
        }
    }
}

/// What another answer to PING than PONG means (redis.io, "Redis serialization protocol", "Simple errors").
fn no_pong(answer: &str, url: &RedisUrl) -> Readiness {
    let Some(code) = code(answer) else {
        return not_redis();
    };
    let text = answer[1 + code.len()..].trim();
    match code {
        "NOAUTH" if url.password.is_some() => {
            Readiness::Refused("it refuses the login (NOAUTH)".to_owned())
        }
        "NOAUTH" => {
            Readiness::Refused("it wants a password, and the URL has none (NOAUTH)".to_owned())
        }
        "NOPERM" => Readiness::Refused("this user may not PING (NOPERM)".to_owned()),
        "DENIED" => Readiness::Refused(
            "it is in protected mode, for want of a password (DENIED)".to_owned(),
        ),
        // An unknown command's arguments are quoted.
        "ERR" if text.contains("unknown command") => {
            Readiness::NotYet("it does not know PING (ERR unknown command)".to_owned())
        }
        _ => not_yet(code, text),
    }
}

/// Other errors pass: LOADING, BUSY, MASTERDOWN, MISCONF, too many clients.
fn not_yet(code: &str, text: &str) -> Readiness {
    let text = wording::quoted(text, 100);
    let reason = match code {
        "LOADING" => "it is still loading its data (LOADING)".to_owned(),
        "BUSY" => "it is busy with a script (BUSY)".to_owned(),
        code => format!("{} {text}", wording::quoted(code, 20)),
    };
    Readiness::NotYet(reason.trim_end().to_owned())
}

/// The first word of an error: upper case by convention.
fn code(answer: &str) -> Option<&str> {
    let first = answer.strip_prefix('-')?.split(' ').next()?;
    let is_code =
        (1..=20).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some(first)
}
