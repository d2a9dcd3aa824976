mod libpq;
mod properties;

use super::*;
use crate::net::tls::settings::TrustedRoots;

fn parse(text: &str, env: &[(&str, &str)]) -> Result<PostgresUrl, String> {
    PostgresUrl::parse(text, &env.iter().copied().collect())
}

/// A line of `urls.txt`: a URL, what it is shown as, its password, its `sslmode` and the environment.
struct Row {
    url: String,
    shown: String,
    password: Option<String>,
    mode: SslMode,
    env: Vec<(String, String)>,
}

/// The forms of URLs that real applications have.
fn rows() -> Vec<Row> {
    let lines = include_str!("tests/urls.txt").lines();
    let mut rows = Vec::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let columns: Vec<&str> = line.split("  ").filter(|text| !text.is_empty()).collect();
        let [url, shown, password, rest @ ..] = columns.as_slice() else {
            panic!("a line of urls.txt lacks a column: {line}");
        };
        let (mode, env) = match rest {
            [mode, env @ ..] if !mode.contains('=') => (mode_of(mode), env),
            env => (SslMode::Prefer, env),
        };
        let env = env.iter().flat_map(|list| list.split(' '));
        rows.push(Row {
            url: (*url).into(),
            shown: (*shown).into(),
            password: (*password != "-").then(|| (*password).into()),
            mode,
            env: env
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        });
    }
    rows
}

fn mode_of(word: &str) -> SslMode {
    match word {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "require" => SslMode::Require,
        "no-verify" => SslMode::RequireUnverified,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => panic!("no sslmode: {word}"),
    }
}

#[test]
fn urls_of_real_applications_are_understood() {
    for row in rows() {
        match PostgresUrl::parse(&row.url, &row.env.iter().cloned().collect()) {
            Ok(url) => {
                assert_eq!(url.to_string(), row.shown, "{}", row.url);
                assert_eq!(url.password, row.password, "{}", row.url);
                assert_eq!(url.tls.mode, row.mode, "{}", row.url);
            }
            Err(error) => panic!("{}: {error}", row.url),
        }
    }
}

#[test]
fn tls_settings_come_from_the_environment_too() {
    let env = [("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", "/ca.pem")];
    let url = parse("postgres://", &env).map(|url| url.tls);
    assert!(url.is_ok_and(|tls| tls.mode == SslMode::VerifyCa
        && tls.roots == Some(TrustedRoots::File("/ca.pem".into()))));
}

#[test]
fn sslmode_is_libpqs_and_its_dialects() {
    let table = [
        ("", SslMode::Prefer),
        ("sslmode=disable", SslMode::Disable),
        ("sslmode=allow", SslMode::Allow),
        ("sslmode=prefer", SslMode::Prefer),
        ("sslmode=require", SslMode::Require),
        ("sslmode=verify-ca", SslMode::VerifyCa),
        ("sslmode=verify-full", SslMode::VerifyFull),
        ("sslmode=no-verify", SslMode::RequireUnverified),
        ("ssl=true", SslMode::Require),
        ("ssl=false", SslMode::Disable),
        ("ssl=verify-full", SslMode::VerifyFull),
        ("sslrootcert=system", SslMode::VerifyFull),
        (
            "sslrootcert=system&sslmode=verify-full",
            SslMode::VerifyFull,
        ),
    ];
    for (query, mode) in table {
        let url = parse(&format!("postgres://app@db/shop?{query}"), &[]);
        assert_eq!(url.map(|url| url.tls.mode), Ok(mode), "{query}");
    }
}

