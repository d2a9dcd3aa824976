//! Requests to an application in a container, from the engine's machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::engine::Container;

/// The whole answer to `GET PATH`, headers and body; empty when there is none.
pub fn get(container: &Container, port: u16, path: &str) -> String {
    let mut answer = String::new();
    let Ok(mut stream) = TcpStream::connect(format!("{}:{port}", container.address())) else {
        return answer;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let _ = write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    );
    let _ = stream.read_to_string(&mut answer);
    answer
}
