//! TLS to a real PostgreSQL server: every `sslmode` with every kind of certificate, server and root, beside what
//! `psql`, which is libpq, does with the very same URL (PostgreSQL manual, 34.19 "SSL Support").

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::fs;
use std::thread;

use common::postgres::{PASSWORD, Postgres};
use common::tls::{TlsServer, certificates, direct_tls, impersonator, psql, url};
use common::{Ended, Run, TempDir, rows, side_by_side};

const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

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
    // Which certificate, the user, the parameters, the exit code, and what is said.
    let table = "
        chain        postgres  sslmode=verify-full&sslrootcert=ROOT      0    is ready after
        chain        postgres  sslmode=verify-full&sslrootcert=STRANGER  125
        => certificate refused: no trusted root has signed it
        self-signed  postgres  sslmode=verify-full&sslrootcert=ROOT      125
        => certificate refused: no trusted root has signed it
        other-name   postgres  sslmode=verify-full&sslrootcert=ROOT  125  certificate refused: it is not for this host
        expired      postgres  sslmode=verify-full&sslrootcert=ROOT      125  certificate refused: it has expired
        chain        tls_only  sslmode=disable       125  no encryption (28000)
        chain        plain_only  sslmode=require     125  SSL encryption (28000)
        chain        with_cert  sslmode=require      125  connection requires a valid client certificate (28000)
        chain        PLAIN     sslmode=require       125  server does not support TLS
        chain        postgres  sslmode=disable&channel_binding=require  125
        => channel_binding=require, and there is no TLS
        chain        postgres  sslmode=require&sslnegotiation=direct    124  sslnegotiation=direct
        chain        postgres  sslmode=require&sslrootcert=/nonexistent/ca.crt  125
        => can't read /nonexistent/ca.crt: no such file or directory (ENOENT)
        chain        postgres  sslmode=require&sslcert=/nonexistent/me.crt      125  can't read /nonexistent/me.crt
    ";
    let parameters = |text: &str| {
        text.replace("ROOT", &tls.file("root.crt"))
            .replace("STRANGER", &tls.file("stranger.crt"))
    };
    for certificate in ["chain", "self-signed", "other-name", "expired"] {
        tls.show(certificate);
        let rows = rows::<5>(table).filter(|row| row[0] == certificate);
        side_by_side(rows, |[_, user, text, code, words]| {
            let url = match user {
                "PLAIN" => url(&plain, "postgres", text),
                user => tls.url(user, &parameters(text)),
            };
            // Each certificate takes its turn; one is enough to see what the limit makes of it.
            if certificate != "chain" {
                let finished = tls.portero(&url);
                finished.assert_exit(1).assert_stderr_contains(words);
                return;
            }
            let run = Run::portero().line("wait --wait-timeout 3s URL");
            let finished = tls.run(run, &url);
            finished
                .assert_exit(code.parse().unwrap())
                .assert_stderr_contains(words)
                .assert_never_says(PASSWORD);
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

#[test]
fn a_certificate_that_is_renewed_late_is_waited_for() {
    let tls = TlsServer::start();
    tls.show("expired");
    let parameters = format!("sslmode=verify-full&sslrootcert={}", tls.file("root.crt"));
    let mut process = Run::portero()
        .args(["wait", "--wait-timeout", "60s", "URL"])
        .env("URL", tls.url("postgres", &parameters))
        .env("HOME", tls.home.path())
        .start();
    process.until_stderr("it has expired, on 2021-01-01");
    tls.show("chain");
    process.exits(0);
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
            .exits(code)
            .assert_never_says(PASSWORD);
    }
}

#[test]
fn a_man_in_the_middle_with_the_genuine_certificate_and_another_key_is_refused_as_by_psql() {
    let tls = TlsServer::start();
    let data = tls.server.socket_directory().join("data");
    let between = impersonator(&data, tls.server.port());
    let root = tls.file("root.crt");
    let (mut different, mut through) = (Vec::new(), Vec::new());
    for mode in MODES {
        for binding in ["disable", "prefer", "require"] {
            let url = format!(
                "postgres://postgres:{PASSWORD}@localhost:{}/postgres?hostaddr=127.0.0.1&sslmode={mode}\
                 &channel_binding={binding}{}",
                between.port(),
                if mode.starts_with("verify") {
                    format!("&sslrootcert={root}")
                } else {
                    String::new()
                }
            );
            let (ours, theirs) = (tls.portero(&url), tls.psql(&url));
            if (ours.ended == Ended::Code(0)) != (theirs.ended == Ended::Code(0)) {
                different.push(format!("{mode} {binding}{ours}{theirs}"));
            }
            if ours.ended == Ended::Code(0) {
                through.push(format!("{mode} {binding}"));
            } else if mode == "require" {
                ours.assert_stderr_contains("does not prove that it has the key");
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    // Where TLS is not insisted on, he needs no certificate at all.
    let open = ["disable", "allow", "prefer"];
    let open = open
        .iter()
        .flat_map(|mode| ["disable", "prefer"].map(|binding| format!("{mode} {binding}")));
    assert_eq!(through, open.collect::<Vec<_>>());
}
