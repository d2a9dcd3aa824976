//! Logins: every method of a real PostgreSQL, what is asked for once only, and servers that ask for what they must not
//! get.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::postgres::{PASSWORD, Postgres};
use common::tls::psql;
use common::{DEADLINE, Ended, Finished, Run, Server, TempDir, side_by_side};
use nix::sys::signal::Signal;
use ring::{digest, hmac, pbkdf2};

fn healthcheck(url: &str, limit: &str) -> Finished {
    let finished = Run::portero()
        .args(["healthcheck", "--timeout", limit, "URL"])
        .env("URL", url)
        .finish();
    finished.assert_never_says(PASSWORD);
    finished
}

fn wait(url: &str) -> Finished {
    let finished = Run::portero()
        .args(["wait", "--wait-timeout", "2s", "URL"])
        .env("URL", url)
        .finish();
    finished.assert_never_says(PASSWORD);
    finished
}

/// What PostgreSQL keeps of a password (its `src/common/scram-common.c`).
fn verifier(password: &str, iterations: u32) -> String {
    let salt = b"0123456789abcdef";
    let mut salted = [0; 32];
    let rounds = NonZeroU32::new(iterations).unwrap();
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, rounds, salt, password.as_bytes(), &mut salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client = hmac::sign(&salted, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client.as_ref());
    let server = hmac::sign(&salted, b"Server Key");
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored),
        STANDARD.encode(server)
    )
}

