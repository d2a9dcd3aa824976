//! Servers for tests: real sockets on loopback, as well or badly behaved as a test wants them.

use std::io::{self, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, bind, getsockname,
    socket,
};

/// A server that gives each connection to a handler, in a thread; gone when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    acceptor: Option<JoinHandle<()>>,
    /// The same port of the other family, where nothing else shall answer.
    twin: Option<OwnedFd>,
}

impl Server {
    /// A server on 127.0.0.1.
    pub fn start(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into(), handler)
    }

    /// A server on `::1` alone: its port on 127.0.0.1 refuses.
    pub fn start_v6(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        loop {
            let (twin, port) =
                reserved((Ipv4Addr::LOCALHOST, 0).into()).unwrap_or_else(|error| panic!("{error}"));
            if let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
                let mut server = Self::of(listener, handler);
                server.twin = Some(twin);
                return server;
            }
        }
    }

    /// A server on `address`.
    pub fn on(address: SocketAddr, handler: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        Self::of(listener, handler)
    }

    fn of(listener: TcpListener, handler: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("{error}"));
        let (stop, accepted) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stopped, count, handler) =
            (Arc::clone(&stop), Arc::clone(&accepted), Arc::new(handler));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let handler = Arc::clone(&handler);
                thread::spawn(move || handler(stream));
            }
        });
        Self {
            address,
            stop,
            accepted,
            acceptor: Some(acceptor),
            twin: None,
        }
    }

    /// A server that reads a request and answers with `response`.
    pub fn answering(response: impl Into<String>) -> Self {
        let response = response.into();
        Self::start(move |mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(response.as_bytes());
        })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections it has had.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Reads up to the empty line behind a request's header; what came.
pub fn read_request(stream: &mut impl Read) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        request.push(byte[0]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// Keeps the connection open, and says nothing, until the client goes.
pub fn stay_silent(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

/// Writes `piece` again and again, at that pace, until the client goes.
pub fn drip(stream: &mut TcpStream, piece: &[u8], pace: Duration) {
    // Nobody sends on this channel: waiting on it is a pause.
    let (_sender, receiver) = mpsc::channel::<()>();
    while stream.write_all(piece).is_ok() {
        if !pace.is_zero() {
            let _ = receiver.recv_timeout(pace);
        }
    }
}

/// A port that nobody listens on, on either loopback address, as long as this process lives.
pub fn refused_port() -> u16 {
    loop {
        let (v4, port) =
            reserved((Ipv4Addr::LOCALHOST, 0).into()).unwrap_or_else(|error| panic!("{error}"));
        if let Ok((v6, _)) = reserved((Ipv6Addr::LOCALHOST, port).into()) {
            mem::forget((v4, v6));
            return port;
        }
    }
}

/// A socket that is bound and does not listen: what connects is refused, and nobody else gets the port.
fn reserved(address: SocketAddr) -> io::Result<(OwnedFd, u16)> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    let bound = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    let v4 = bound.as_sockaddr_in().map(SockaddrIn::port);
    let v6 = bound.as_sockaddr_in6().map(SockaddrIn6::port);
    Ok((socket, v4.or(v6).unwrap_or_default()))
}
