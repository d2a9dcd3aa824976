//! Certificates and keys of kinds that libraries do not agree on, the server's and the client's, beside `psql` with the
//! very same URL. Where portero is not as psql is, a line here says why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;
use std::thread;

use common::postgres::PASSWORD;
use common::tls::TlsServer;
use common::{DEADLINE, Ended, Run, TempDir, poll_until, tool};
use nix::unistd::User;

/// `openssl` with these words, in the directory.
fn openssl(directory: &TempDir, words: &str) {
    let output = Command::new(tool("openssl"))
        .args(words.split_whitespace())
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {words}: {said}");
}

/// A root and a middle, and by them `NAME.crt` and `NAME.key` of each kind, for this common name.
fn make(directory: &TempDir, common_name: &str) {
    directory.file("ca", "basicConstraints=critical,CA:TRUE\n");
    directory.file(
        "named",
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n",
    );
    directory.file("plain", "basicConstraints=CA:FALSE\n");
    directory.file(
        "linked",
        "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    );
    let p256 = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
    openssl(
        directory,
        &format!("req -x509 {p256} -nodes -keyout root.key -out root.crt -days 30 -subj /CN=root"),
    );
    // The root's next key, under the same name: signed by the last one, with and without a word of that, and by itself.
    openssl(
        directory,
        &format!("req {p256} -nodes -keyout rolled.key -out rolled.csr -subj /CN=root"),
    );
    for (name, extensions) in [("rolled", "linked"), ("rolled-silent", "ca")] {
        openssl(
            directory,
            &format!(
                "x509 -req -in rolled.csr -CA root.crt -CAkey root.key -days 30 -out {name}.crt -extfile {extensions}"
            ),
        );
    }
    openssl(
        directory,
        "req -x509 -key rolled.key -out rolled-own.crt -days 30 -subj /CN=root",
    );
    let (rsa, short) = ("-newkey rsa:2048", "-newkey rsa:1024");
    for (name, key) in [("rsa-root", rsa), ("short-root", short)] {
        openssl(
            directory,
            &format!(
                "req -x509 {key} -nodes -keyout {name}.key -out {name}.crt -days 30 -subj /CN={name}"
            ),
        );
    }
    let sign = |name: &str, ca: &str, extensions: &str, options: &str| {
        openssl(
            directory,
            &format!(
                "x509 -req -in {name}.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -days 30 -out {name}.crt {extensions} {options}"
            ),
        );
    };
    openssl(
        directory,
        &format!("req {p256} -nodes -keyout middle.key -out middle.csr -subj /CN=middle"),
    );
    sign("middle", "root", "-extfile ca", "");
    for (name, key, ca, extensions, options) in [
        ("v1", p256, "root", "", ""),
        ("cn-only", p256, "root", "-extfile plain", ""),
        ("rsa", rsa, "root", "-extfile named", ""),
        ("short", short, "root", "-extfile named", ""),
        ("by-short", p256, "short-root", "-extfile named", ""),
        ("md5", rsa, "rsa-root", "-extfile named", "-md5"),
        ("sha1", rsa, "root", "-extfile named", "-sha1"),
        ("rsa-sha1", rsa, "rsa-root", "-extfile named", "-sha1"),
        ("rsa-sha224", rsa, "rsa-root", "-extfile named", "-sha224"),
        ("rsa-sha512", rsa, "rsa-root", "-extfile named", "-sha512"),
        ("sha224", rsa, "root", "-extfile named", "-sha224"),
        ("sha512", rsa, "root", "-extfile named", "-sha512"),
        (
            "pss",
            "-newkey rsa-pss -pkeyopt rsa_keygen_bits:2048",
            "root",
            "-extfile named",
            "",
        ),
        (
            "p384",
            "-newkey ec -pkeyopt ec_paramgen_curve:P-384",
            "root",
            "-extfile named",
            "",
        ),
        (
            "p521",
            "-newkey ec -pkeyopt ec_paramgen_curve:P-521",
            "root",
            "-extfile named",
            "",
        ),
        ("ed25519", "-newkey ed25519", "root", "-extfile named", ""),
        ("ed448", "-newkey ed448", "root", "-extfile named", ""),
        ("alone", p256, "middle", "-extfile named", ""),
        ("by-rolled", p256, "rolled", "-extfile named", ""),
    ] {
        openssl(
            directory,
            &format!("req {key} -nodes -keyout {name}.key -out {name}.csr -subj /CN={common_name}"),
        );
        sign(name, ca, extensions, options);
    }
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let copy = |name: &str, certificate: String, key: String| {
        directory.file(&format!("{name}.crt"), &certificate);
        directory.file(&format!("{name}.key"), &key);
    };
    let (alone, key) = (text("alone.crt"), text("alone.key"));
    copy("chain", alone.clone() + &text("middle.crt"), key.clone());
    copy(
        "disorder",
        alone.clone() + &text("root.crt") + &text("middle.crt"),
        key.clone(),
    );
    copy("backwards", text("middle.crt") + &alone, key);
    copy(
        "windows",
        text("rsa.crt").replace('\n', "\r\n"),
        text("rsa.key").replace('\n', "\r\n"),
    );
    directory.file("both.crt", &(text("middle.crt") + &text("root.crt")));
    let all = text("rsa.key") + &text("rsa.crt");
    copy("one-file", all.clone(), all);
    copy(
        "roots",
        text("root.crt") + &text("rsa-root.crt") + &text("short-root.crt"),
        String::new(),
    );
    openssl(
        directory,
        "pkey -in rsa.key -aes256 -passout pass:secret -out encrypted.key",
    );
    directory.file("encrypted.crt", &text("rsa.crt"));
    for entry in fs::read_dir(directory.path()).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Asks both; what they do not agree on, and nothing else, must be in `known`. Each refusal for a certificate's or a
/// key's sake has some of `words`, and TLS that is given up is told.
fn compare(tls: &TlsServer, user: &str, cases: &[(String, String)], known: &[String], words: &str) {
    let mut different = Vec::new();
    let mut report = String::new();
    for (name, parameters) in cases {
        let url = |by: &str| tls.url(user, &format!("{parameters}&application_name={name}.{by}"));
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| tls.psql(&url("psql")));
            (tls.portero(&url("portero")), theirs.join().unwrap())
        });
        let used = |by: &str| tls.used_tls(&format!("{name}.{by}"));
        let verdict = |ended: Ended, by| (ended == Ended::Code(0), used(by));
        if verdict(ours.ended, "portero") != verdict(theirs.ended, "psql") {
            different.push(name.clone());
            report += &format!("{name}{ours}{theirs}\n");
        }
        if used("portero") == Some(false) && parameters.starts_with("sslmode=prefer") {
            // A health check has one line for its verdict.
            let wait = Run::portero().args(["wait", "--wait-timeout", "20s", "URL"]);
            tls.run(wait, &url("portero.again"))
                .assert_exit(0)
                .assert_stderr_contains(
                    "the database is used without TLS, as sslmode=prefer allows: ",
                )
                .assert_stderr_contains(words);
        }
        // Under allow its line is full of what was said without TLS.
        if ours.ended != Ended::Code(0) && !parameters.starts_with("sslmode=allow") {
            assert!(says(&ours.stderr, words), "{name}: {words:?}?{ours}");
        }
        ours.assert_never_says(PASSWORD);
        for raw in "Other UNIX BadSignature HandshakeFailure Unsupported Required".split(' ') {
            assert!(!ours.stderr.contains(raw), "{ours}");
        }
    }
    assert_eq!(different, known, "{report}");
}

