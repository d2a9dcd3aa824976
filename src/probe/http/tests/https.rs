//! https: who is believed, and what is said when TLS does not come about.

use crate::probe::question::Expectation;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// A server with a self-signed certificate, and that certificate in a file.
struct TlsServer {
    server: Server,
    ca: PathBuf,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca);
    }
}

fn tls_server(names: &[&str]) -> TlsServer {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let made = || -> Result<_, Box<dyn std::error::Error>> {
        let key = KeyPair::generate()?;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)?.self_signed(&key)?;
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let ca =
            std::env::temp_dir().join(format!("portero-ca-{}-{number}.pem", std::process::id()));
        std::fs::write(&ca, certificate.pem())?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok((Arc::new(config), ca))
    };
    let (config, ca) = made().unwrap_or_else(|error| panic!("{error}"));
    let server = Server::start(move |stream| {
        let Ok(connection) = ServerConnection::new(Arc::clone(&config)) else {
            return;
        };
        let mut stream = StreamOwned::new(connection, stream);
        if !read_request(&mut stream).is_empty() {
            let _ = stream.write_all(OK.as_bytes());
        }
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    TlsServer { server, ca }
}

fn ask_https(host: &str, server: &Server, question: &Question) -> Readiness {
    let target = target(&format!("https://{host}:{}/", server.port()));
    ask_target(&target, question, Deadline::after(Some(LONG)))
}

fn trusting(ca: &TlsServer) -> Verification {
    Verification {
        ca_cert: Some(ca.ca.clone()),
        insecure: false,
    }
}

fn refused(answer: &Readiness, part: &str) -> bool {
    matches!(answer, Readiness::Refused(reason) if reason.contains(part))
}

#[test]
fn certificates_are_verified_unless_told_otherwise() {
    let server = tls_server(&["127.0.0.1", "localhost"]);
    let other = tls_server(&["elsewhere.example"]);
    let healthcheck = |verification| Question::of_healthcheck(Expectation::default(), verification);
    let insecure = Verification {
        ca_cert: None,
        insecure: true,
    };

    // A health check believes loopback, but not against a CA that was given.
    assert_eq!(
        ask_https(
            "127.0.0.1",
            &server.server,
            &healthcheck(Verification::default())
        ),
        ready("200")
    );
    assert_eq!(
        ask_https("localhost", &server.server, &healthcheck(trusting(&server))),
        ready("200")
    );
    let answer = ask_https("localhost", &server.server, &healthcheck(trusting(&other)));
    assert!(refused(&answer, "certificate refused"), "{answer:?}");

    // A wait believes nobody.
    assert_eq!(
        ask_https(
            "127.0.0.1",
            &server.server,
            &Question::of_wait(trusting(&server))
        ),
        ready("200")
    );
    assert_eq!(
        ask_https("localhost", &server.server, &Question::of_wait(insecure)),
        ready("200")
    );
    let answer = ask_https(
        "localhost",
        &server.server,
        &Question::of_wait(trusting(&other)),
    );
    assert!(refused(&answer, "certificate refused"), "{answer:?}");
    let answer = ask_https(
        "localhost",
        &other.server,
        &Question::of_wait(trusting(&other)),
    );
    assert!(refused(&answer, "it is not for this host"), "{answer:?}");
}

#[test]
fn a_scheme_that_does_not_match_is_refused_with_the_remedy() {
    let secure = tls_server(&["127.0.0.1"]);
    let answer = ask_plain(&secure.server, LONG);
    assert!(refused(&answer, "use https://"), "{answer:?}");
    let plain = Server::start(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        stay_silent(stream);
    });
    let answer = ask_https("127.0.0.1", &plain, &Question::of_wait(trusting(&secure)));
    assert!(refused(&answer, "use http://"), "{answer:?}");
}

#[test]
fn a_handshake_does_not_outlast_the_deadline() {
    let question = Question::of_healthcheck(Expectation::default(), Verification::default());
    // A record of 16 KiB that never comes to its end.
    let dripping = Server::start(|mut stream| {
        let _ = stream.write_all(&[22, 3, 3, 64, 0, 2]);
        drip(&mut stream, &[0], Duration::from_millis(20));
    });
    for server in [Server::start(stay_silent), dripping] {
        let started = Instant::now();
        let target = target(&format!("https://127.0.0.1:{}/", server.port()));
        let answer = ask_target(&target, &question, Deadline::after(Some(SHORT)));
        assert_eq!(answer, not_yet("no answer within 300ms"));
        assert!(
            started.elapsed() < SHORT + LONG,
            "took {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_ca_file_that_cannot_be_read_is_an_error_before_any_question() {
    let verification = Verification {
        ca_cert: Some("/nonexistent/ca.pem".into()),
        insecure: false,
    };
    let secure = target("https://api/");
    for question in [
        Question::of_wait(verification.clone()),
        Question::of_healthcheck(Expectation::default(), verification.clone()),
    ] {
        let failure = question.check(&secure);
        assert!(failure.is_err_and(|failure| failure.message.contains("/nonexistent/ca.pem")));
        assert!(
            question.check(&target("http://api/")).is_ok(),
            "plain http needs no CA"
        );
    }
}
