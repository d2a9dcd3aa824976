//! A firewall between a client and a server: it can forget connections on the client's side alone, and swallow everything.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Forwards every connection to one server, until the test ends.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    connections: Arc<Mutex<Vec<(TcpStream, TcpStream)>>>,
    silent: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        let silent = Arc::new(AtomicBool::new(false));
        let is_silent = Arc::clone(&silent);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                forward(&client, &server, &is_silent);
                forward(&server, &client, &is_silent);
                kept.lock().unwrap().push((client, server));
            }
        });
        Self {
            port,
            connections,
            silent,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nobody hears anything any more; or again.
    pub fn swallow(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// Ends all connections for the clients; the server hears nothing of it.
    pub fn cut_clients(&self) {
        for (client, _) in self.connections.lock().unwrap().iter() {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

fn forward(from: &TcpStream, to: &TcpStream, silent: &Arc<AtomicBool>) {
    let silent = Arc::clone(silent);
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if !silent.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    });
}
