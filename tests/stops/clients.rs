//! The clients of an application: each has one request under way, and knows whether it got its whole answer.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::backend::ANSWER;

/// How long a client waits: longer than any stop may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    FastCgi,
    /// A session that has nothing to do, as a pool keeps them; what it waits for is the server's good-bye.
    Postgres,
}

/// How an application is asked.
#[derive(Clone, Debug)]
pub struct Client {
    pub protocol: Protocol,
    pub port: u16,
    /// The address of the backend.
    pub backend: String,
}

impl Client {
    /// Whether the application answers.
    pub fn is_answered(&self) -> bool {
        match self.protocol {
            Protocol::Http => http(self.port, "/ready"),
            Protocol::FastCgi => fast_cgi(self.port, "/ready"),
            Protocol::Postgres => session(self.port).map(|_| true),
        }
        .unwrap_or(false)
    }

    /// Has a request under way until it is answered or cut.
    fn work(&self) -> Result<bool> {
        match self.protocol {
            Protocol::Http => http(self.port, "/ask"),
            Protocol::FastCgi => fast_cgi(self.port, "/ask"),
            Protocol::Postgres => {
                let mut session = session(self.port)?;
                exchange(
                    TcpStream::connect(&self.backend)?,
                    b"GET /session HTTP/1.0\r\n\r\n",
                )?;
                // The SQLSTATE of admin_shutdown.
                Ok(rest(&mut session)?.contains("57P01"))
            }
        }
    }
}

/// Requests that were sent, each by a client of its own.
#[derive(Default)]
pub struct Requests(Vec<JoinHandle<bool>>);

impl Requests {
    pub fn send(&mut self, count: usize, client: &Client) {
        for _ in 0..count {
            let client = client.clone();
            self.0
                .push(thread::spawn(move || client.work().unwrap_or(false)));
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many got no whole answer, when all have come to an end.
    pub fn cut(self) -> usize {
        let answered = self.0.into_iter().map(|client| client.join().unwrap());
        answered.filter(|answered| !answered).count()
    }
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange(mut stream: TcpStream, request: &[u8]) -> Result<String> {
    stream.write_all(request)?;
    rest(&mut stream)
}

fn rest(stream: &mut TcpStream) -> Result<String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn http(port: u16, path: &str) -> Result<bool> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = exchange(connect(port)?, request.as_bytes())?;
    let good = answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200");
    // An answer that was cut lacks its body: it is short.
    Ok(good && answer.contains(ANSWER))
}

/// The script `index.php` in the directory that the server was started in.
fn fast_cgi(port: u16, path: &str) -> Result<bool> {
    let (begin, parameter, input) = (1, 4, 5);
    let variables = [
        ("SCRIPT_FILENAME", "index.php"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", path),
    ];
    let request = [
        // As a responder, on a connection that is closed after the answer.
        fast_cgi_record(begin, &[0, 1, 0, 0, 0, 0, 0, 0]),
        fast_cgi_record(parameter, &fast_cgi_variables(&variables)),
        fast_cgi_record(parameter, &[]),
        fast_cgi_record(input, &[]),
    ];
    let answer = exchange(connect(port)?, &request.concat())?;
    Ok(answer.contains(ANSWER) && !answer.contains("Status: "))
}

fn fast_cgi_record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    // Version, kind, number of the request, length, no padding.
    [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
}

fn fast_cgi_variables(variables: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in variables {
        bytes.extend([name.len(), value.len()].map(|length| u8::try_from(length).unwrap()));
        bytes.extend([*name, *value].concat().bytes());
    }
    bytes
}

/// A session of the role `postgres` that the server trusts and that may send its first query.
fn session(port: u16) -> Result<TcpStream> {
    let mut stream = connect(port)?;
    let names = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(8 + names.len()).unwrap().to_be_bytes();
    let version = (3_u32 << 16).to_be_bytes();
    stream.write_all(&[&length[..], &version, names].concat())?;
    let mut said = Vec::new();
    let mut byte = [0];
    // ReadyForQuery, outside of a transaction.
    while !said.ends_with(b"Z\0\0\0\x05I") {
        stream.read_exact(&mut byte)?;
        said.extend(byte);
    }
    Ok(stream)
}
