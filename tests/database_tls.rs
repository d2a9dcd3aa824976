//! TLS to a real PostgreSQL server: every `sslmode` with every kind of certificate, server and root, beside what
//! `psql`, which is libpq, does with the very same URL (PostgreSQL manual, 34.19 "SSL Support").

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::postgres::{PASSWORD, Postgres, programs};
use common::{DEADLINE, Ended, Finished, Run, Server, TempDir, poll_until};
use nix::unistd::User;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// A server with TLS that can change its certificate, and what clients need.
struct TlsServer {
    server: Postgres,
    /// Roots and client certificates.
    files: TempDir,
    /// A home directory without any file of libpq's.
    home: TempDir,
}

impl TlsServer {
    fn start() -> Self {
        let mut server = Postgres::options()
            .setting("ssl = on")
            .setting("ssl_cert_file = 'chain.crt'")
            .setting("ssl_key_file = 'server.key'")
            .setting("ssl_ca_file = 'root.crt'")
            .setting("log_connections = on")
            .hba("hostssl all tls_only 127.0.0.1/32 scram-sha-256")
            .hba("host all tls_only 127.0.0.1/32 reject")
            .hba("hostnossl all plain_only 127.0.0.1/32 scram-sha-256")
            .hba("host all plain_only 127.0.0.1/32 reject")
            .hba("hostssl all with_cert 127.0.0.1/32 scram-sha-256 clientcert=verify-full")
            .hba("host all with_cert 127.0.0.1/32 reject")
            .prepare();
        let files = TempDir::new();
        certificates(&server.socket_directory().join("data"), &files);
        server.launch();
        for role in ["tls_only", "plain_only", "with_cert"] {
            server.psql(
                "postgres",
                &format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"),
            );
        }
        Self {
            server,
            files,
            home: TempDir::new(),
        }
    }

    /// Lets the server show this certificate to every connection from now on.
    fn show(&self, certificate: &str) {
        let file = format!("{certificate}.crt");
        self.server.psql(
            "postgres",
            &format!("ALTER SYSTEM SET ssl_cert_file = '{file}'"),
        );
        self.server.psql("postgres", "SELECT pg_reload_conf()");
        let shown = poll_until(DEADLINE, || {
            (self.server.psql("postgres", "SHOW ssl_cert_file") == file).then_some(())
        });
        assert!(shown.is_some(), "{file} never came\n{}", self.server.log());
    }

    fn url(&self, user: &str, parameters: &str) -> String {
        url(&self.server, user, parameters)
    }

    fn file(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }

    /// `portero healthcheck`: one try.
    fn portero(&self, url: &str) -> Finished {
        self.run(
            Run::portero().args(["healthcheck", "--timeout", "20s", "URL"]),
            url,
        )
    }

    fn psql(&self, url: &str) -> Finished {
        psql(url, &self.home)
    }

    fn run(&self, run: Run, url: &str) -> Finished {
        run.env("URL", url).env("HOME", self.home.path()).finish()
    }

    /// How the server logged the login of a session with this name: with TLS or without; None when there was none.
    fn used_tls(&self, name: &str) -> Option<bool> {
        let log = self.server.log();
        let marks = [
            format!("application_name={name} "),
            format!("application_name={name}\n"),
        ];
        let line = log.split_inclusive('\n').find(|line| {
            line.contains("connection authorized") && marks.iter().any(|mark| line.contains(mark))
        })?;
        Some(line.contains("SSL enabled"))
    }
}

/// By name, so that it can be verified, and by address, so that nothing is to be resolved.
fn url(server: &Postgres, user: &str, parameters: &str) -> String {
    format!(
        "postgres://{user}:{PASSWORD}@localhost:{}/postgres?hostaddr=127.0.0.1&{parameters}",
        server.port()
    )
}

fn psql(url: &str, home: &TempDir) -> Finished {
    Run::program(programs().join("psql"))
        .args(["-X", "-w", "-A", "-t", "-c", "SELECT 1", url])
        .env("HOME", home.path())
        .finish()
}

