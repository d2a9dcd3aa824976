//! A network of the test's own, with a name server in it that answers as a test wants.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};

use super::{Run, TempDir, tool};

/// Where the name server listens.
pub const NAME_SERVER: &str = "127.0.0.1";

/// The response codes of RFC 1035, section 4.1.1, that servers give instead of an answer.
pub const FORMERR: u8 = 1;
pub const SERVFAIL: u8 = 2;
pub const NXDOMAIN: u8 = 3;
pub const NOTIMP: u8 = 4;
pub const REFUSED: u8 = 5;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// An A record.
    V4,
    /// An AAAA record.
    V6,
}

/// What the name server says.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These; none are NODATA.
    Addresses(Vec<IpAddr>),
    /// These, by TCP; by UDP as many as go into `udp`, and that there are more (RFC 1035, section 4.2.1).
    Long {
        addresses: Vec<IpAddr>,
        udp: usize,
    },
    Code(u8),
    Silence,
}

/// One address as an answer.
pub fn address(text: &str) -> Answer {
    Answer::Addresses(vec![text.parse().unwrap()])
}

/// Runs `test` in a thread that is alone in a network with nothing but a loopback; so is what the thread starts.
pub fn in_network<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    result(start_in_network(test))
}

/// The same, for several side by side.
pub fn start_in_network<T: Send + 'static>(
    test: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|error| panic!("no network namespace: {error}; run the tests as root"));
        for words in ["link set lo up", "-6 addr add fd00::1/128 dev lo nodad"] {
            let status = Command::new(tool("ip")).args(words.split(' ')).status();
            assert!(status.unwrap().success(), "ip {words}");
        }
        test()
    })
}

/// What such a thread comes to, its panic included.
pub fn result<T>(thread: JoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A name server in this thread's network; it lives as long as the network does.
#[derive(Clone, Debug, Default)]
pub struct NameServer {
    questions: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl NameServer {
    /// Answers by `zone`, which gets names in lower case, without the dot at the end.
    pub fn start(zone: impl Fn(&str, Family) -> Answer + Send + 'static) -> Self {
        Self::start_at(NAME_SERVER, zone)
    }

    /// The same, at another address.
    pub fn start_at(at: &str, zone: impl Fn(&str, Family) -> Answer + Send + 'static) -> Self {
        let at: IpAddr = at.parse().unwrap();
        let socket = UdpSocket::bind((at, 53)).unwrap();
        let listener = TcpListener::bind((at, 53)).unwrap();
        let server = Self::default();
        let zone = Arc::new(Mutex::new(zone));
        let answer = {
            let questions = Arc::clone(&server.questions);
            let zone = Arc::clone(&zone);
            move |packet: &[u8], by_tcp| {
                let (name, family, end) = question(packet)?;
                let answer = family.map_or(Answer::Code(NOTIMP), |family| {
                    zone.lock().unwrap()(&name, family)
                });
                *questions.lock().unwrap().entry(name).or_default() += 1;
                reply(&packet[..end], &answer, by_tcp)
            }
        };
        let by_udp = answer.clone();
        thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut packet) {
                if let Some(reply) = by_udp(&packet[..length], false) {
                    let _ = socket.send_to(&reply, peer);
                }
            }
        });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = answer.clone();
                thread::spawn(move || serve(stream, |packet| answer(packet, true)));
            }
        });
        server
    }

    /// How often each name was asked for.
    pub fn questions(&self) -> BTreeMap<String, usize> {
        self.questions.lock().unwrap().clone()
    }
}

/// Questions and answers by TCP, each behind its length (RFC 1035, section 4.2.2).
fn serve(mut stream: TcpStream, answer: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut packet = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut packet).is_err() {
            return;
        }
        if let Some(reply) = answer(&packet) {
            let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
            let _ = stream.write_all(&[&length[..], &reply].concat());
        }
    }
}

/// The name and the family of a question, and where it ends.
fn question(packet: &[u8]) -> Option<(String, Option<Family>, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = packet.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let family = match packet.get(at..at + 2)? {
        [0, 1] => Some(Family::V4),
        [0, 28] => Some(Family::V6),
        _ => None,
    };
    Some((labels.join("."), family, at + 4))
}

/// The answer to a packet that ends with its question.
fn reply(question: &[u8], answer: &Answer, by_tcp: bool) -> Option<Vec<u8>> {
    let (code, addresses, is_cut) = match answer {
        Answer::Addresses(addresses) => (0, addresses.as_slice(), false),
        Answer::Long { addresses, .. } if by_tcp => (0, addresses.as_slice(), false),
        Answer::Long { addresses, udp } => (0, &addresses[..*udp], true),
        Answer::Code(code) => (*code, &[][..], false),
        Answer::Silence => return None,
    };
    let mut reply = question.to_vec();
    // A response, with recursion desired and available; one question, and the answers.
    let cut = if is_cut { 0x02 } else { 0 };
    reply[2..4].copy_from_slice(&[0x81 | cut, 0x80 | code]);
    let count = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    reply[4..12].copy_from_slice(&[0, 1, count[0], count[1], 0, 0, 0, 0]);
    for address in addresses {
        let (kind, bytes) = match address {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (28, address.octets().to_vec()),
        };
        // The question's name, the type, class IN, a minute to live.
        reply.extend([0xC0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0]);
        reply.push(u8::try_from(bytes.len()).unwrap());
        reply.extend(bytes);
    }
    Some(reply)
}

/// Accepts on this port of every address of this thread's network, and notes the addresses that were connected to.
pub fn accept_everywhere(port: u16) -> Arc<Mutex<Vec<IpAddr>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind(("::", port)).unwrap();
    let note = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let address = stream.local_addr().unwrap().ip().to_canonical();
            note.lock().unwrap().push(address);
        }
    });
    seen
}

/// The files by which a machine resolves names.
#[derive(Debug)]
pub struct Files {
    directory: TempDir,
    has_resolv_conf: bool,
}

impl Files {
    /// With this content; no resolv.conf is a file that is not there.
    pub fn new(resolv_conf: Option<&str>, hosts: &str) -> Self {
        let directory = TempDir::new();
        directory.file("resolv.conf", resolv_conf.unwrap_or_default());
        directory.file("hosts", hosts);
        // Debian's own order, whatever the machine's is.
        directory.file("nsswitch.conf", "hosts: files dns\n");
        Self {
            directory,
            has_resolv_conf: resolv_conf.is_some(),
        }
    }

    /// `run` where these are /etc's; for an image that has no resolv.conf, /etc is a copy without it.
    pub fn around(&self, run: Run) -> Run {
        let path = self.directory.path().display();
        let mut script = String::new();
        if !self.has_resolv_conf {
            script.push_str("mount -t tmpfs tmpfs /mnt; cp -a /etc/. /mnt; rm -f /mnt/resolv.conf; mount --move /mnt /etc\n");
        }
        for file in ["hosts", "nsswitch.conf"] {
            script.push_str(&format!("mount --bind {path}/{file} /etc/{file}\n"));
        }
        if self.has_resolv_conf {
            script.push_str(&format!(
                "mount --bind {path}/resolv.conf /etc/resolv.conf\n"
            ));
        }
        run.mounts(&script)
    }
}
