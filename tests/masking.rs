//! A secret stays hidden whatever escapes, decodes or cuts the text that it stands in, and whoever says it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]

mod common;

use std::io::{Read, Write};

use common::{Finished, Postgres, Run, Server, TempDir, rows, side_by_side};

/// On both sides of what is escaped, so that either half of a secret is noticed.
const MARK: &str = "S3CRET";

/// What an escape, a decoder or a shell makes something else of.
const SPECIAL: [&str; 12] = [
    "\"", "\\", "'", "\t", "\n", "\u{a0}", "\u{1b}", "\u{202e}", "%20", "%22", "?", " ",
];

#[test]
fn a_secret_is_masked_however_it_is_escaped() {
    let (server, directory) = (Postgres::start(), TempDir::new());
    let table = "
        --no-lock --wait-timeout 300ms --migrate true --database 'BASE/${S}'
        --migrate true --wait-timeout 300ms --database 'BASE/${S}'
        --migrate true --wait-timeout 300ms --database 'postgres://${S}:x@127.0.0.1:PORT/x'
        --wait-timeout 300ms --wait 'redis://${S}:1'
        --wait-timeout 300ms --wait 'tcp://${S}:1'
        --wait-timeout 300ms --wait 'http://127.0.0.1:1/hook/${S}'
        --wait-timeout 300ms --wait 'http://${S}/hook'
        --wait-timeout 300ms --wait 'file:///${S}'
        --no-lock --migrate true --migrate-table '${S}' --migrate-once 1
        --no-lock --migrate true --migrate-once '${S}'
        --user '${S}'
        --keep-cap '${S}'
        --lock-name '${S}' --migrate true --wait-timeout 300ms --database 'postgres://postgres:x@127.0.0.1:1/x'
    ";
    let cases = SPECIAL.into_iter().enumerate();
    side_by_side(cases, |(number, special)| {
        let secret = format!("{MARK}{special}{MARK}");
        let file = directory.file(&number.to_string(), &secret);
        for [options] in rows(table) {
            let options = options.replace("PORT", &server.port().to_string());
            let options = options.replace("BASE", server.url("").trim_end_matches('/'));
            for output in ["-v", "--log-format json", "--dry-run"] {
                Run::portero()
                    .env("S_FILE", &file)
                    .line("--secret S")
                    .line(output)
                    .line(&options)
                    .line("-- true")
                    .finish()
                    .assert_never_says(MARK);
            }
        }
    });
}

/// A server that says this once it is asked.
fn saying(answer: String) -> Server {
    Server::start(move |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.read(&mut [0; 1024]);
    })
}

/// What each kind of server answers, and a URL that asks it.
fn answers(words: &str) -> Vec<(String, &'static str)> {
    let fields = format!("SFATAL\0C28000\0M{words}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    let length = String::from_utf8(length.to_be_bytes().to_vec());
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: /{words}\r\nContent-Length: 0\r\n\r\n");
    let mut answers = vec![
        (redirect, "http://u:PASS@HOST/?t=${S}"),
        (format!("-OOPS {words}\r\n"), "redis://HOST/?t=${S}"),
        (
            format!("+OK\r\n-OOPS {words}\r\n"),
            "redis://:PASS@HOST/?t=${S}",
        ),
        (
            format!("HTTP/1.1 400 {words}\r\n\r\n"),
            "postgres://u:PASS@HOST/d?sslmode=disable&application_name=${S}",
        ),
        (
            format!("E{words}\n\0"),
            "postgres://u:PASS@HOST/d?sslmode=disable&application_name=${S}",
        ),
    ];
    // Longer ones have bytes in their length that are no text.
    if let Ok(length) = length {
        answers.push((
            format!("E{length}{fields}"),
            "postgres://u:PASS@HOST/d?sslmode=disable&application_name=${S}",
        ));
    }
    answers
}

/// Both commands that quote what a server says.
fn ask(url: &str, secret: &str) -> [Finished; 2] {
    [
        "wait --wait-timeout 300ms",
        "healthcheck --timeout 5s --status 200",
    ]
    .map(|line| {
        let run = Run::portero().env("S", secret).line(line);
        run.line("-v --secret S").arg(url).finish()
    })
}

#[test]
fn a_secret_is_masked_before_what_a_server_says_is_cut() {
    let secret = MARK.repeat(4);
    let lengths = (32..=112).chain(272..=312).step_by(8);
    side_by_side(lengths, |length| {
        let words = format!("{}{secret}", "x".repeat(length));
        for (answer, url) in answers(&words) {
            let server = saying(answer);
            let url = url.replace("HOST", &server.address().to_string());
            for finished in ask(&url.replace("PASS", "hunter2"), &secret) {
                finished.assert_never_says(MARK);
            }
        }
    });
}

#[test]
fn a_server_that_quotes_the_urls_password_is_not_quoted() {
    let table = r#"
        hunter2-2                hunter2-2
        hunter2%22%5C2           hunter2"\2
        hunter2%22%5C2           hunter2\"\\2
        hunter2%092              hunter2\t2
        hunter2%2F2              hunter2%2F2
        hunter2hunter2hunter2-2  hunter2hunter2hunter2-2
    "#;
    side_by_side(rows(table), |[password, echo]| {
        for length in [0, 30, 60] {
            let words = format!("bad {}{echo} for you", "x".repeat(length));
            for (answer, url) in answers(&words)
                .into_iter()
                .filter(|(_, url)| url.contains("PASS"))
            {
                let is_quoted = length == 0 && !url.starts_with("postgres");
                let server = saying(answer);
                let url = url.replace("HOST", &server.address().to_string());
                let [waited, asked] = ask(&url.replace("PASS", password), "none-at-all");
                waited.assert_never_says("hunter2");
                asked.assert_never_says("hunter2");
                if is_quoted {
                    let said = format!("{}{}", asked.stdout, asked.stderr);
                    assert!(!said.contains("bad") || said.contains("***"), "{asked}");
                }
            }
        }
    });
}

#[test]
fn a_password_that_is_a_word_of_the_log_does_not_mangle_it() {
    for password in ["portero", "waiting", "password", "ready", "shop", "refused"] {
        let server = saying("-OOPS no password\r\n".to_owned());
        let port = server.port();
        let url = format!("redis://:{password}@127.0.0.1:{port}");
        let [waited, _] = ask(&url, "none-at-all");
        waited.assert_stderr_contains(&format!("portero: waiting for redis://127.0.0.1:{port}"));
        waited.assert_stderr_contains("refuses the login (OOPS)");
    }
}

#[test]
fn what_nobody_sees_in_a_user_or_a_group_is_shown_by_its_number() {
    for (unseen, number) in [
        ("\u{feff}", "feff"),
        ("\u{202e}", "202e"),
        ("\u{2028}", "2028"),
    ] {
        for spec in [format!("{unseen}app"), format!("1000:{unseen}app")] {
            let finished = Run::portero()
                .args(["--user", &spec, "--", "true"])
                .finish();
            finished
                .assert_exit(125)
                .assert_one_error_line()
                .assert_never_says(unseen);
            finished.assert_stderr_contains(&format!("\\u{{{number}}}app"));
        }
    }
}

#[test]
fn a_path_that_is_too_long_is_called_so() {
    let path = format!("/{}", "x".repeat(100_000));
    let finished = Run::portero()
        .args(["healthcheck", "--port", "1", "--path", &path])
        .finish();
    finished.assert_exit(1);
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert!(said.contains("has more than the 65000 bytes"), "{finished}");
}