/// A server that says that a password has had so many iterations, and then waits; and how often it has said so.
fn asking_for_iterations(count: u32) -> (Server, Arc<AtomicUsize>) {
    let said = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&said);
    let server = Server::start(move |stream| {
        let mut buffer = [0; 512];
        let mut read = || {
            let count = (&stream).read(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        read();
        let _ = (&stream).write_all(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
        let first = read();
        let nonce = first.split("r=").nth(1).unwrap();
        let challenge = format!("r={nonce}more,s=AAAA,i={count}");
        let length = u32::try_from(challenge.len() + 8).unwrap().to_be_bytes();
        let message = [b"R", &length[..], &[0, 0, 0, 11], challenge.as_bytes()].concat();
        let _ = (&stream).write_all(&message);
        counter.fetch_add(1, Ordering::SeqCst);
        let _ = (&stream).read(&mut [0]);
    });
    (server, said)
}

#[test]
fn scram_of_any_number_of_iterations_that_fits_the_time_is_done_and_more_ends_in_time() {
    let server = Postgres::start();
    let secret = verifier(PASSWORD, 600_000);
    server.psql(
        "postgres",
        &format!("CREATE ROLE owasp LOGIN PASSWORD '{secret}'"),
    );
    healthcheck(&server.url_with("owasp", PASSWORD, "postgres"), "30s").assert_exit(0);
    healthcheck(&server.url_with("owasp", "wrong", "postgres"), "30s")
        .assert_exit(1)
        .assert_stderr_contains("(28P01)");

    let (endless, _) = asking_for_iterations(4_000_000_000);
    let url = format!(
        "postgres://u:{PASSWORD}@{}/d?sslmode=disable",
        endless.address()
    );
    let too_many = "the password's 4000000000 iterations of SCRAM take longer than there is time";
    let started = Instant::now();
    healthcheck(&url, "2s")
        .assert_exit(1)
        .assert_stderr_contains(too_many);
    wait(&url).assert_exit(124).assert_stderr_contains(too_many);
    assert!(started.elapsed() < Duration::from_secs(4) + DEADLINE);
}

#[test]
fn a_stop_is_answered_while_scram_is_reckoned() {
    let (endless, said) = asking_for_iterations(4_000_000_000);
    let url = format!(
        "postgres://u:{PASSWORD}@{}/d?sslmode=disable",
        endless.address()
    );
    for arguments in [
        "wait --wait-timeout 1h URL",
        "--wait-timeout 1h --wait URL -- true",
        "migrate --wait-timeout 1h --database URL -- true",
    ] {
        let before = said.load(Ordering::SeqCst);
        let words = arguments.split(' ');
        let mut process = Run::portero().args(words).env("URL", &url).start();
        process.until(|_| said.load(Ordering::SeqCst) > before, "iterations");
        process.signal(Signal::SIGTERM);
        let finished = process.wait_at_most(DEADLINE);
        assert_eq!(finished.ended, Ended::Code(143), "{finished}");
    }
}

#[test]
fn each_method_logs_in_where_require_auth_allows_it() {
    let server = Postgres::options()
        .hba("host all clear 127.0.0.1/32 password")
        .hba("host all hashed 127.0.0.1/32 md5")
        .hba("host all open 127.0.0.1/32 trust")
        .start();
    for role in ["clear", "open", "scram"] {
        server.psql(
            "postgres",
            &format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"),
        );
    }
    server.psql(
        "postgres",
        &format!("SET password_encryption = md5; CREATE ROLE hashed LOGIN PASSWORD '{PASSWORD}'"),
    );
    let roles = ["clear", "hashed", "open", "scram"];
    let table = [
        ("", [true, true, true, true]),
        ("scram-sha-256", [false, false, false, true]),
        ("!password", [false, true, true, true]),
        ("md5,none", [false, true, true, false]),
        ("!scram-sha-256,!none", [true, true, false, false]),
    ];
    for (methods, good) in table {
        for (role, good) in roles.iter().zip(good) {
            let url = server.url_with(role, PASSWORD, "postgres");
            let finished = Run::portero()
                .args(["healthcheck", "--timeout", "20s", "URL"])
                .env("URL", format!("{url}?require_auth={methods}"))
                .finish();
            finished.assert_exit(i32::from(!good));
            let by_variable = Run::portero()
                .args(["healthcheck", "--timeout", "20s", "URL"])
                .env("URL", &url)
                .env("PGREQUIREAUTH", methods)
                .finish();
            by_variable.assert_exit(i32::from(!good));
            if !good {
                finished.assert_stderr_contains("require_auth: the server");
            }
        }
    }
    let wrong = format!("{}?require_auth=gss", server.url("postgres"));
    wait(&wrong)
        .assert_exit(125)
        .assert_stderr_contains("require_auth allows nothing that portero has");
}

/// A server without TLS that asks for authentication of this kind, keeps what comes back, and says no as PostgreSQL
/// does when LDAP does.
fn asking(request: &'static [u8], heard: &Arc<Mutex<Vec<u8>>>) -> Server {
    let heard = Arc::clone(heard);
    Server::start(move |mut stream| {
        let mut length = [0; 4];
        loop {
            stream.read_exact(&mut length).unwrap();
            let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
            stream.read_exact(&mut rest).unwrap();
            if rest.len() != 4 {
                break;
            }
            stream.write_all(b"N").unwrap();
        }
        stream.write_all(request).unwrap();
        let mut answer = [0; 512];
        if let Ok(count @ 1..) = stream.read(&mut answer) {
            heard.lock().unwrap().extend(&answer[..count]);
            let fields =
                "SFATAL\0C28000\0MLDAP authentication failed for user \"u\"\0Rauth_failed\0\0";
            let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            let message = [b"E", &length[..], fields.as_bytes()].concat();
            stream.write_all(&message).unwrap();
        }
    })
}

#[test]
fn a_server_that_asks_for_what_require_auth_forbids_does_not_get_it() {
    let clear: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    let md5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";
    for (request, methods, gets) in [
        (clear, "scram-sha-256", false),
        (clear, "!password", false),
        (clear, "password", true),
        (md5, "scram-sha-256", false),
    ] {
        for mode in ["disable", "allow", "prefer"] {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let server = asking(request, &heard);
            let url = format!(
                "postgres://u:{PASSWORD}@{}/d?sslmode={mode}&require_auth={methods}",
                server.address()
            );
            let finished = healthcheck(&url, "20s");
            finished.assert_exit(1);
            let heard = heard.lock().unwrap();
            if gets {
                // And that once: 28000 after a password is no refusal of the way.
                assert_eq!(server.connections(), 1, "{finished}");
                finished
                    .assert_stderr_contains("LDAP authentication failed for user \"u\" (28000)");
            } else {
                assert!(heard.is_empty(), "{heard:?}{finished}");
                finished.assert_stderr_contains("it was not sent");
            }
        }
    }
}

#[test]
fn a_password_is_asked_of_ldap_once_a_try_and_never_goes_in_clear() {
    // Refuses every BindRequest: invalidCredentials (RFC 4511, 4.2.2).
    let ldap = Server::start(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00");
        let _ = stream.read(&mut [0; 512]);
    });
    let server = Postgres::options()
        .tls()
        .setting("log_connections = on")
        .hba(&format!(
            "host all ldapper 127.0.0.1/32 ldap ldapserver=127.0.0.1 ldapport={} ldapprefix=u",
            ldap.port()
        ))
        .start();
    server.psql("postgres", "CREATE ROLE ldapper LOGIN");
    for (tries, mode) in ["allow", "prefer", "require"].into_iter().enumerate() {
        let url = server.url_with("ldapper", PASSWORD, "postgres");
        healthcheck(&format!("{url}?sslmode={mode}"), "20s")
            .assert_exit(1)
            .assert_stderr_contains("LDAP authentication failed for user \"ldapper\" (28000)");
        assert_eq!(ldap.connections(), tries + 1, "{mode}");
    }
}

/// Reads a startup message, and lets anybody in.
fn let_in(mut stream: &TcpStream) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut rest).unwrap();
    stream.write_all(b"R\0\0\0\x08\0\0\0\0").unwrap();
}

