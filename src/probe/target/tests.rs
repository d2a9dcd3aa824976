mod forms;

use super::*;
use crate::exit::Exit;
use crate::probe::target::redis::Server;
use crate::table::rows;

fn env() -> Environment {
    [
        (
            "DATABASE_URL",
            "postgresql+asyncpg://app:hunter2@db:5432/shop",
        ),
        (
            "API",
            "http://user:hunter2@api.internal:8080/health?token=hunter2",
        ),
        ("EMPTY", ""),
        ("CHAIN", "DATABASE_URL"),
        ("DOLLAR", "http://api/${EMPTY}"),
        ("BAD", "tcp://hunter2"),
        ("SCHEMELESS", "hunter2:8000/health"),
        ("GRPC", "grpc://hunter2:50051"),
    ]
    .into_iter()
    .collect()
}

fn parse(text: &str) -> Result<Target, Failure> {
    Target::parse(OsStr::new(text), &env())
}

fn shown(text: &str) -> String {
    parse(text).map_or_else(
        |failure| panic!("{text}: {failure}"),
        |target| target.to_string(),
    )
}

fn tcp(name: &str, port: u16) -> Host {
    Host {
        name: name.to_owned(),
        port,
    }
}

#[test]
fn every_form_of_a_target_is_understood() {
    let table = [
        ("tcp://db:5432", "db:5432"),
        ("tcp://10.0.0.1:5432/", "10.0.0.1:5432"),
        ("TCP://db:1", "db:1"),
        ("db:5432", "db:5432"),
        ("my_db.internal:65535", "my_db.internal:65535"),
        ("postgres:5432", "postgres:5432"),
        ("redis:6379", "redis:6379"),
        ("[::1]:8000", "[::1]:8000"),
        ("tcp://[2001:db8::1]:1", "[2001:db8::1]:1"),
        ("http://api", "http://api/"),
        ("http://api:80/x", "http://api/x"),
        ("http://api:/x", "http://api/x"),
        ("https://api:443", "https://api/"),
        ("https://api:80/a/b", "https://api:80/a/b"),
        ("HTTP://api:8080/Health", "http://api:8080/Health"),
        ("http://[::1]/x", "http://[::1]/x"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("http://api?x=1", "http://api/?***"),
        ("http://api/x#part", "http://api/x"),
        (
            "http+unix:///run/app.sock:/health",
            "http+unix:///run/app.sock:/health",
        ),
        (
            "http+unix:///run/app.sock:/health?x=1",
            "http+unix:///run/app.sock:/health?***",
        ),
        ("http+unix:///run/app.sock", "http+unix:///run/app.sock:/"),
        ("unix:///run/app.sock", "unix:///run/app.sock"),
        ("redis://cache", "redis://cache:6379"),
        ("redis://:p@a,b:1/0", "redis://a:6379,b:1"),
        ("redis+socket://:p@/run/r%20s?db=1", "redis+unix:///run/r s"),
        (
            "REDISS://app:hunter2@cache:6380/0?x=y",
            "rediss://cache:6380",
        ),
        ("redis://hunter2@[::1]/1", "redis://[::1]:6379"),
        ("file:///run/ready file", "file:///run/ready file"),
        (
            "postgres://app:hunter2@db/shop",
            "postgres://app@db:5432/shop",
        ),
        ("DATABASE_URL", "DATABASE_URL (postgres://app@db:5432/shop)"),
        ("API", "API (http://api.internal:8080/health?***)"),
        // To the letter: nothing in a variable's value is expanded.
        ("DOLLAR", "DOLLAR (http://api/${EMPTY})"),
    ];
    for (text, name) in table {
        assert_eq!(shown(text), name, "{text}");
    }
}

#[test]
fn every_scheme_of_postgres_is_one() {
    let schemes = "postgres postgresql postgresql+asyncpg postgresql+psycopg2 postgres+psycopg cockroachdb \
        cockroachdb+psycopg2 postgis psql POSTGRES jdbc:postgresql JDBC:postgresql \
        r2dbc:pool:postgresql pgsql pdo-pgsql timescaledb cockroach ecto pgx5 pg timescale \
        jdbc:aws-wrapper:postgresql r2dbc:postgresql:failover";
    for scheme in schemes.split(' ') {
        let target = parse(&format!("{scheme}://db/shop"))
            .unwrap_or_else(|failure| panic!("{scheme}: {failure}"));
        assert!(target.postgres().is_some(), "{scheme}");
    }
}

#[test]
fn white_space_and_quotes_around_a_target_are_taken_off() {
    for plain in ["postgres://app:pw@db/shop", "http://api:80/x", "db:5432"] {
        for (before, after) in [
            (" ", ""),
            ("", "\n"),
            ("\"", "\""),
            ("'", "'"),
            ("\t'", "'\r\n"),
            ("\"'", "'\""),
        ] {
            let text = format!("{before}{plain}{after}");
            assert_eq!(shown(&text), shown(plain), "{text:?}");
        }
    }
}

#[test]
fn hosts_and_ports_are_taken_apart() {
    let table = [
        ("db:5432", tcp("db", 5432)),
        ("[::1]:8000", tcp("::1", 8000)),
        ("tcp://127.0.0.1:1", tcp("127.0.0.1", 1)),
        ("tcp://db:005432", tcp("db", 5432)),
    ];
    for (text, host) in table {
        match parse(text).map(|target| target.kind) {
            Ok(TargetKind::Tcp(found)) => assert_eq!(found, host, "{text}"),
            other => panic!("{text}: {:?}", other.map(|kind| kind.to_string())),
        }
    }
}

#[test]
fn http_urls_are_taken_apart() {
    let Ok(Target {
        kind: TargetKind::Http(url),
        ..
    }) = parse("https://us%40er:p%3Aw%2f@api:8443/a?b=c")
    else {
        panic!("not an http target")
    };
    assert_eq!(url.server, HttpServer::Host(tcp("api", 8443)));
    assert!(url.tls);
    assert_eq!((&*url.authority, &*url.path), ("api:8443", "/a?b=c"));
    // us@er:p:w/ as RFC 7617 encodes it.
    assert_eq!(url.authorization.as_deref(), Some("Basic dXNAZXI6cDp3Lw=="));

    let Ok(Target {
        kind: TargetKind::Http(url),
        ..
    }) = parse("http+unix:///run/a.sock:/b:/c?d")
    else {
        panic!("not an http target")
    };
    assert_eq!(url.server, HttpServer::Socket("/run/a.sock".into()));
    assert_eq!((&*url.authority, &*url.path), ("localhost", "/b:/c?d"));
}

#[test]
fn redis_urls_are_taken_apart() {
    let table: [(&str, Option<&str>, Option<&str>, bool); 8] = [
        ("redis://cache", None, None, true),
        ("redis://:p%40s%3As@cache", None, Some("p@s:s"), true),
        ("redis://:a@b:c@cache/0", None, Some("a@b:c"), true),
        ("redis://us%65r:pw@cache/15", Some("user"), Some("pw"), true),
        ("redis://user@cache", Some("user"), None, true),
        ("redis://user:@cache", Some("user"), None, true),
        ("rediss://cache?ssl_cert_reqs=none", None, None, false),
        (
            "rediss://cache/0?a=b&ssl_cert_reqs=CERT_NONE#c",
            None,
            None,
            false,
        ),
    ];
    for (text, user, password, verify) in table {
        let Ok(Target {
            kind: TargetKind::Redis(url),
            ..
        }) = parse(text)
        else {
            panic!("{text} is no Redis target")
        };
        assert_eq!(url.servers, [Server::Host(tcp("cache", 6379))], "{text}");
        assert_eq!(url.user.as_deref(), user.map(str::as_bytes), "{text}");
        assert_eq!(
            url.password.as_deref(),
            password.map(str::as_bytes),
            "{text}"
        );
        assert_eq!(url.verify, verify, "{text}");
        assert_eq!(url.tls, text.starts_with("rediss"), "{text}");
    }
}

#[test]
fn what_is_no_target_is_refused_with_the_remedy() {
    let long = format!("unix:///{}", "x".repeat(108));
    let table = [
        ("", "HOST:PORT"),
        ("my-db", "a host needs its port"),
        ("10.0.0.1", "a host needs its port"),
        ("db:", "1-65535"),
        ("db:0", "1-65535"),
        ("db:65536", "1-65535"),
        ("db:+80", "1-65535"),
        ("db:99999999999", "1-65535"),
        (":5432", "host"),
        ("d b:5432", "host"),
        ("dä:5432", "host"),
        ("tcp://db", "HOST:PORT"),
        ("tcp://db:1/path", "1-65535"),
        ("::1:8000", "brackets"),
        ("[::1]", "a host needs its port"),
        ("[::1:8000", "IPv6"),
        ("[db]:80", "IPv6"),
        ("[::1]x:80", "host"),
        ("http://", "host"),
        ("http:///path", "host"),
        ("http://api:0/", "1-65535"),
        ("http://api/a b", "percent-encode"),
        ("http+unix://run/app.sock:/x", "http+unix:///path"),
        ("http+unix://", "http+unix:///path"),
        ("unix://run/app.sock", "unix:///path"),
        (&long, "107 bytes"),
        ("file://ready", "file:///path"),
        ("prisma://accelerate/?api_key=x", "write prisma://HOST:PORT"),
        ("jdbc:oracle:thin://db/x", "has no port"),
        ("mysql://", "host"),
        ("mysql://app:12/3@db/shop", "%2F"),
        ("amqp://app:12?3@mq", "%3F"),
        ("redis://app:12/3@cache", "%2F"),
        ("nats://a:4222,http://b:80", "white space"),
        ("kafka://a,,b", "host"),
        ("db shop://x:1", "postgres://"),
        ("sqlite:///app.db", "nothing to wait for"),
        ("file:./dev.db", "nothing to wait for"),
        ("redis://", "host"),
        ("redis://db:0", "1-65535"),
        ("redis+socket://run/redis.sock", "redis+unix:///path"),
        ("redis+unix:///", "redis+unix:///path"),
        ("redis://a,,b", "host"),
        ("UNSET", "UNSET is unset or empty"),
        ("EMPTY", "EMPTY is unset or empty"),
        ("CHAIN", "target CHAIN: the value"),
    ];
    for (text, part) in table {
        let failure = parse(text).map_or_else(
            |failure| failure,
            |target| panic!("{text:?} was taken for {target}"),
        );
        assert_eq!(failure.exit, Exit::Failed, "{text:?}");
        assert!(failure.message.contains(part), "{text:?}: {failure}");
        assert!(!failure.message.contains('\n'), "{text:?}: {failure}");
    }
}

#[test]
fn a_password_is_never_shown() {
    for text in [
        "http://user:hunter2@api/x",
        "http://hunter2@api/x",
        "http://api/x?token=hunter2",
        "https://a:hunter2@b:c@api/",
        "http+unix:///run/a.sock:/?hunter2",
        "DATABASE_URL",
        "API",
        "BAD",
        "http://user:hunter2@/x",
        "http://user:hunter2@api:0/x",
        "http://user:hunter2/x@api/x",
        "tcp://user:hunter2@db:1",
        "redis://:hunter2@cache:6379",
        "redis://hunter2@cache",
        "redis://:hunter2@cache:0",
        "redis://cache/0?password=hunter2",
        "rediss://user:hunter2@cache:6379/0",
        "mysql://user:hunter2@db/shop",
        "amqp://user:hunter2/x@mq",
        "amqp://user:12;hunter2@mq",
        "jdbc:sqlserver://db;user=sa;password=hunter2",
        "user:hunter2@tcp(db:3306)/shop",
        "unix://:hunter2@/run/s.sock",
        "user:hunter2@db:5432",
        "weird hunter2://x@y",
        "postgres://app:hunter2@bad/shop",
        "mysql://db/shop?password=hunter2",
    ] {
        let said = match parse(text) {
            Ok(target) => format!("{target} {target:?}"),
            Err(failure) => failure.to_string(),
        };
        assert!(!said.contains("hunter2"), "{text}: {said}");
    }
}

#[test]
fn paths_need_not_be_utf8() {
    let text = OsStr::from_bytes(b"file:///run/\xff");
    assert!(Target::parse(text, &env()).is_ok());
    let failure = Target::parse(OsStr::from_bytes(b"http://\xff/"), &env());
    assert!(failure.is_err_and(|failure| failure.message.contains("UTF-8")));
}

#[test]
fn the_own_server_is_probed_on_loopback() {
    let target = Target::own_http(8000, "/health").unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(target.to_string(), "http://127.0.0.1:8000/health");
    assert!(Target::own_http(0, "/").is_err());
    assert!(Target::own_http(1, "health").is_err());
    assert!(Target::own_http(1, "/a b").is_err());
}

#[test]
fn an_error_of_a_database_url_is_a_sentence_with_the_variables_name() {
    let table = "
        postgres://db/d?sslmode=hunter2      sslmode in BAD_URL must be disable, allow,
        Host=db;Password=hunter2;Port=none   the database's port is not a number
        postgres://app:hunter2@d b/d         BAD_URL has a host that can't be one
    ";
    for [text, sentence] in rows(table) {
        let env = [("BAD_URL", text)].into_iter().collect();
        let failure = Target::parse(OsStr::new("BAD_URL"), &env).err();
        let message = failure.map(|failure| failure.message).unwrap_or_default();
        assert!(message.contains(sentence), "{message}");
        assert!(
            !message.contains("the value of this") && !message.contains("hunter2"),
            "{message}"
        );
    }
}

#[test]
fn a_spelling_that_works_is_said_but_never_a_variables_value() {
    let table = "
        api:8000/up                            has a path and no scheme: write http://api:8000/up
        api:8000/up?token=hunter2              write http://HOST:PORT/PATH
        SCHEMELESS                             write http://HOST:PORT/PATH
        grpcs://api:50051                      write tcp://api:50051
        grpc://api                             write tcp://HOST:PORT
        GRPC                                   write tcp://HOST:PORT
        mongodb+srv://app:hunter2@c.example/d  write tcp://HOST:PORT
    ";
    for [text, spelling] in rows(table) {
        let failure = parse(text)
            .err()
            .unwrap_or_else(|| panic!("{text} is a target"));
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.message.ends_with(spelling), "{failure}");
        assert!(!failure.message.contains("hunter2"), "{failure}");
    }
}