/// Whether a health check's line has these words, or as much of them as its length leaves: it lacks its middle then.
fn says(line: &str, words: &str) -> bool {
    let (head, tail) = line.split_once('…').unwrap_or((line, ""));
    let enough = 9;
    let begins = |length: usize| head.ends_with(&words[..length]);
    let ends = |length: usize| tail.starts_with(&words[words.len() - length..]);
    let lengths = || enough..words.len();
    line.contains(words) || lengths().any(begins) || lengths().any(ends)
}

#[test]
fn server_certificates_of_every_kind_are_met_as_psql_does() {
    let tls = TlsServer::start();
    make(&tls.files, "localhost");
    let data = tls.server.socket_directory().join("data");
    let user = User::from_name("postgres").unwrap().unwrap();
    let root = tls.file("roots.crt");
    let mut cases = Vec::new();
    let kinds = [
        "v1",
        "cn-only",
        "rsa",
        "short",
        "by-short",
        "md5",
        "sha1",
        "sha224",
        "sha512",
        "rsa-sha1",
        "rsa-sha224",
        "rsa-sha512",
        "pss",
        "p384",
        "p521",
        "ed25519",
        "ed448",
        "alone",
        "chain",
        "disorder",
        "windows",
        "by-rolled",
    ];
    for kind in kinds {
        for part in ["crt", "key"] {
            let to = data.join(format!("{kind}.{part}"));
            fs::copy(tls.files.join(format!("{kind}.{part}")), &to).unwrap();
            chown(&to, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let set = |name: &str, part: &str| {
            tls.server.psql(
                "postgres",
                &format!("ALTER SYSTEM SET {name} = '{kind}.{part}'"),
            );
        };
        set("ssl_key_file", "key");
        set("ssl_cert_file", "crt");
        tls.server.psql("postgres", "SELECT pg_reload_conf()");
        let shown = poll_until(DEADLINE, || {
            let shown = tls.server.psql("postgres", "SHOW ssl_cert_file");
            (shown == format!("{kind}.crt")).then_some(())
        });
        assert!(shown.is_some(), "{kind}\n{}", tls.server.log());
        cases.clear();
        for (mode, with) in [
            ("disable", ""),
            ("allow", ""),
            ("prefer", ""),
            ("prefer", "&sslrootcert="),
            ("require", ""),
            ("require", "&channel_binding=require"),
            ("verify-ca", "&sslrootcert="),
            ("verify-full", "&sslrootcert="),
        ] {
            let file = if with.ends_with("sslrootcert=") {
                &root
            } else {
                ""
            };
            let name = format!("{kind}.{mode}.{}", with.len());
            cases.push((name, format!("sslmode={mode}{with}{file}")));
        }
        // The middle of a chain is no root, nor is what a root has signed, but they may stand beside one.
        if ["rsa", "alone", "chain", "disorder"].contains(&kind) {
            for trusted in ["middle.crt", "both.crt", &format!("{kind}.crt")] {
                let file = tls.file(trusted);
                let parameters = format!("sslmode=verify-ca&sslrootcert={file}");
                cases.push((format!("{kind}.by.{trusted}"), parameters));
            }
        }
        if kind == "by-rolled" {
            for trusted in ["rolled", "rolled-silent", "rolled-own"] {
                let file = tls.file(&format!("{trusted}.crt"));
                for mode in ["verify-ca", "verify-full"] {
                    let parameters = format!("sslmode={mode}&sslrootcert={file}");
                    cases.push((format!("{kind}.{mode}.{trusted}"), parameters));
                }
            }
        }
        let known: &[&str] = match kind {
            // ring has no P-521 and no Ed448. Under prefer both log in, portero without TLS and with a warning.
            "p521" | "ed448" => &[
                "prefer.0",
                "prefer.13",
                "require.0",
                "require.24",
                "verify-ca.13",
                "verify-full.13",
            ],
            // In a chain webpki takes ECDSA with SHA-256 and SHA-384 alone, and no SHA-224.
            "sha224" | "sha512" | "rsa-sha224" => &["prefer.13", "verify-ca.13", "verify-full.13"],
            _ => &[],
        };
        let words = match kind {
            "p521" | "ed448" => "nothing in common with portero",
            "short" => "its key is too short (RSA takes 2048 bits)",
            "by-short" => "by a key under 2048 bits",
            "md5" | "sha1" | "rsa-sha1" | "sha224" | "rsa-sha224" | "sha512" => {
                "it is signed by an algorithm that portero does not take (SHA-1, SHA-224, ECDSA with SHA-512"
            }
            _ => "",
        };
        let known: Vec<_> = known.iter().map(|case| format!("{kind}.{case}")).collect();
        compare(&tls, "postgres", &cases, &known, words);
    }
}

#[test]
fn client_certificates_of_every_kind_are_sent_as_psql_does() {
    let tls = TlsServer::start();
    let own = TempDir::new();
    make(&own, "with_cert");
    let data = tls.server.socket_directory().join("data");
    fs::copy(own.join("roots.crt"), data.join("root.crt")).unwrap();
    tls.server.psql("postgres", "SELECT pg_reload_conf()");
    let file = |kind: &str, part: &str| own.join(format!("{kind}.{part}")).display().to_string();
    let probe = format!(
        "sslmode=require&sslcert={}&sslkey={}",
        file("rsa", "crt"),
        file("rsa", "key")
    );
    let known = poll_until(DEADLINE, || {
        let finished = tls.psql(&tls.url("with_cert", &probe));
        (finished.ended == Ended::Code(0)).then_some(())
    });
    assert!(known.is_some(), "{}", tls.server.log());
    let cannot_sign = "has a key that portero can't sign with";
    let refused = "the server refuses the client certificate, or misses it (sslcert and sslkey)";
    // What is wrong with each, and whether psql takes it where portero does not, or the other way round.
    for (kind, words, differs) in [
        ("v1", "", false),
        ("cn-only", "", false),
        ("rsa", "", false),
        ("short", cannot_sign, false),
        ("by-short", "", false),
        // OpenSSL's second level sends no such signature; what portero sends, the server judges.
        ("md5", "", true),
        ("sha1", "", true),
        ("rsa-sha1", "", true),
        ("rsa-sha224", "", false),
        ("rsa-sha512", "", false),
        ("sha224", "", false),
        // ring signs with none of these.
        ("pss", cannot_sign, true),
        ("p521", cannot_sign, true),
        ("ed448", cannot_sign, true),
        ("p384", "", false),
        ("ed25519", "", false),
        ("alone", refused, false),
        ("chain", "", false),
        ("disorder", "", false),
        ("backwards", "do not go together", false),
        ("windows", "", false),
        ("one-file", "", false),
        (
            "encrypted",
            "is encrypted, and portero reads no such key (sslpassword)",
            true,
        ),
    ] {
        let sent = format!(
            "sslcert={}&sslkey={}&sslpassword=secret&sslrootcert={}",
            file(kind, "crt"),
            file(kind, "key"),
            tls.file("root.crt")
        );
        let modes = ["allow", "prefer", "require", "verify-ca", "verify-full"];
        let case = |mode: &str| (format!("{kind}.{mode}"), format!("sslmode={mode}&{sent}"));
        let known = modes.map(|mode| format!("{kind}.{mode}"));
        let known = if differs { &known[..] } else { &[] };
        compare(&tls, "with_cert", &modes.map(case), known, words);
        let without = [case("disable")];
        compare(
            &tls,
            "with_cert",
            &without,
            &[],
            "pg_hba.conf rejects connection",
        );
    }
}