#[test]
fn a_server_that_lets_in_and_then_says_without_end_is_ended_long_before_memory_is() {
    let notice = b"N\0\0\0\x1bSNOTICE\0C00000\0Mwords\0\0";
    let too_much = "the server says more than any answer of PostgreSQL's would be";
    let table = [
        (&b"S\x7f\xff\xff\xff"[..], &b"x"[..]),
        (b"#\x7f\xff\xff\xff", b"x"),
        (notice, notice),
        (b"Z\0\0\0\x05I", notice),
    ];
    side_by_side(table, |(first, again)| {
        let endless = Server::start(move |mut stream| {
            let_in(&stream);
            let _ = stream.write_all(first);
            let many = again.repeat(4096);
            while stream.write_all(&many).is_ok() {}
        });
        let url = format!("postgres://u@{}/d?sslmode=disable", endless.address());
        // All at once keep a small machine busy.
        let run = Run::portero().line("wait --wait-timeout 5s").arg(url);
        run.exits(124).assert_stderr_contains(too_much);
    });
}

#[test]
fn an_answer_after_the_login_that_breaks_the_protocol_is_said_to_and_not_called_the_end() {
    let not_understood = "the server's answer can't be understood";
    let ready: &[u8] = b"Z\0\0\0\x05I";
    let answers: [(&str, &[u8]); 6] = [
        ("a length below its own", b"D\0\0\0\x01xxxx"),
        ("a kind that there is none of", b"#\0\0\0\x08xxxx"),
        ("no words where words are due", b"C\0\0\0\x08xxxx"),
        (
            "a row that is longer than its message",
            b"D\0\0\0\x0c\0\x01\0\0\xff\xffxx",
        ),
        (
            "a row without columns",
            b"D\0\0\0\x06\0\x01C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
        ),
        ("a login once more", b"R\0\0\0\x08\0\0\0\0"),
    ];
    for (what, answer) in answers {
        for at_start in [true, false] {
            let server = Server::start(move |mut stream| {
                let_in(&stream);
                if !at_start {
                    stream.write_all(ready).unwrap();
                    let _ = stream.read(&mut [0; 512]);
                }
                let _ = stream.write_all(answer);
                let _ = stream.read(&mut [0; 512]);
            });
            let url = format!("postgres://u@{}/d?sslmode=disable", server.address());
            let finished = healthcheck(&url, "20s");
            assert!(
                finished.stderr.contains(not_understood) && !finished.stderr.contains("(EOF)"),
                "{what}, at the start {at_start}{finished}"
            );
            finished.assert_exit(1);
        }
    }
}

