use std::fs;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, Error};

use super::*;

fn settings(mode: SslMode, file: &str) -> TlsSettings {
    let roots = Some(TrustedRoots::File(file.into()));
    TlsSettings {
        mode,
        roots,
        certificate: None,
        key: None,
        versions: VERSIONS,
        sni: true,
        may_identify: true,
        direct: false,
        home: None,
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_errno() {
    for mode in [
        SslMode::Prefer,
        SslMode::Require,
        SslMode::VerifyCa,
        SslMode::VerifyFull,
    ] {
        let missing = settings(mode, "/nonexistent/ca.pem")
            .client_config()
            .err()
            .unwrap_or_default();
        assert_eq!(
            missing, "can't read /nonexistent/ca.pem: no such file or directory (ENOENT)",
            "{mode:?}"
        );
        let empty = settings(mode, "/dev/null")
            .client_config()
            .err()
            .unwrap_or_default();
        assert_eq!(
            empty, "can't read /dev/null: it is not a regular file",
            "{mode:?}"
        );
    }
}

#[test]
fn modes_that_never_verify_read_no_roots() {
    assert!(
        settings(SslMode::RequireUnverified, "/nonexistent/ca.pem")
            .client_config()
            .is_ok()
    );
    let ca_cert = Some("/nonexistent/ca.pem".into());
    let insecure = Verification {
        ca_cert,
        insecure: true,
    };
    assert!(client_config(&insecure, &OwnFiles::default(), true).is_ok());
    assert!(
        client_config(
            &Verification {
                insecure: false,
                ..insecure.clone()
            },
            &OwnFiles::default(),
            false
        )
        .is_ok()
    );
    assert!(
        client_config(
            &Verification {
                insecure: false,
                ..insecure
            },
            &OwnFiles::default(),
            true
        )
        .is_err()
    );
}

#[test]
fn explanations_point_to_the_cure() {
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!(
        explain(&unknown, "--ca-cert", ""),
        "certificate refused: no trusted root has signed it; give its CA by --ca-cert"
    );
    let name = Error::InvalidCertificate(CertificateError::NotValidForName);
    assert!(explain(&name, "", "").contains("subjectAltName"));
}

#[test]
fn a_self_signed_certificate_among_the_roots_is_held_to_its_dates_and_its_name() {
    let certificate = |from: i32, to: i32| {
        let mut parameters = rcgen::CertificateParams::new(vec!["db".into()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap()
    };
    let table = [
        (certificate(2020, 2999), "db", true),
        (certificate(2020, 2999), "elsewhere", false),
        (certificate(2020, 2021), "db", false),
        (certificate(2990, 2999), "db", false),
    ];
    for (certificate, name, good) in table {
        let file = std::env::temp_dir().join(format!("portero-root-{}.pem", std::process::id()));
        fs::write(&file, certificate.pem()).unwrap();
        let trust = Trust::load(Some(&TrustedRoots::File(file.clone())), Names::Host).unwrap();
        fs::remove_file(file).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let verdict = trust.verify_server_cert(certificate.der(), &[], &name, &[], UnixTime::now());
        assert_eq!(verdict.is_ok(), good, "{name:?}: {verdict:?}");
    }
}