/// Two authorities of which one signed the other, the server's certificates and a client's.
fn certificates(data: &Path, files: &TempDir) {
    let key = || KeyPair::generate().unwrap();
    let named = |name: &str, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let authority = |name| {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
    let middle = CertifiedIssuer::signed_by(authority("middle"), key(), &root).unwrap();
    let stranger = CertifiedIssuer::self_signed(authority("stranger"), key()).unwrap();

    let server_key = key();
    let local = named("localhost", &["localhost", "127.0.0.1"]);
    let mut expired = local.clone();
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let signed = |params: &CertificateParams| {
        let leaf = params.signed_by(&server_key, &middle).unwrap();
        leaf.pem() + &middle.pem()
    };
    let self_signed = local.self_signed(&server_key).unwrap().pem();
    let client_key = key();
    let client = named("with_cert", &[])
        .signed_by(&client_key, &root)
        .unwrap();

    files.file("root.crt", &root.pem());
    files.file("stranger.crt", &stranger.pem());
    files.file("self-signed.crt", &self_signed);
    files.file("client.crt", &client.pem());
    let secret = files.file("client.key", &client_key.serialize_pem());
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();

    let user = User::from_name("postgres").unwrap().unwrap();
    for (name, content) in [
        ("chain.crt", signed(&local)),
        ("self-signed.crt", self_signed),
        (
            "other-name.crt",
            signed(&named("other", &["other.example"])),
        ),
        ("expired.crt", signed(&expired)),
        ("root.crt", root.pem()),
        ("server.key", server_key.serialize_pem()),
    ] {
        let path: PathBuf = data.join(name);
        fs::write(&path, content).unwrap();
        chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Asks portero and psql the same; what they do not agree on goes to `different`.
struct Comparison<'a> {
    tls: &'a TlsServer,
    /// Ready by TLS, ready without it, not ready.
    seen: [u32; 3],
    different: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn new(tls: &'a TlsServer) -> Self {
        Self {
            tls,
            seen: [0; 3],
            different: Vec::new(),
        }
    }

    /// `name` must be another one each time.
    fn ask(&mut self, name: &str, user: &str, parameters: &str) {
        let url = |by: &str| {
            let parameters = format!("{parameters}&application_name={name}.{by}");
            self.tls.url(user, &parameters)
        };
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| self.tls.psql(&url("psql")));
            (self.tls.portero(&url("portero")), theirs.join().unwrap())
        });
        let ready = ours.ended == Ended::Code(0);
        let used = |by: &str| self.tls.used_tls(&format!("{name}.{by}"));
        // The log says it before the client hears of it; without a login there is nothing to say.
        let (way, their_way) = (used("portero"), used("psql"));
        if (ready, way) != (theirs.ended == Ended::Code(0), their_way) {
            self.different
                .push(format!("TLS {way:?}, {their_way:?}{ours}{theirs}"));
        }
        ours.assert_never_says(PASSWORD);
        let kind = match (ready, way) {
            (true, Some(true)) => 0,
            (true, _) => 1,
            (false, _) => 2,
        };
        self.seen[kind] += 1;
    }

    #[track_caller]
    fn assert_same(&self, seen: [u32; 3]) {
        assert!(self.different.is_empty(), "{}", self.different.join("\n"));
        assert_eq!(self.seen, seen, "by TLS, without, not at all");
    }
}

#[test]
fn every_sslmode_with_every_certificate_does_what_psql_does() {
    let tls = TlsServer::start();
    let mut comparison = Comparison::new(&tls);
    for certificate in ["chain", "self-signed", "other-name", "expired"] {
        tls.show(certificate);
        for mode in MODES {
            for root in ["", "root.crt", "stranger.crt", "self-signed.crt"] {
                let name = format!("{certificate}.{mode}.{root}");
                let parameters = match root {
                    "" => format!("sslmode={mode}"),
                    root => format!("sslmode={mode}&sslrootcert={}", tls.file(root)),
                };
                comparison.ask(&name, "postgres", &parameters);
            }
        }
    }
    comparison.assert_same([19, 41, 36]);
}

