//! What the health check makes of TLS: versions, certificates, and the wrong protocol on either side.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::time::Duration;

use common::server::http_answer;
use common::verdict::{Healthy, Unhealthy, UnhealthyAtTheLimit, assert_said, assert_verdict};
use common::{Process, Run, Server, TempDir, side_by_side, tool};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

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
    // No authority's, and yet it has signed another.
    let mut params = CertificateParams::new(own.clone()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "lone");
    params.is_ca = IsCa::ExplicitNoCa;
    let key = KeyPair::generate().unwrap();
    write("lone", params.self_signed(&key).unwrap().pem(), &key);
    let lone = Issuer::new(params, key);
    let params = CertificateParams::new(own.clone()).unwrap();
    let key = KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, &lone).unwrap().pem();
    write("signed-by-lone", signed, &key);
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
        (
            "-tls1_1 -cipher DEFAULT@SECLEVEL=0",
            Unhealthy("no TLS: it wants another version (portero has 1.2 and 1.3)"),
        ),
        (
            "-tls1_2 -cipher AES128-SHA",
            Unhealthy("no TLS: it has nothing in common with portero"),
        ),
        (
            "-Verify 1",
            Unhealthy("the server wants a client certificate, and none is given"),
        ),
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
        ("lone", "lone", Healthy(" 200 in ")),
        // One that may not sign is trusted as itself alone, whatever it has signed.
        (
            "signed-by-lone",
            "lone",
            Unhealthy("certificate refused: no trusted root has signed it"),
        ),
        (
            "good",
            "self",
            Unhealthy(
                "certificate refused: no trusted root has signed it; give its CA by --ca-cert",
            ),
        ),
        ("self", "ca", Unhealthy("certificate refused: ")),
        (
            "expired",
            "ca",
            Unhealthy("certificate refused: it has expired, on 2020-01-01"),
        ),
        (
            "future",
            "ca",
            Unhealthy("certificate refused: it is not valid yet, but from 2090-01-01 on"),
        ),
        (
            "wrong",
            "ca",
            Unhealthy("certificate refused: it is not for this host"),
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
            // A wait believes nobody, on no address.
            let wait = |options: &[&str]| {
                let run = Run::portero().line("wait --wait-timeout 3s").args(options);
                run.arg(&url).finish()
            };
            wait(&["--insecure"]).assert_exit(0);
            if matches!(verdict, Healthy(_)) {
                wait(&["--ca-cert", &ca]).assert_exit(0);
            }
        }
    }
}

#[test]
fn tls_on_a_plain_port_and_the_other_way_round_are_said() {
    let directory = certificates();
    let (_server, port) = tls_server(&directory, "good", "");
    let url = format!("http://127.0.0.1:{port}/");
    // OpenSSL closes without a word on what looks like HTTP, others send an alert.
    let verdict = Unhealthy("without an answer (with TLS it is https://");
    assert_verdict("http to a TLS port", verdict, &[&url]);
    let alerts = Server::answering([21, 3, 3, 0, 2, 2, 10]);
    let url = format!("http://{}/", alerts.address());
    let verdict = Unhealthy("it speaks TLS on this port: use https://");
    assert_verdict("http to a TLS port", verdict, &[&url]);
    let healthy = Server::http(200, "");
    let url = format!("http://{}/", healthy.address());
    let options = ["--ca-cert", "/nonexistent/ca.pem", &url];
    assert_verdict("http with a CA", Healthy("/ 200 in "), &options);

    let (silent, closing) = (Server::silent(), Server::closing());
    // As servers do: what is no request is answered so, and not read to its end.
    let plain = Server::saying(http_answer(400, ""));
    // A handshake's record, that never comes to its end.
    let record = vec![22, 3, 3, 64, 0, 2];
    let stalls = Server::saying(record.clone());
    let drips =
        Server::dripping_at_once([record, vec![0; 5000]].concat(), Duration::from_millis(5));
    for (what, server, verdict) in [
        (
            "https to a plain port",
            &plain,
            Unhealthy("it does not speak TLS on this port: use http://"),
        ),
        (
            "https to silence",
            &silent,
            UnhealthyAtTheLimit("no answer within "),
        ),
        (
            "a handshake that stalls",
            &stalls,
            UnhealthyAtTheLimit("no answer within "),
        ),
        (
            "a handshake that drips",
            &drips,
            UnhealthyAtTheLimit("no answer within "),
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

#[test]
fn a_wait_believes_no_certificate_that_nobody_vouches_for() {
    let directory = certificates();
    let (_server, port) = tls_server(&directory, "good", "");
    let ca = directory.join("self.crt").display().to_string();
    side_by_side([vec![], vec!["--ca-cert", &ca]], |options| {
        let run = Run::portero().line("wait --wait-timeout 3s").args(options);
        let finished = run.arg(format!("https://127.0.0.1:{port}/")).finish();
        finished
            .assert_exit(125)
            .assert_stderr_contains("certificate refused");
    });
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
        (
            vec![],
            Unhealthy(
                "certificate refused: no trusted root has signed it; give its CA by --ca-cert",
            ),
        ),
        (
            vec!["--ca-cert", "ca.crt"],
            Unhealthy("certificate refused: it is not for this host"),
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

#[test]
fn a_server_is_told_by_an_alert_that_its_certificate_is_refused() {
    let directory = certificates();
    let ca = directory.join("self.crt");
    for options in ["-tls1_2", "-tls1_3"] {
        let (mut server, port) = tls_server(&directory, "good", options);
        let url = format!("https://localhost:{port}/");
        let verdict = Unhealthy("certificate refused");
        assert_verdict(options, verdict, &["--ca-cert", ca.to_str().unwrap(), &url]);
        server.until_stderr("alert unknown ca");
    }
}

#[test]
fn a_short_rsa_key_is_held_to_its_signature_and_is_too_short_for_a_chain() {
    let directory = certificates();
    let made = std::process::Command::new(tool("openssl"))
        .args("req -x509 -newkey rsa:1024 -nodes -keyout short.key -out short.crt -days 30 -subj /CN=localhost".split(' '))
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let ca = directory.join("short.crt");
    for version in ["-tls1_2", "-tls1_3"] {
        let options = format!("{version} -cipher DEFAULT@SECLEVEL=0");
        let (_server, port) = tls_server(&directory, "short", &options);
        let url = format!("https://localhost:{port}/");
        assert_verdict(&options, Healthy(" 200 in "), &[&url]);
        let verdict = Unhealthy("certificate refused: its key is too short (RSA takes 2048 bits)");
        assert_verdict(
            &options,
            verdict,
            &["--ca-cert", ca.to_str().unwrap(), &url],
        );
    }
}
