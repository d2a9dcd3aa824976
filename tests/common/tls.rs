//! A PostgreSQL server with TLS, with certificates of every kind, and `psql` as the reference of what clients do.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::unistd::User;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection,
    SignatureScheme,
};

use super::postgres::{PASSWORD, Postgres, programs};
use super::{DEADLINE, Finished, Run, Server, TempDir, poll_until};

/// A server with TLS that can change its certificate, and what clients need.
pub struct TlsServer {
    pub server: Postgres,
    /// Roots and client certificates.
    pub files: TempDir,
    /// A home directory without any file of libpq's.
    pub home: TempDir,
}

impl TlsServer {
    pub fn start() -> Self {
        let mut server = Postgres::options()
            // It shows what clients may refuse: keys and signatures that are weak.
            .openssl("CipherString = DEFAULT@SECLEVEL=0")
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
    pub fn show(&self, certificate: &str) {
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

    pub fn url(&self, user: &str, parameters: &str) -> String {
        url(&self.server, user, parameters)
    }

    pub fn file(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }

    /// `portero healthcheck`: one try.
    pub fn portero(&self, url: &str) -> Finished {
        self.run(
            Run::portero().args(["healthcheck", "--timeout", "20s", "URL"]),
            url,
        )
    }

    pub fn psql(&self, url: &str) -> Finished {
        psql(url, &self.home)
    }

    pub fn run(&self, run: Run, url: &str) -> Finished {
        run.env("URL", url).env("HOME", self.home.path()).finish()
    }

    /// How the server logged the login of a session with this name: with TLS or without; None when there was none.
    pub fn used_tls(&self, name: &str) -> Option<bool> {
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
pub fn url(server: &Postgres, user: &str, parameters: &str) -> String {
    format!(
        "postgres://{user}:{PASSWORD}@localhost:{}/postgres?hostaddr=127.0.0.1&{parameters}",
        server.port()
    )
}

pub fn psql(url: &str, home: &TempDir) -> Finished {
    Run::program(programs().join("psql"))
        .args(["-X", "-w", "-A", "-t", "-c", "SELECT 1", url])
        .env("HOME", home.path())
        .finish()
}

/// Two authorities of which one signed the other, the server's certificates and a client's.
pub fn certificates(data: &Path, files: &TempDir) {
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

/// Ends TLS, which has to come first and with libpq's ALPN, in front of a server that knows nothing of it.
pub fn direct_tls(data: &Path, server: u16) -> Server {
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
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            client.set_nonblocking(true).unwrap();
            server.set_nonblocking(true).unwrap();
            relay(rustls::StreamOwned::new(tls, client), server);
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

/// A man in the middle: shows the server's own certificate, signs with a key of his own, and hands everything on to the
/// server, by TLS what came by TLS. That binds the channel: the certificate is the same on either side of him.
pub fn impersonator(data: &Path, server: u16) -> Server {
    let chain = CertificateDer::pem_file_iter(data.join("chain.crt")).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    let own = KeyPair::generate().unwrap().serialize_der();
    let own = rustls::crypto::ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(own.into()));
    let shown = CertifiedKey::new(chain, own.unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let towards_client = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let towards_server = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    let (towards_client, towards_server) = (Arc::new(towards_client), Arc::new(towards_server));
    Server::start(move |mut client| {
        let mut first = [0; 8];
        let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        if client.read_exact(&mut first).is_err() || server.write_all(&first).is_err() {
            return;
        }
        if first != SSL_REQUEST {
            client.set_nonblocking(true).unwrap();
            server.set_nonblocking(true).unwrap();
            return relay(client, server);
        }
        if server.read_exact(&mut first[..1]).is_err() || client.write_all(&first[..1]).is_err() {
            return;
        }
        let mut tls = ServerConnection::new(Arc::clone(&towards_client)).unwrap();
        while tls.is_handshaking() {
            if tls.complete_io(&mut client).is_err() {
                return;
            }
        }
        let name = ServerName::try_from("localhost").unwrap();
        let mut onwards = ClientConnection::new(Arc::clone(&towards_server), name).unwrap();
        while onwards.is_handshaking() {
            onwards.complete_io(&mut server).unwrap();
        }
        client.set_nonblocking(true).unwrap();
        server.set_nonblocking(true).unwrap();
        let client = rustls::StreamOwned::new(tls, client);
        relay(client, rustls::StreamOwned::new(onwards, server));
    })
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Hands on in both directions until either side ends.
fn relay(mut client: impl Read + Write, mut server: impl Read + Write) {
    while pass(&mut client, &mut server) && pass(&mut server, &mut client) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Believes everybody.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::ring::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