#[test]
fn servers_that_want_or_refuse_tls_or_want_a_certificate_are_met_as_psql_does() {
    let tls = TlsServer::start();
    let certificate = format!(
        "&sslcert={}&sslkey={}",
        tls.file("client.crt"),
        tls.file("client.key")
    );
    let mut comparison = Comparison::new(&tls);
    let root = tls.file("root.crt");
    for mode in MODES {
        for user in ["tls_only", "plain_only", "with_cert"] {
            for (with, own) in [("without", ""), ("with", certificate.as_str())] {
                let parameters = format!("sslmode={mode}&sslrootcert={root}{own}");
                comparison.ask(&format!("{mode}.{user}.{with}"), user, &parameters);
            }
        }
    }
    for mode in ["disable", "prefer", "require"] {
        for user in ["tls_only", "plain_only"] {
            for binding in ["require", "disable"] {
                let parameters = format!("sslmode={mode}&channel_binding={binding}");
                comparison.ask(&format!("{mode}.{user}.{binding}"), user, &parameters);
            }
        }
    }
    comparison.assert_same([19, 8, 21]);
}

#[test]
fn a_server_without_tls_is_met_as_psql_does() {
    let (server, home) = (Postgres::start(), TempDir::new());
    for mode in MODES {
        let url = url(&server, "postgres", &format!("sslmode={mode}"));
        let ours = Run::portero()
            .args(["healthcheck", "--timeout", "20s", "URL"])
            .env("URL", &url)
            .env("HOME", home.path())
            .finish();
        let theirs = psql(&url, &home);
        assert_eq!(
            ours.ended == Ended::Code(0),
            theirs.ended == Ended::Code(0),
            "{mode}{ours}{theirs}"
        );
    }
}

#[test]
fn files_in_the_home_directory_are_used_as_libpq_uses_them() {
    let tls = TlsServer::start();
    let directory = tls.home.join(".postgresql");
    fs::create_dir(&directory).unwrap();
    for (from, to) in [
        ("root.crt", "root.crt"),
        ("client.crt", "postgresql.crt"),
        ("client.key", "postgresql.key"),
    ] {
        fs::copy(tls.files.join(from), directory.join(to)).unwrap();
    }
    let mut comparison = Comparison::new(&tls);
    for mode in MODES {
        comparison.ask(mode, "with_cert", &format!("sslmode={mode}"));
    }
    comparison.assert_same([5, 0, 1]);
}

