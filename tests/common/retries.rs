//! How often something that waits asks: counted by the kernel, the name server and the database.

use std::fs;
use std::thread;
use std::time::Duration;

use super::network::{Answer, Files, NXDOMAIN, NameServer, in_network};
use super::{Postgres, Run};

/// A port where nobody listens.
const CLOSED: u16 = 5432;

/// Connections that `waiter` makes to a port that refuses them; it gets the address.
pub fn refused(waiter: impl FnOnce(&str) -> Run + Send + 'static, span: Duration) -> usize {
    in_network(move || {
        let process = waiter(&format!("127.0.0.1:{CLOSED}")).start();
        thread::sleep(span);
        drop(process);
        // RFC 4022, tcpActiveOpens, of this thread's network.
        let text = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
        let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let mut fields = names.split(' ').zip(values.split(' '));
        let opens = fields.find(|(name, _)| *name == "ActiveOpens").unwrap();
        opens.1.parse().unwrap()
    })
}

/// Questions that `waiter` has a name server asked, of a name that does not exist; it gets the name and a port.
pub fn look_ups(waiter: impl FnOnce(&str) -> Run + Send + 'static, span: Duration) -> usize {
    in_network(move || {
        let server = NameServer::start(|_, _| Answer::Code(NXDOMAIN));
        let files = Files::new(Some("nameserver 127.0.0.1\n"), "");
        let process = files.around(waiter(&format!("db:{CLOSED}"))).start();
        thread::sleep(span);
        drop(process);
        server.questions().values().sum()
    })
}

/// Logins that `waiter` tries with a wrong password; it gets the URL.
pub fn logins(waiter: impl FnOnce(&str) -> Run, span: Duration) -> usize {
    let server = Postgres::start();
    let url = server.url_with("postgres", "wrong", "postgres");
    let process = waiter(&url).start();
    thread::sleep(span);
    drop(process);
    server
        .log()
        .matches("password authentication failed")
        .count()
}