#[test]
fn scram_that_breaks_its_rules_is_refused_by_what_is_wrong() {
    let table = [
        ("r=NONCEx,s=AAAA,i=0", "(invalid iteration count)"),
        ("r=NONCEx,s=AAAA,i=-4096", "(invalid iteration count)"),
        ("r=NONCEx,s=AAAA,i=many", "(invalid iteration count)"),
        ("r=NONCEx,s=AAAA,i=4096x", "(invalid iteration count)"),
        ("r=NONCEx,s=AAAA,i=", "(invalid iteration count)"),
        ("r=NONCEx,s=AAAA,i=99999999999", "(invalid iteration count)"),
        ("r=another,s=AAAA,i=4096", "(nonce mismatch)"),
        ("r=,s=AAAA,i=4096", "(nonce mismatch)"),
        ("r=NONCEx,s=*,i=4096", "(invalid salt)"),
        ("r=NONCEx,i=4096", "(attribute \"s\" expected)"),
        ("r=NONCEx,s=AAAA", "(attribute \"i\" expected)"),
        ("s=AAAA,i=4096", "(attribute \"r\" expected)"),
        ("", "(attribute \"r\" expected)"),
        ("\u{1}", "(attribute \"r\" expected)"),
        ("r=NONCEx,s=AAAA,i=1,m=x", "(garbage at its end)"),
    ];
    let home = TempDir::new();
    for (challenge, words) in table {
        let server = Server::start(move |mut stream| {
            let mut said = [0; 512];
            let _ = stream.read(&mut said).unwrap();
            stream
                .write_all(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0")
                .unwrap();
            let count = stream.read(&mut said).unwrap();
            let first = String::from_utf8_lossy(&said[..count]).into_owned();
            let nonce = first.split("r=").last().unwrap();
            let challenge = challenge.replace("NONCE", nonce);
            let length = u32::try_from(challenge.len() + 8).unwrap().to_be_bytes();
            let kind = [0, 0, 0, 11];
            let message = [b"R", &length[..], &kind, challenge.as_bytes()].concat();
            let _ = stream.write_all(&message);
            let _ = stream.read(&mut said);
        });
        let url = format!(
            "postgres://u:{PASSWORD}@{}/d?sslmode=disable",
            server.address()
        );
        let finished = healthcheck(&url, "20s");
        assert!(
            finished
                .stderr
                .contains(&format!("malformed SCRAM message from the server {words}")),
            "{challenge:?}{finished}"
        );
        finished.assert_exit(1);
        // It takes the low half of this one, a thousand million, and hashes for minutes.
        if !challenge.contains("99999999999") {
            psql(&url, &home).assert_exit(2);
        }
    }
}

#[test]
fn what_is_no_sqlstate_forges_no_line() {
    let fields = "SFATAL\0C28000)\nportero: forged \x1b[31m\0Mno\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    let answer = [b"E", &length[..], fields.as_bytes()].concat();
    side_by_side([false, true], |is_in| {
        let answer = answer.clone();
        let server = Server::start(move |mut stream| {
            if is_in {
                let_in(&stream);
            }
            let _ = stream.write_all(&answer);
            let _ = stream.read(&mut [0; 512]);
        });
        let url = format!("postgres://u@{}/d?sslmode=disable", server.address());
        wait(&url).assert_exit(125).assert_never_says("forged");
    });
}

#[test]
fn a_server_that_quotes_the_password_it_was_sent_in_clear_is_not_quoted() {
    let server = Server::start(|mut stream| {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut rest).unwrap();
        stream.write_all(b"R\0\0\0\x08\0\0\0\x03").unwrap();
        let mut sent = [0; 512];
        let count = stream.read(&mut sent).unwrap();
        let sent = String::from_utf8_lossy(&sent[5..count - 1]).into_owned();
        let fields = format!("SFATAL\0C28P01\0Mnot \"{sent}\"\0\0");
        let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        let message = [b"E", &length[..], fields.as_bytes()].concat();
        stream.write_all(&message).unwrap();
    });
    let url = format!(
        "postgres://u:{PASSWORD}@{}/d?sslmode=disable",
        server.address()
    );
    wait(&url)
        .assert_exit(125)
        .assert_stderr_contains("not \"***\" (28P01)");
}

#[test]
fn tls_that_is_given_up_under_prefer_is_said_with_the_reason() {
    let server = Postgres::options()
        .tls()
        .setting("ssl_max_protocol_version = 'TLSv1.2'")
        .setting("ssl_ciphers = 'AES128-SHA'")
        .start();
    let url = |mode: &str| format!("{}?sslmode={mode}", server.url("postgres"));
    wait(&url("prefer"))
        .assert_exit(0)
        .assert_stderr_contains("the database is used without TLS, as sslmode=prefer allows: no TLS: it has nothing in common");
    wait(&url("require"))
        .assert_exit(125)
        .assert_stderr_contains("no TLS: it has nothing in common with portero");
}