/// libpq 16 and later (its fe-connect.c): "weak sslmode may not be used with sslrootcert=system".
#[test]
fn the_roots_of_the_system_go_with_no_weaker_mode() {
    let weak = [
        "disable",
        "allow",
        "prefer",
        "require",
        "verify-ca",
        "no-verify",
    ];
    for mode in weak {
        let query = format!("sslmode={mode}&sslrootcert=system");
        let in_url = parse(&format!("postgres://app@db/shop?{query}"), &[]);
        let variables = [("PGSSLMODE", mode), ("PGSSLROOTCERT", "system")];
        let in_variables = parse("postgres://app@db/shop", &variables);
        for url in [in_url, in_variables] {
            let error = url.map(|url| url.tls.mode).unwrap_err();
            let words = format!("sslmode={mode} is too weak for sslrootcert=system");
            assert!(
                error.starts_with(&words) && error.ends_with("sslmode=verify-full"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_connect_timeout_of_any_length_ends_within_the_clocks_range() {
    for (text, seconds) in [("5", 5), ("9223372036854775807", 2_147_483_647)] {
        let url = format!("postgres://db/shop?connect_timeout={text}");
        let limit = parse(&url, &[]).unwrap().connect_timeout.unwrap();
        assert_eq!(limit.as_secs(), seconds);
        assert!(std::time::Instant::now().checked_add(limit).is_some());
    }
}

#[test]
fn what_cannot_be_understood_is_an_error_without_the_password() {
    let table = [
        "",
        "hunter2",
        "hunter2:x",
        "mysql://app:hunter2@db/shop",
        "prisma://app:hunter2@db/shop",
        "prisma+postgres://app:hunter2@db/shop",
        "postgres:app:hunter2@db",
        "postgres://app:hunter2@db:port/shop",
        "postgres://app:hunter2@db:0/shop",
        "postgres://app:hunter2@db:65536/shop",
        "postgres://app:hunter2@db:+5/shop",
        "postgres://app:hunter2@::1/shop",
        "postgres://app:hunter2@[::1/shop",
        "postgres://app:hunter2@[::1]x/shop",
        "postgres://app:hunter2@d b/shop",
        "postgres://app:hunter2%00@db/shop",
        "postgres://app:hunter2%ff@db/shop",
        "postgres://app:hunter2",
        "postgres://app:hunter2/x",
        "postgres://app:hunter2@a,b,c/shop?port=1,2",
        "postgres://app:hunter2@a,b/shop?hostaddr=10.0.0.1",
        "postgres://app:hunter2@a/shop?hostaddr=hunter2",
        "postgres://app:hunter2@a/shop?port=hunter2",
        "postgres://app:hunter2@a/shop?sslmode=hunter2",
        "postgres://app:hunter2@a/shop?channel_binding=hunter2",
        "postgres://app:hunter2@a/shop?target_session_attrs=hunter2",
        "postgres://app:hunter2@a/shop?sslnegotiation=direct",
        "host=db password='hunter2",
        "host=db hunter2 user=app",
        "host=db =hunter2",
        "host=db port=hunter2",
        "host=db password=hunter2 sslmode=hunter2",
        "Host=db;Port=hunter2",
        "Host=db;Password=hunter2;SSL Mode=hunter2",
        "Server=tcp:db,1433;Database=shop;User Id=app;Password=hunter2",
        "Server=db;Port=3306;Database=shop;Uid=app;Pwd=hunter2",
        "Driver={ODBC Driver 18 for SQL Server};Server=db;Database=shop;Uid=app;Pwd=hunter2",
    ];
    for text in table {
        match parse(text, &[]) {
            Ok(url) => panic!("{text} became {url}"),
            Err(error) => assert!(
                !error.contains("hunter2") && !error.contains('\n'),
                "{text}: {error}"
            ),
        }
    }
}

#[test]
fn no_form_of_a_url_shows_its_password() {
    for text in [
        "postgres://app:hunter2@db/shop",
        "postgres://app:hunter2/x@db/shop",
        "postgres://app:hunter2@x@db/shop",
        "postgres://app:hunter2?x@db/shop",
        "postgres://app@db/shop?password=hunter2",
        "postgres://app:hunter2@[::1]/shop?application_name=hunter2",
        "jdbc:postgresql://db/shop?user=app&password=hunter2",
    ] {
        let url = parse(text, &[("PGPASSWORD", "hunter2")]);
        let shown = format!(
            "{url:?} {}",
            url.as_ref().map(ToString::to_string).unwrap_or_default()
        );
        assert!(url.is_ok() && !shown.contains("hunter2"), "{text}: {shown}");
    }
}

#[test]
fn a_long_value_takes_no_longer_than_its_length() {
    let started = std::time::Instant::now();
    for piece in [
        "@", "?", "/", ":", "%", "%4", "&", "=", ",", "[", "a=", "?a", "@a/?b", "&host=a,",
        "@[::1]:5",
    ] {
        let long = piece.repeat(100_000 / piece.len());
        let _ = parse(&format!("postgres://{long}"), &[]);
        let _ = parse(&format!("postgres://app:{long}@db/shop?x={long}"), &[]);
    }
    // Thirty times a hundred kilobytes: hours, were it quadratic.
    assert!(
        started.elapsed().as_secs() < 60,
        "took {:?}",
        started.elapsed()
    );
}

#[test]
fn an_error_says_where_the_parameter_stands_that_it_is_about() {
    let table = [
        (
            "postgres://db/d?sslmode=x",
            "",
            "sslmode in the database URL",
        ),
        ("host=db sslmode=x", "", "sslmode in the database URL"),
        ("postgres://db/d", "PGSSLMODE", "PGSSLMODE"),
        ("postgres://db/d", "PGCHANNELBINDING", "PGCHANNELBINDING"),
    ];
    for (text, variable, place) in table {
        let error = parse(text, &[(variable, "x")]).err().unwrap_or_default();
        assert!(
            error.starts_with(&format!("{place} must be disable, ")),
            "{error}"
        );
    }
}

#[test]
fn drivers_words_for_which_server_are_libpqs() {
    let table = [
        (
            "jdbc:postgresql://a,b/x?targetServerType=primary",
            SessionAttributes::Primary,
        ),
        (
            "jdbc:postgresql://a,b/x?targetServerType=master",
            SessionAttributes::Primary,
        ),
        (
            "jdbc:postgresql://a,b/x?targetServerType=slave",
            SessionAttributes::Standby,
        ),
        (
            "jdbc:postgresql://a,b/x?targetServerType=preferSecondary",
            SessionAttributes::PreferStandby,
        ),
        (
            "jdbc:postgresql://a,b/x?targetServerType=preferPrimary",
            SessionAttributes::Any,
        ),
        (
            "Host=a,b;Target Session Attributes=ReadOnly",
            SessionAttributes::ReadOnly,
        ),
        (
            "Host=a,b;Target Session Attributes=PreferStandby",
            SessionAttributes::PreferStandby,
        ),
    ];
    for (text, wanted) in table {
        assert_eq!(
            parse(text, &[]).map(|url| url.session_attributes),
            Ok(wanted),
            "{text}"
        );
    }
}

#[test]
fn the_certificate_of_prismas_urls_is_the_servers_and_verified_where_prisma_does() {
    let base = "postgresql://app@db/shop?sslmode=require&sslcert=/ca.pem";
    let tls = |query: &str| {
        parse(&format!("{base}{query}"), &[]).map(|url| (url.tls.roots, url.tls.certificate))
    };
    let (root, own) = (
        TrustedRoots::File("/ca.pem".into()),
        PathBuf::from("/ca.pem"),
    );
    assert_eq!(tls("&sslaccept=strict"), Ok((Some(root), None)));
    assert_eq!(tls("&sslaccept=accept_invalid_certs"), Ok((None, None)));
    assert_eq!(tls(""), Ok((None, Some(own))));
}
