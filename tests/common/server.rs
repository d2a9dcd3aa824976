//! Raw TCP servers that behave well or badly, on a port of the kernel's choice.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A server that ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    connections: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    requests: Mutex<Vec<String>>,
}

impl Server {
    /// A server whose every connection `serve` gets to itself, in a thread of its own.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0", serve)
    }

    /// The same at a given address, for a port that was reserved before, or for `[::1]:0`.
    pub fn on(address: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::with(address, move |stream, _| serve(stream))
    }

    fn with(address: &str, serve: impl Fn(TcpStream, &Shared) + Send + Sync + 'static) -> Self {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (seen, serve) = (Arc::clone(&shared), Arc::new(serve));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if seen.over.load(Ordering::SeqCst) {
                    return;
                }
                seen.connections.fetch_add(1, Ordering::SeqCst);
                seen.open.lock().unwrap().push(stream.try_clone().unwrap());
                let (seen, serve) = (Arc::clone(&seen), Arc::clone(&serve));
                thread::spawn(move || {
                    serve(stream.try_clone().unwrap(), &seen);
                    // A clone is kept for the end of the server: say good-bye here.
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// Accepts and never says a word.
    pub fn silent() -> Self {
        Self::start(until_closed)
    }

    /// Says these bytes at once, whatever is asked, and then no more.
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut stream| {
            let _ = stream.write_all(&bytes);
            until_closed(stream);
        })
    }

    /// Says these bytes one by one, whatever is asked, with a pause before each.
    pub fn dripping_at_once(bytes: impl Into<Vec<u8>>, pause: Duration) -> Self {
        let bytes = bytes.into();
        Self::start(move |stream| drip(stream, &bytes, pause))
    }

    /// Reads a request, says `first`, and then `again` for as long as anybody listens.
    pub fn endless(first: &'static str, again: &'static [u8], pause: Duration) -> Self {
        Self::start(move |mut stream| {
            head(&mut stream);
            let _ = stream.write_all(first.as_bytes());
            while stream.write_all(again).is_ok() {
                thread::sleep(pause);
            }
        })
    }

    /// Accepts and closes at once.
    pub fn closing() -> Self {
        Self::start(drop)
    }

    /// Accepts, as a port to wait for does.
    pub fn accepting(address: &str) -> Self {
        Self::on(address, until_closed)
    }

    /// Answers every request with these bytes and closes.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        Self::answering_on("127.0.0.1:0", answer)
    }

    pub fn answering_on(address: &str, answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::with(address, move |mut stream, shared| {
            let request = head(&mut stream);
            shared.requests.lock().unwrap().push(request);
            let _ = stream.write_all(&answer);
        })
    }

    /// Answers every HTTP request with this status and body.
    pub fn http(status: u16, body: &str) -> Self {
        Self::answering(http_answer(status, body))
    }

    /// Answers byte by byte with a pause before each: progress that never gets anywhere.
    pub fn dripping(answer: impl Into<Vec<u8>>, pause: Duration) -> Self {
        let answer = answer.into();
        Self::start(move |mut stream| {
            head(&mut stream);
            drip(stream, &answer, pause);
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The heads of the requests that were answered so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A whole HTTP/1.1 answer.
pub fn http_answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A port on 127.0.0.1 where nobody listens. It lies below the kernel's range for outgoing connections (32768 and up),
/// so that nothing takes it in passing.
pub fn unused_port() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    loop {
        let random = RandomState::new().hash_one(std::process::id());
        let port = 20_000 + u16::try_from(random % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok()
            && TcpStream::connect(("::1", port)).is_err()
        {
            return port;
        }
    }
}

/// The head of a request, up to its empty line.
pub fn head(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn until_closed(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

fn drip(mut stream: TcpStream, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        thread::sleep(pause);
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
    }
    until_closed(stream);
}