#[test]
fn methods_that_portero_does_not_have_are_named() {
    let oauth: &[u8] = b"R\0\0\0\x15\0\0\0\x0aOAUTHBEARER\0\0";
    let table = [
        (
            oauth,
            "the server asks for OAUTHBEARER, and portero knows SCRAM-SHA-256 only",
        ),
        (
            &b"R\0\0\0\x08\0\0\0\x07"[..],
            "the server asks for GSSAPI (Kerberos)",
        ),
        (
            &b"R\0\0\0\x08\0\0\0\x09"[..],
            "the server asks for SSPI (Windows)",
        ),
        (&b"R\0\0\0\x08\0\0\0\x63"[..], "authentication of kind 99"),
    ];
    side_by_side(table, |(request, words)| {
        let server = asking(request, &Arc::default());
        let url = format!("postgres://u:{PASSWORD}@{}/d", server.address());
        wait(&url).assert_exit(125).assert_stderr_contains(words);
    });
}

#[test]
fn a_server_that_greets_and_resets_is_named_by_its_greeting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let patience = Some(Duration::from_millis(50));
            stream.set_read_timeout(patience).unwrap();
            // Who speaks before he is greeted is cut off: to close what has not been read is a reset.
            if stream.peek(&mut [0; 8]).is_err() {
                let _ = stream.write_all(b"J\0\0\0\x0a8.0.36-MariaDB\0\x09\0\0\0");
                let _ = stream.read(&mut [0; 8]);
            }
        }
    });
    let url = format!("postgres://u:{PASSWORD}@{address}/d?sslmode=prefer");
    wait(&url)
        .assert_exit(125)
        .assert_stderr_contains("is not PostgreSQL, but MySQL or MariaDB");
}

#[test]
fn no_file_that_a_url_names_holds_anybody_up_and_one_that_cannot_be_read_is_said_at_once() {
    let directory = TempDir::new();
    let fifo = directory.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let fifo = fifo.display().to_string();
    let long = directory.file("long", &"x".repeat(2 << 20));
    let long = long.display().to_string();
    let table = [
        ("service=shop", fifo.as_str(), "can't read the service file"),
        ("service=shop", "/dev/zero", "it is not a regular file"),
        ("service=shop", &long, "it is larger than 1 MiB"),
        (
            "service=shop",
            "/nonexistent",
            "no service file defines the service",
        ),
        (
            &format!("sslmode=require&sslrootcert={fifo}"),
            "",
            "it is not a regular file",
        ),
        (
            &format!("sslmode=require&sslcert={fifo}&sslkey={fifo}"),
            "",
            "it is not a regular file",
        ),
    ];
    for (parameters, service_file, words) in table {
        let url = format!("postgres://u:{PASSWORD}@127.0.0.1:1/d?{parameters}");
        for arguments in [
            &["--wait", "URL", "--wait-timeout", "1h", "--", "true"][..],
            &["wait", "--wait-timeout", "1h", "URL"],
        ] {
            Run::portero()
                .args(arguments)
                .env("URL", &url)
                .env("PGSERVICEFILE", service_file)
                .exits(125)
                .assert_stderr_contains(words)
                .assert_never_says(PASSWORD);
        }
    }
    // A password file that is none is passed over, as libpq does it.
    let server = Postgres::start();
    Run::portero()
        .args(["healthcheck", "--timeout", "20s", "URL"])
        .env(
            "URL",
            server.url("postgres").replace(&format!(":{PASSWORD}"), ""),
        )
        .env("PGPASSFILE", &fifo)
        .exits(1)
        .assert_stderr_contains("the server asks for a password, and none is given");
}

#[test]
fn the_servers_user_and_the_versions_of_tls_are_what_the_url_asks_for_as_with_psql() {
    let server = Postgres::options()
        .tls()
        .setting("ssl_max_protocol_version = 'TLSv1.2'")
        .start();
    let socket = format!(
        "postgres://postgres@/postgres?host={}&port={}",
        server.socket_directory().display(),
        server.port()
    );
    let tcp = format!("{}?sslmode=require", server.url("postgres"));
    let home = TempDir::new();
    for (url, good) in [
        (format!("{socket}&requirepeer=postgres"), true),
        (format!("{socket}&requirepeer=root"), false),
        (format!("{tcp}&requirepeer=root"), true),
        (format!("{tcp}&ssl_min_protocol_version=TLSv1.2"), true),
        (format!("{tcp}&ssl_min_protocol_version=TLSv1.3"), false),
        (format!("{tcp}&ssl_max_protocol_version=TLSv1.2"), true),
        (format!("{tcp}&sslsni=0"), true),
    ] {
        healthcheck(&url, "20s").assert_exit(i32::from(!good));
        psql(&url, &home).assert_exit(if good { 0 } else { 2 });
    }
}