#[test]
fn what_is_wrong_with_tls_is_said_with_the_remedy() {
    let tls = TlsServer::start();
    let plain = Postgres::start();
    let root = format!("sslrootcert={}", tls.file("root.crt"));
    let stranger = format!("sslrootcert={}", tls.file("stranger.crt"));
    let verify = |root: &str| tls.url("postgres", &format!("sslmode=verify-full&{root}"));
    // Which certificate, the URL, the exit code, and what is said.
    let table = [
        ("chain", verify(&root), 0, "is ready after"),
        (
            "chain",
            verify(&stranger),
            125,
            "certificate refused: no trusted root has signed it",
        ),
        (
            "self-signed",
            verify(&root),
            125,
            "certificate refused: no trusted root has signed it",
        ),
        (
            "other-name",
            verify(&root),
            125,
            "certificate refused: it is not for this host",
        ),
        (
            "expired",
            verify(&root),
            125,
            "certificate refused: it has expired",
        ),
        (
            "chain",
            tls.url("tls_only", "sslmode=disable"),
            125,
            "no encryption (28000)",
        ),
        (
            "chain",
            tls.url("plain_only", "sslmode=require"),
            125,
            "SSL encryption (28000)",
        ),
        (
            "chain",
            tls.url("with_cert", "sslmode=require"),
            125,
            "connection requires a valid client certificate (28000)",
        ),
        (
            "chain",
            url(&plain, "postgres", "sslmode=require"),
            125,
            "server does not support TLS",
        ),
        (
            "chain",
            tls.url("postgres", "sslmode=disable&channel_binding=require"),
            125,
            "channel binding",
        ),
        (
            "chain",
            tls.url("postgres", "sslmode=require&sslnegotiation=direct"),
            124,
            "sslnegotiation=direct",
        ),
        (
            "chain",
            tls.url(
                "postgres",
                "sslmode=require&sslrootcert=/nonexistent/ca.crt",
            ),
            125,
            "can't read /nonexistent/ca.crt: no such file or directory (ENOENT)",
        ),
        (
            "chain",
            tls.url("postgres", "sslmode=require&sslcert=/nonexistent/me.crt"),
            125,
            "can't read /nonexistent/me.crt",
        ),
    ];
    for certificate in ["chain", "self-signed", "other-name", "expired"] {
        tls.show(certificate);
        thread::scope(|scope| {
            for (_, url, code, words) in table.iter().filter(|row| row.0 == certificate) {
                scope.spawn(|| {
                    let run = Run::portero().args(["wait", "--wait-timeout", "3s", "URL"]);
                    let finished = tls.run(run, url);
                    finished
                        .assert_exit(*code)
                        .assert_stderr_contains(words)
                        .assert_never_says(PASSWORD);
                });
            }
        });
    }
}

#[test]
fn the_roots_of_the_system_are_trusted_by_name_and_by_default() {
    let tls = TlsServer::start();
    for parameters in [
        "sslrootcert=system",
        "sslmode=verify-full",
        "sslmode=verify-ca",
    ] {
        for (roots, code) in [("root.crt", 0), ("stranger.crt", 1)] {
            let url = tls.url("postgres", parameters);
            let run = Run::portero()
                .args(["healthcheck", "--timeout", "20s", "URL"])
                .env("SSL_CERT_FILE", tls.files.join(roots));
            tls.run(run, &url).assert_exit(code);
        }
    }
}

/// Ends TLS, which has to come first and with libpq's ALPN, in front of a server that knows nothing of it.
fn direct_tls(data: &Path, server: u16) -> Server {
    let chain = CertificateDer::pem_file_iter(data.join("chain.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(data.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let config = Arc::new(config);
    Server::start(move |mut client| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        while tls.is_handshaking() {
            if tls.complete_io(&mut client).is_err() {
                return;
            }
        }
        if tls.alpn_protocol() == Some(b"postgresql") {
            let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            client.set_nonblocking(true).unwrap();
            server.set_nonblocking(true).unwrap();
            let mut client = rustls::StreamOwned::new(tls, client);
            while pass(&mut client, &mut server) && pass(&mut server, &mut client) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    })
}

/// Hands on what there is to read; false at the end.
fn pass(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut buffer = [0; 4096];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) => to.write_all(&buffer[..count]).is_ok() && to.flush().is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

#[test]
fn direct_negotiation_speaks_tls_from_the_first_byte_with_alpn() {
    let (files, home, server) = (TempDir::new(), TempDir::new(), Postgres::start());
    let data = server.socket_directory().join("data");
    certificates(&data, &files);
    let proxy = direct_tls(&data, server.port());
    for (negotiation, code) in [("direct", 0), ("postgres", 1)] {
        let url = format!(
            "postgres://postgres:{PASSWORD}@localhost:{}/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={}&sslnegotiation={negotiation}",
            proxy.port(),
            files.join("root.crt").display()
        );
        Run::portero()
            .args(["healthcheck", "--timeout", "20s", "URL"])
            .env("URL", url)
            .env("HOME", home.path())
            .finish()
            .assert_exit(code)
            .assert_never_says(PASSWORD);
    }
}
