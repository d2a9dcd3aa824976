use super::*;

fn parse(text: &str, env: &[(&str, &str)]) -> Result<PostgresUrl, String> {
    PostgresUrl::parse(text, &env.iter().copied().collect())
}

/// What a URL comes to: its `Display`, and the password.
fn check(text: &str, env: &[(&str, &str)], shown: &str, password: Option<&str>) {
    match parse(text, env) {
        Ok(url) => {
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(url.password.as_deref(), password, "{text}");
        }
        Err(error) => panic!("{text}: {error}"),
    }
}

/// A URL, what it is shown as, and its password.
const REAL_WORLD: &[(&str, &str, Option<&str>)] = &[
    // Plain, and the schemes of drivers and frameworks.
    (
        "postgres://app:pw@db:5432/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgresql://app:pw@db/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "POSTGRES://app:pw@db/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgresql+asyncpg://app:pw@db/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgresql+psycopg2://app:pw@db/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgresql+psycopg://app:pw@db/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgresql+pg8000://app:pw@db/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgis://app:pw@db/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "psql://app:pw@db/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "pgsql://app:pw@db/shop",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "cockroachdb://root@db:26257/shop",
        "postgres://root@db:26257/shop",
        None,
    ),
    (
        "jdbc:postgresql://db:5433/shop?user=app&password=pw",
        "postgres://app@db:5433/shop",
        Some("pw"),
    ),
    (
        "jdbc:postgresql:/shop?user=app",
        "postgres://app@/shop",
        None,
    ),
    // Parts left out.
    ("postgres://db", "postgres://db:5432", None),
    ("postgres://db/", "postgres://db:5432", None),
    ("postgres://app@db", "postgres://app@db:5432", None),
    ("postgres://app@/shop", "postgres://app@/shop", None),
    ("postgres:///shop", "postgres:///shop", None),
    ("postgres://", "postgres://", None),
    (
        "postgres://app:@db:/shop",
        "postgres://app@db:5432/shop",
        None,
    ),
    // Passwords, encoded and not.
    (
        "postgres://app:p%40s%2Fs%3A%3F%23%25@db/shop",
        "postgres://app@db:5432/shop",
        Some("p@s/s:?#%"),
    ),
    (
        "postgres://app:p@ss@db/shop",
        "postgres://app@db:5432/shop",
        Some("p@ss"),
    ),
    (
        "postgres://app:p:ss@db/shop",
        "postgres://app@db:5432/shop",
        Some("p:ss"),
    ),
    (
        "postgres://app:p/ss@db/shop",
        "postgres://app@db:5432/shop",
        Some("p/ss"),
    ),
    (
        "postgres://app:p@s/s@db:5432/shop",
        "postgres://app@db:5432/shop",
        Some("p@s/s"),
    ),
    (
        "postgres://app:p?ss@db/shop",
        "postgres://app@db:5432/shop",
        Some("p?ss"),
    ),
    (
        "postgres://app:p?a=b@db/shop",
        "postgres://app@db:5432/shop",
        Some("p?a=b"),
    ),
    (
        "postgres://app:p#ss@db/shop",
        "postgres://app@db:5432/shop",
        Some("p#ss"),
    ),
    (
        "postgres://app:12#3@db/shop",
        "postgres://app@db:5432/shop",
        Some("12#3"),
    ),
    (
        "postgres://app:12/3@db/shop?sslmode=require",
        "postgres://app@db:5432/shop",
        Some("12/3"),
    ),
    (
        "postgres://app:100%@db/shop",
        "postgres://app@db:5432/shop",
        Some("100%"),
    ),
    (
        "postgres://app:a+b@db/shop",
        "postgres://app@db:5432/shop",
        Some("a+b"),
    ),
    (
        "postgres://app:p%C3%A9@db/shop",
        "postgres://app@db:5432/shop",
        Some("pé"),
    ),
    (
        "postgres://app:pw@db/shop?application_name=a@b",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgres://db:5432/shop?user=app@tenant&password=p@w",
        "postgres://app@tenant@db:5432/shop",
        Some("p@w"),
    ),
    (
        "postgres://app%40tenant:pw@db/shop",
        "postgres://app@tenant@db:5432/shop",
        Some("pw"),
    ),
    // Several hosts, IPv6, sockets.
    (
        "postgres://app@a,b/shop",
        "postgres://app@a:5432,b:5432/shop",
        None,
    ),
    (
        "postgres://app@a:1,b:2/shop",
        "postgres://app@a:1,b:2/shop",
        None,
    ),
    (
        "postgres://app@a:1,b/shop",
        "postgres://app@a:1,b:5432/shop",
        None,
    ),
    (
        "postgres://app@a,b/shop?port=7",
        "postgres://app@a:7,b:7/shop",
        None,
    ),
    (
        "postgres://app@/shop?host=a,b&port=1,2",
        "postgres://app@a:1,b:2/shop",
        None,
    ),
    (
        "postgresql+psycopg2://app@/shop?host=a:1&host=b:2",
        "postgres://app@a:1,b:2/shop",
        None,
    ),
    (
        "postgres://app@[::1]:6000/shop",
        "postgres://app@[::1]:6000/shop",
        None,
    ),
    (
        "postgres://app@[2001:db8::1],db/shop",
        "postgres://app@[2001:db8::1]:5432,db:5432/shop",
        None,
    ),
    (
        "postgres://app@%2Fvar%2Frun%2Fpostgresql/shop",
        "postgres://app@[/var/run/postgresql]:5432/shop",
        None,
    ),
    (
        "postgres://app@/shop?host=/var/run/postgresql",
        "postgres://app@[/var/run/postgresql]:5432/shop",
        None,
    ),
    (
        "postgres://app:pw@localhost/shop?host=/cloudsql/p:r:i",
        "postgres://app@[/cloudsql/p:r:i]:5432/shop",
        Some("pw"),
    ),
    (
        "postgresql+pg8000://app@/shop?unix_sock=/run/pg/.s.PGSQL.5433",
        "postgres://app@[/run/pg]:5433/shop",
        None,
    ),
    (
        "postgres://app@db/shop?hostaddr=10.0.0.9",
        "postgres://app@db:5432/shop",
        None,
    ),
    (
        "postgres://app@/shop?hostaddr=10.0.0.9",
        "postgres://app@10.0.0.9:5432/shop",
        None,
    ),
    // Parameters over parts, and those that are passed over.
    (
        "postgres://a:x@h:1/d?host=db&port=2&user=app&password=pw&dbname=shop",
        "postgres://app@db:2/shop",
        Some("pw"),
    ),
    (
        "postgres://app:pw@db/shop?schema=public&connection_limit=5&pgbouncer=true",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgres://app:pw@db/shop?pool_timeout=0&socket_timeout=3&sslaccept=strict",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgres://app:pw@db/shop?keepalives=1&keepalives_idle=30&x",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgresql+asyncpg://app:pw@db/shop?ssl=require&prepared_statement_cache_size=0",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgres://app:pw@db/shop?sslmode=require&channel_binding=require",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "postgres://app:pw@ep-x-1.neon.tech/shop?options=endpoint%3Dep-x-1",
        "postgres://app@ep-x-1.neon.tech:5432/shop",
        Some("pw"),
    ),
    // White space and quotes.
    (
        " postgres://app:pw@db/shop\n",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "\"postgres://app:pw@db/shop\"",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    (
        "'postgres://app:pw@db/shop'",
        "postgres://app@db:5432/shop",
        Some("pw"),
    ),
    // Names that Compose makes.
    (
        "postgres://app:pw@my_db.my-net:5432/shop-1?sslmode=disable",
        "postgres://app@my_db.my-net:5432/shop-1",
        Some("pw"),
    ),
];

#[test]
fn urls_of_real_applications_are_understood() {
    for (text, shown, password) in REAL_WORLD {
        check(text, &[], shown, *password);
    }
}

#[test]
fn what_is_missing_comes_from_the_environment() {
    let env = [
        ("PGHOST", "h"),
        ("PGPORT", "7"),
        ("PGUSER", "u"),
        ("PGPASSWORD", "secret"),
        ("PGDATABASE", "d"),
        ("PGSSLMODE", "verify-ca"),
        ("PGSSLROOTCERT", "/ca.pem"),
    ];
    check("postgres://", &env, "postgres://u@h:7/d", Some("secret"));
    check(
        "postgres://app:pw@db:1/shop",
        &env,
        "postgres://app@db:1/shop",
        Some("pw"),
    );
    check(
        "postgres://app@/shop",
        &[("PGHOST", "/run/pg"), ("PGPORT", "")],
        "postgres://app@[/run/pg]:5432/shop",
        None,
    );
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
    ];
    for (query, mode) in table {
        let url = parse(&format!("postgres://app@db/shop?{query}"), &[]);
        assert_eq!(url.map(|url| url.tls.mode), Ok(mode), "{query}");
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
