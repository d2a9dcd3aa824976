//! What the health check makes of servers that behave well, badly, or not at all: the right verdict, within its limit,
//! and one line that says why.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::type_complexity,
    missing_docs
)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use common::server::{http_answer, unused_port};
use common::{Finished, Process, Run, Server, TempDir, tool};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// The limit of the checks that are to reach it, and of none else.
const LIMIT: &str = "1s";

/// What the line has to say, and whether that is at once or at the limit.
#[derive(Clone, Copy)]
enum Verdict {
    Healthy(&'static str),
    Unhealthy(&'static str),
    UnhealthyAtTheLimit(&'static str),
}

use Verdict::{Healthy, Unhealthy, UnhealthyAtTheLimit};

#[track_caller]
fn assert_verdict(what: &str, verdict: Verdict, arguments: &[&str]) {
    let limit = match verdict {
        UnhealthyAtTheLimit(_) => LIMIT,
        _ => "20s",
    };
    let start = Instant::now();
    let finished = Run::portero()
        .args(["healthcheck", "--timeout", limit])
        .args(arguments)
        .finish();
    let took = start.elapsed();
    assert_said(what, verdict, &finished);
    let at_limit = matches!(verdict, UnhealthyAtTheLimit(_));
    let least = Duration::from_millis(if at_limit { 900 } else { 0 });
    // It takes a slow machine some time to start anything at all.
    let most = Duration::from_secs(if at_limit { 8 } else { 15 });
    assert!(
        took >= least && took < most,
        "{what}: took {took:?}{finished}"
    );
}

#[track_caller]
fn assert_said(what: &str, verdict: Verdict, finished: &Finished) {
    let (code, prefix, text, line, other) = match verdict {
        Healthy(text) => (0, "healthy: ", text, &finished.stdout, &finished.stderr),
        Unhealthy(text) | UnhealthyAtTheLimit(text) => {
            (1, "unhealthy: ", text, &finished.stderr, &finished.stdout)
        }
    };
    finished.assert_exit(code);
    let one = line.ends_with('\n') && line.lines().count() == 1 && line.len() <= 200;
    assert!(one && other.is_empty(), "{what}: not one line{finished}");
    assert!(
        line.starts_with(prefix) && line.contains(text),
        "{what}: not {prefix:?} with {text:?}{finished}"
    );
}

fn request_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads a request, says `first`, and then `again` for as long as anybody listens.
fn endless(first: &'static str, again: &'static [u8]) -> Server {
    Server::start(move |mut stream| {
        request_head(&mut stream);
        let _ = stream.write_all(first.as_bytes());
        while stream.write_all(again).is_ok() {}
    })
}

/// Closes with a reset: what was not sent yet is forgotten (socket(7), SO_LINGER with 0).
fn reset(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(stream, sockopt::Linger, &linger).unwrap();
}

#[test]
fn http_servers_that_misbehave_are_told_apart() {
    let second = Duration::from_secs(1);
    let servers: [(&str, Server, Verdict); 20] = [
        (
            "says nothing",
            Server::silent(),
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "drips a byte a second",
            Server::dripping(http_answer(200, ""), second),
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "drips headers",
            Server::dripping(
                format!("HTTP/1.1 200 OK\r\n{}", "X-Y: z\r\n".repeat(1000)),
                Duration::from_millis(20),
            ),
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "streams for ever after a 200",
            endless("HTTP/1.1 200 OK\r\n\r\n", b"all is well\n"),
            Healthy(" 200 in "),
        ),
        (
            "sends events for ever",
            endless(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"5\r\ntick\n\r\n",
            ),
            Healthy(" 200 in "),
        ),
        (
            "sends endless headers",
            endless("HTTP/1.1 200 OK\r\n", b"X-Header: and another\r\n"),
            Unhealthy("it does not speak HTTP: too many headers"),
        ),
        (
            "sends one endless header",
            endless("HTTP/1.1 200 OK\r\nX-Header: ", b"and more and more"),
            Unhealthy("more than 64 KiB of header"),
        ),
        (
            "sends random bytes",
            endless("", b"\x9c\x07\xf3\x00\x1b[2J\xfe\r\n\x80\xd1q\r\n\r\n"),
            Unhealthy("it does not speak HTTP"),
        ),
        (
            "speaks something else",
            Server::answering("220 mail.example.com ESMTP\r\n"),
            Unhealthy("it does not speak HTTP"),
        ),
        (
            "closes at once",
            Server::closing(),
            Unhealthy("it closed the connection"),
        ),
        (
            "closes without an answer",
            Server::answering(""),
            Unhealthy("it closed the connection"),
        ),
        (
            "closes in its status line",
            Server::answering("HTTP/1.1 20"),
            Unhealthy("it closed the connection"),
        ),
        (
            "resets",
            Server::start(|mut stream| {
                request_head(&mut stream);
                reset(&stream);
                let _ = stream.shutdown(Shutdown::Read);
            }),
            Unhealthy("it closed the connection"),
        ),
        (
            "redirects to another host",
            Server::answering(
                "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.invalid/login\r\nContent-Length: 0\r\n\r\n",
            ),
            Healthy(" 302 in "),
        ),
        (
            "redirects without saying whereto",
            Server::answering("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"),
            Healthy(" 301 in "),
        ),
        (
            "answers 1xx first",
            Server::answering(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ),
            Healthy(" 200 in "),
        ),
        (
            "answers 1xx for ever",
            endless("", b"HTTP/1.1 102 Processing\r\n\r\n"),
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "answers HTTP/1.0",
            Server::answering("HTTP/1.0 200 OK\r\n\r\nfine"),
            Healthy(" 200 in "),
        ),
        (
            "answers HTTP/0.9",
            Server::answering("<html>fine</html>\n"),
            Unhealthy("it does not speak HTTP"),
        ),
        (
            "answers HTTP/2",
            Server::answering(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80".to_vec()),
            Unhealthy("it does not speak HTTP"),
        ),
    ];
    for (what, server, verdict) in &servers {
        let url = format!("http://{}/up", server.address());
        assert_verdict(what, *verdict, &[&url]);
        assert_eq!(server.connections(), 1, "{what}: asked again");
    }
}

#[test]
fn a_server_that_needs_its_host_gets_the_one_that_is_given() {
    let server = Server::start(|mut stream| {
        let head = request_head(&mut stream);
        let hosts: Vec<&str> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
            .map(|(_, host)| host)
            .collect();
        let status = if hosts == ["shop.example.com"] {
            200
        } else {
            400
        };
        let _ = stream.write_all(http_answer(status, "").as_bytes());
    });
    let url = format!("http://{}/", server.address());
    assert_verdict("no Host", Unhealthy("status 400"), &[&url]);
    let header = ["--header", "host: shop.example.com", &url];
    assert_verdict("Host", Healthy(" 200 in "), &header);
}

#[test]
fn ports_that_are_closed_or_full_or_nobody_accepts_at_are_told_apart() {
    let closed = unused_port();
    for url in [
        format!("http://127.0.0.1:{closed}/"),
        format!("https://127.0.0.1:{closed}/"),
        format!("http://localhost:{closed}/"),
        format!("tcp://127.0.0.1:{closed}"),
    ] {
        let verdict = Unhealthy("connection refused (ECONNREFUSED)");
        assert_verdict("closed", verdict, &[&url]);
    }
    let nobody_accepts = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody_accepts.local_addr().unwrap();
    let verdict = UnhealthyAtTheLimit("no answer within 1s");
    let url = format!("http://{address}/");
    assert_verdict("nobody accepts", verdict, &[&url]);
    assert_verdict(
        "nobody accepts",
        Healthy(""),
        &[&format!("tcp://{address}")],
    );

    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&full, Backlog::new(0).unwrap()).unwrap();
    let address = full.local_addr().unwrap();
    let queue: Vec<TcpStream> = std::iter::from_fn(|| {
        TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()
    })
    .collect();
    assert!(!queue.is_empty() && queue.len() < 10);
    for scheme in ["http", "https", "tcp"] {
        let url = format!("{scheme}://{address}");
        assert_verdict("full", verdict, &[&url]);
    }
}

#[test]
fn sockets_that_are_missing_or_full_or_silent_are_told_apart() {
    let directory = TempDir::new();
    let path = directory.join("app.sock");
    let (http, unix) = (
        format!("http+unix://{}:/up", path.display()),
        format!("unix://{}", path.display()),
    );
    for url in [&http, &unix] {
        let missing = Unhealthy("no such file or directory (ENOENT)");
        assert_verdict("missing", missing, &[url]);
    }
    let listener = UnixListener::bind(&path).unwrap();
    let at_limit = UnhealthyAtTheLimit("no answer within 1s");
    assert_verdict("silent", at_limit, &[&http]);
    assert_verdict("silent", Healthy("app.sock"), &[&unix]);
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    // The queue holds the two connections that nobody took.
    for url in [&http, &unix] {
        assert_verdict("full", at_limit, &[url]);
    }
    drop(listener);
    for url in [&http, &unix] {
        let dead = Unhealthy("connection refused (ECONNREFUSED)");
        assert_verdict("dead", dead, &[url]);
    }
}

/// Certificates in a directory: `NAME.crt` and `NAME.key` of each, `ca.crt` that has signed them.
fn certificates() -> TempDir {
    let directory = TempDir::new();
    let write = |name: &str, certificate: String, key: &KeyPair| {
        directory.file(&format!("{name}.crt"), &certificate);
        directory.file(&format!("{name}.key"), &key.serialize_pem());
    };
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    write("ca", params.self_signed(&key).unwrap().pem(), &key);
    let ca = Issuer::new(params, key);
    let own = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    for name in ["good", "expired", "future", "wrong"] {
        let mut params = CertificateParams::new(own.clone()).unwrap();
        match name {
            "expired" => params.not_after = date_time_ymd(2020, 1, 1),
            "future" => params.not_before = date_time_ymd(2090, 1, 1),
            "wrong" => params = CertificateParams::new(["example.com".to_owned()]).unwrap(),
            _ => {}
        }
        let key = KeyPair::generate().unwrap();
        write(name, params.signed_by(&key, &ca).unwrap().pem(), &key);
    }
    // As `openssl req -x509` makes them: an authority's.
    let mut params = CertificateParams::new(own).unwrap();
    params.distinguished_name.push(DnType::CommonName, "self");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    write("self", params.self_signed(&key).unwrap().pem(), &key);
    directory
}

/// `openssl s_server`, which answers every request with a page; and its port.
fn tls_server(directory: &TempDir, certificate: &str, options: &str) -> (Process, u16) {
    let mut server = Run::program(tool("openssl"))
        .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
        .args(["-cert", &format!("{certificate}.crt")])
        .args(["-key", &format!("{certificate}.key")])
        .args(options.split_whitespace())
        .cwd(directory.path())
        .start();
    server.until_stdout("ACCEPT 127.0.0.1:");
    server.until_stdout("\n");
    let stdout = server.stdout();
    let port = stdout.split("ACCEPT 127.0.0.1:").nth(1).unwrap();
    let port = port.lines().next().unwrap().trim().parse().unwrap();
    (server, port)
}

#[test]
fn tls_of_every_version_that_is_safe_is_spoken() {
    let directory = certificates();
    let ca = directory.join("ca.crt");
    let table = [
        ("", Healthy(" 200 in ")),
        ("-tls1_3", Healthy(" 200 in ")),
        ("-tls1_2", Healthy(" 200 in ")),
        (
            "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384",
            Healthy(" 200 in "),
        ),
        ("-tls1_1 -cipher DEFAULT@SECLEVEL=0", Unhealthy("no TLS: ")),
        ("-Verify 1", Unhealthy("")),
    ];
    for (options, verdict) in table {
        let (_server, port) = tls_server(&directory, "good", options);
        let url = format!("https://localhost:{port}/");
        let verified = ["--ca-cert", ca.to_str().unwrap(), &url];
        assert_verdict(options, verdict, &[&url]);
        assert_verdict(options, verdict, &verified);
    }
}

#[test]
fn certificates_count_on_loopback_only_where_a_ca_is_given() {
    let directory = certificates();
    let file = |name: &str| directory.join(format!("{name}.crt")).display().to_string();
    let table = [
        ("good", "ca", Healthy(" 200 in ")),
        ("self", "self", Healthy(" 200 in ")),
        (
            "good",
            "self",
            Unhealthy("certificate refused: unknown issuer"),
        ),
        ("self", "ca", Unhealthy("certificate refused: ")),
        (
            "expired",
            "ca",
            Unhealthy("certificate refused: it has expired"),
        ),
        (
            "future",
            "ca",
            Unhealthy("certificate refused: it is not valid yet"),
        ),
        (
            "wrong",
            "ca",
            Unhealthy("certificate refused: it is for another name"),
        ),
    ];
    for (certificate, ca, verdict) in table {
        let (_server, port) = tls_server(&directory, certificate, "");
        let ca = file(ca);
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("https://{host}:{port}/");
            assert_verdict(certificate, Healthy(" 200 in "), &[&url]);
            assert_verdict(certificate, verdict, &["--ca-cert", &ca, &url]);
            let insecure = ["--insecure", "--ca-cert", &ca, &url];
            assert_verdict(certificate, Healthy(" 200 in "), &insecure);
        }
    }
}

#[test]
fn tls_on_a_plain_port_and_the_other_way_round_are_said() {
    let directory = certificates();
    let (_server, port) = tls_server(&directory, "good", "");
    let url = format!("http://127.0.0.1:{port}/");
    // OpenSSL closes without a word on what looks like HTTP, others send an alert.
    let verdict = Unhealthy("without an answer (with TLS it is https://)");
    assert_verdict("http to a TLS port", verdict, &[&url]);
    let alerts = Server::answering([21, 3, 3, 0, 2, 2, 10]);
    let url = format!("http://{}/", alerts.address());
    let verdict = Unhealthy("it speaks TLS on this port: use https://");
    assert_verdict("http to a TLS port", verdict, &[&url]);

    let (silent, closing) = (Server::silent(), Server::closing());
    let plain = Server::start(|mut stream| {
        // As servers do: what is no request is answered so, and not read to its end.
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(http_answer(400, "").as_bytes());
        while matches!(stream.read(&mut [0; 512]), Ok(1..)) {}
    });
    let stalls = Server::start(|mut stream| {
        // A handshake's record, that never comes to its end.
        let _ = stream.write_all(&[22, 3, 3, 1, 0, 2, 0]);
        while matches!(stream.read(&mut [0; 512]), Ok(1..)) {}
    });
    for (what, server, verdict) in [
        (
            "https to a plain port",
            &plain,
            Unhealthy("it does not speak TLS on this port: use http://"),
        ),
        (
            "https to silence",
            &silent,
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "a handshake that stalls",
            &stalls,
            UnhealthyAtTheLimit("no answer within 1s"),
        ),
        (
            "https to what closes",
            &closing,
            Unhealthy("it closed the connection"),
        ),
    ] {
        assert_verdict(what, verdict, &[&format!("https://{}/", server.address())]);
    }
}

/// On an address that is not loopback, in a network namespace of the test's own.
#[test]
fn certificates_of_other_hosts_are_verified() {
    let directory = certificates();
    let (ip, openssl) = (tool("ip"), tool("openssl"));
    let script = format!(
        "{ip} link set lo up && {ip} address add 192.0.2.7/32 dev lo && cd {directory} || exit 9
         {openssl} s_server -accept 192.0.2.7:4433 -www -cert good.crt -key good.key >/dev/null 2>&1 &
         for i in {{1..200}}; do \"$0\" healthcheck 192.0.2.7:4433 >/dev/null 2>&1 && break; sleep 0.05; done
         \"$@\"; code=$?; kill $!; exit $code",
        ip = ip.display(),
        openssl = openssl.display(),
        directory = directory.path().display(),
    );
    let portero = common::portero().to_str().unwrap();
    let unshare = tool("unshare");
    let unshare = [unshare.to_str().unwrap(), "--net", "--", "/bin/bash", "-c"];
    for (options, verdict) in [
        (vec![], Unhealthy("certificate refused: unknown issuer")),
        (
            vec!["--ca-cert", "ca.crt"],
            Unhealthy("certificate refused: it is for another name"),
        ),
        (vec!["--insecure"], Healthy(" 200 in ")),
    ] {
        let finished = Run::portero()
            .args(["healthcheck", "--timeout", "20s"])
            .args(&options)
            .arg("https://192.0.2.7:4433/")
            .via(unshare.into_iter().chain([script.as_str(), portero]))
            .finish();
        assert_said(&format!("{options:?}"), verdict, &finished);
    }
}
