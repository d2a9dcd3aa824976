//! What cures a thing is said by a health check, too, whole and in its one short line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::io::{Read, Write};

use common::{Run, Server, TempDir, rows};

/// The line of a health check of what URL holds.
fn assert_hint(url: &str, options: &[&str], hint: &str) {
    let finished = Run::portero()
        .args(["healthcheck", "--timeout", "20s"])
        .args(options)
        .arg("URL")
        .env("URL", url)
        .finish();
    finished
        .assert_exit(1)
        .assert_stdout("")
        .assert_one_line_of("unhealthy: ")
        .assert_stderr_contains(hint);
    assert!(finished.stderr.len() < 200, "{finished}");
}

/// A server of PostgreSQL's protocol that has no TLS and answers the startup message by this.
fn postgres_saying(answer: &'static [u8]) -> Server {
    Server::start(move |mut stream| {
        let mut length = [0; 4];
        while stream.read_exact(&mut length).is_ok() {
            let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
            stream.read_exact(&mut rest).unwrap();
            let is_request = rest.len() == 4;
            let answer = if is_request { b"N" } else { answer };
            if stream.write_all(answer).is_err() || !is_request {
                let _ = stream.read(&mut [0; 512]);
                return;
            }
        }
    })
}

#[test]
fn methods_of_authentication_and_tls_that_are_not_had_are_named() {
    let table: [(&[u8], &str, &str); 6] = [
        (
            b"R\0\0\0\x15\0\0\0\x0aOAUTHBEARER\0\0",
            "",
            "the server asks for OAUTHBEARER, and portero knows SCRAM-SHA-256 only",
        ),
        (
            b"R\0\0\0\x08\0\0\0\x07",
            "",
            "the server asks for GSSAPI (Kerberos), which portero does not have",
        ),
        (
            b"R\0\0\0\x08\0\0\0\x09",
            "",
            "the server asks for SSPI (Windows), which portero does not have",
        ),
        (
            b"R\0\0\0\x08\0\0\0\x03",
            "?require_auth=scram-sha-256",
            "require_auth: the server asks for the password in clear; it was not sent",
        ),
        (
            b"R\0\0\0\x08\0\0\0\0",
            "?channel_binding=require",
            "channel_binding=require, and the server authenticates without channel binding",
        ),
        (b"", "?sslmode=require", "server does not support TLS"),
    ];
    for (answer, parameters, hint) in table {
        let server = postgres_saying(answer);
        let url = format!("postgres://u:pw@{}/d{parameters}", server.address());
        assert_hint(&url, &[], hint);
    }
}

#[test]
fn what_a_url_can_not_mean_is_said_with_what_it_can() {
    let table = "
        grpc://api:50051  write tcp://HOST:PORT
        mongodb+srv://api  write tcp://HOST:PORT
        postgres://db/d?sslmode=on  sslmode in URL must be disable, allow, prefer, require, verify-ca or verify-full
        postgres://db/d?sslmode=require&sslrootcert=system
        => is too weak for sslrootcert=system, as in libpq: use sslmode=verify-full
        postgres://db/d?sslnegotiation=x  sslnegotiation in URL must be postgres or direct
        postgres://db/d?sslnegotiation=direct  sslnegotiation=direct needs sslmode=require, verify-ca or verify-full
        postgres://db/d?sslcertmode=x  sslcertmode in URL must be disable, allow or require
        postgres://db/d?sslcertmode=require
        => portero does not tell whether a server asks for a certificate (sslcertmode=require)
        postgres://db/d?channel_binding=x  channel_binding in URL must be disable, prefer or require
        postgres://db/d?gssencmode=x  gssencmode in URL must be disable, prefer or require
        postgres://db/d?gssencmode=require  portero has no GSSAPI encryption (gssencmode=require)
        postgres://db/d?sslcrl=x  portero reads no revocation lists (sslcrl): leave it out for portero, to go without
        postgres://db/d?min_protocol_version=3.2  portero speaks version 3.0 of the protocol (min_protocol_version)
        postgres://db/d?ssl_min_protocol_version=x
        => ssl_min_protocol_version in URL must be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3
        postgres://db/d?target_session_attrs=x
        => target_session_attrs in URL must be any, read-write, read-only, primary, standby or prefer-standby
        postgres://db/d?require_auth=gss  require_auth allows nothing that portero has
        postgres://db/d?hostaddr=name  hostaddr in URL must be an IP address; a name goes into host
        postgres://a,b/d?port=1,2,3  has 3 ports for 2 hosts: give one port, or one each
        postgres:///d?host=/LONG  its socket has a path of 135 bytes, and the kernel takes 107
        unix:///LONG  has a socket path of more than 107 bytes, more than the kernel takes
    ";
    for [url, hint] in rows(table) {
        assert_hint(&url.replace("LONG", &"x".repeat(120)), &[], hint);
    }
}

#[test]
fn a_file_that_a_url_names_and_that_is_not_there_is_named() {
    let directory = TempDir::new();
    let file = directory.join("ca.crt").display().to_string();
    let url = format!("postgres://db/d?sslmode=verify-ca&sslrootcert={file}");
    assert_hint(&url, &[], &format!("can't read {file}"));
    assert_hint(
        "https://127.0.0.1:1/",
        &["--ca-cert", &file],
        &format!("can't read {file}"),
    );
}
