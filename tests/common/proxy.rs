//! What stands between a client and a server: it can forget connections on either side alone, delay and swallow either
//! direction, and go silent after a number of the server's messages.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// Forwards every connection to one server, until the test ends.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Those that have not ended on both sides.
    links: Mutex<Vec<Arc<Link>>>,
    silent: [AtomicBool; 2],
    delay: [AtomicU64; 2],
    /// The server's messages are counted from this connection on.
    counted_from: AtomicUsize,
    messages: AtomicUsize,
    /// After so many of them nothing goes through any more.
    last_message: AtomicUsize,
}

#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    /// Neither side hears of the other's end.
    forgotten: AtomicBool,
    /// How many directions have ended.
    ended: AtomicUsize,
}

impl Proxy {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            links: Mutex::default(),
            silent: Default::default(),
            delay: Default::default(),
            counted_from: AtomicUsize::new(usize::MAX),
            messages: AtomicUsize::new(0),
            last_message: AtomicUsize::new(usize::MAX),
        });
        let kept = Arc::clone(&state);
        thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let link = Arc::new(Link {
                    client,
                    server,
                    forgotten: AtomicBool::new(false),
                    ended: AtomicUsize::new(0),
                });
                kept.links.lock().unwrap().push(Arc::clone(&link));
                for way in [Way::ToServer, Way::ToClient] {
                    let (state, link) = (Arc::clone(&kept), Arc::clone(&link));
                    thread::spawn(move || {
                        state.forward(&link, way, number);
                        if link.ended.fetch_add(1, SeqCst) == 1 {
                            let mut links = state.links.lock().unwrap();
                            links.retain(|other| !Arc::ptr_eq(other, &link));
                        }
                    });
                }
            }
        });
        Self { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same URL through the proxy.
    pub fn url(&self, url: &str, server: u16) -> String {
        url.replace(&format!(":{server}/"), &format!(":{}/", self.port))
    }

    /// Nobody hears anything any more; or again: what was sent meanwhile comes then, as TCP sends it anew.
    pub fn swallow(&self, silent: bool) {
        self.swallow_way(Way::ToServer, silent);
        self.swallow_way(Way::ToClient, silent);
    }

    pub fn swallow_way(&self, way: Way, silent: bool) {
        self.state.silent[way as usize].store(silent, SeqCst);
    }

    /// What goes this way comes so much later, the end of the connection too.
    pub fn delay(&self, way: Way, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap();
        self.state.delay[way as usize].store(millis, SeqCst);
    }

    /// Ends all connections on one side: towards the client, the server hears nothing of it, or the other way round.
    /// How many.
    pub fn cut(&self, side: Way) -> usize {
        let mut count = 0;
        for link in self.state.links.lock().unwrap().iter() {
            let stream = match side {
                Way::ToClient => &link.client,
                Way::ToServer => &link.server,
            };
            link.forgotten.store(true, SeqCst);
            count += usize::from(stream.shutdown(Shutdown::Both).is_ok());
        }
        count
    }

    /// Ends on the other side, too, what was cut on one.
    pub fn end_cut(&self) {
        for link in self.state.links.lock().unwrap().iter() {
            if link.forgotten.load(SeqCst) {
                let _ = link.client.shutdown(Shutdown::Both);
                let _ = link.server.shutdown(Shutdown::Both);
            }
        }
    }

    /// Goes silent for good after so many messages of the server's, on the connections after the first few.
    pub fn silent_after(&self, messages: usize, connections: usize) {
        self.state.last_message.store(messages, SeqCst);
        self.state.counted_from.store(connections, SeqCst);
    }

    /// How many messages were counted.
    pub fn messages(&self) -> usize {
        self.state.messages.load(SeqCst)
    }
}

impl State {
    fn forward(&self, link: &Link, way: Way, number: usize) {
        let (mut from, mut to) = match way {
            Way::ToServer => (&link.client, &link.server),
            Way::ToClient => (&link.server, &link.client),
        };
        let counted = number >= self.counted_from.load(SeqCst);
        let mut buffer = [0; 4096];
        let mut rest = Vec::new();
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            self.rest(way);
            let mut bytes = &buffer[..count];
            if counted && way == Way::ToClient {
                rest.extend_from_slice(bytes);
                let whole = self.count(&rest);
                bytes = &rest[..whole];
                // The messages are whole, or they stay here.
                self.while_silent(way);
                let written = to.write_all(bytes).is_ok();
                rest.drain(..whole);
                if !written {
                    break;
                }
                continue;
            }
            let dead = counted && self.messages.load(SeqCst) >= self.last_message.load(SeqCst);
            self.while_silent(way);
            if !dead && to.write_all(bytes).is_err() {
                break;
            }
        }
        self.rest(way);
        self.while_silent(way);
        if !link.forgotten.load(SeqCst) {
            let _ = to.shutdown(Shutdown::Both);
        }
    }

    fn while_silent(&self, way: Way) {
        while self.silent[way as usize].load(SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn rest(&self, way: Way) {
        thread::sleep(Duration::from_millis(self.delay[way as usize].load(SeqCst)));
    }

    /// How many bytes of whole messages may still go through: a byte for the kind, four for the length of what follows
    /// (PostgreSQL manual, 55.1). There is no TLS here.
    fn count(&self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(length) = bytes.get(at + 1..at + 5) {
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if bytes.len() < at + 1 + length
                || self.messages.load(SeqCst) >= self.last_message.load(SeqCst)
            {
                break;
            }
            self.messages.fetch_add(1, SeqCst);
            at += 1 + length;
        }
        at
    }
}
