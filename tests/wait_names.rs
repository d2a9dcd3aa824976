//! Names: what glibc's resolver finds, portero finds, whatever the name server does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::thread::JoinHandle;
use std::time::Instant;

use common::network::{
    Answer, FORMERR, Family, Files, NAME_SERVER, NOTIMP, NXDOMAIN, NameServer, REFUSED, SERVFAIL,
    accept_everywhere, address, in_network, result, start_in_network,
};
use common::{DEADLINE, Ended, Finished, Run, poll_until};

/// A port that is open on every address.
const PORT: u16 = 8000;

/// One look-up, and what there is to look it up.
struct Case {
    name: String,
    resolv_conf: Option<String>,
    hosts: &'static str,
    /// What both programs have in their environment.
    environment: &'static [(&'static str, &'static str)],
    /// Whether glibc finds no address; the case says why portero does.
    only_portero: bool,
    /// The name servers that there are.
    servers: Vec<(&'static str, Zone)>,
}

type Zone = Box<dyn Fn(&str, Family) -> Answer + Send>;

/// glibc's time-out, and musl's, which is 5 s otherwise.
const QUICK: &str = "options timeout:1 attempts:1\n";

fn case(
    name: &str,
    settings: &str,
    zone: impl Fn(&str, Family) -> Answer + Send + 'static,
) -> Case {
    Case {
        name: name.to_owned(),
        resolv_conf: Some(format!("nameserver 127.0.0.1\n{QUICK}{settings}")),
        hosts: "",
        environment: &[],
        only_portero: false,
        servers: vec![(NAME_SERVER, Box::new(zone))],
    }
}

/// What the table test finds out about one case.
struct Found {
    only_portero: bool,
    glibc: Vec<IpAddr>,
    wait: Finished,
    connected: Vec<IpAddr>,
}

fn look_up(case: Case) -> JoinHandle<Found> {
    start_in_network(move || {
        for (address, zone) in case.servers {
            NameServer::start_at(address, zone);
        }
        let connected = accept_everywhere(PORT);
        let files = Files::new(case.resolv_conf.as_deref(), case.hosts);
        let within = |run: Run| {
            let add = |run: Run, (name, value): &(&str, &str)| run.env(name, value);
            files.around(case.environment.iter().fold(run, add))
        };
        let getent = Run::program("getent").args(["ahosts", &case.name]);
        let glibc = within(getent).finish();
        let mut glibc: Vec<IpAddr> = glibc
            .stdout
            .lines()
            .filter_map(|line| {
                Some(
                    line.split(' ')
                        .next()?
                        .parse::<IpAddr>()
                        .ok()?
                        .to_canonical(),
                )
            })
            .collect();
        glibc.dedup();
        let target = format!("tcp://{}:{PORT}", case.name);
        let wait = Run::portero().args(["wait", "--wait-timeout", "8s", &target]);
        let wait = within(wait).finish();
        // The kernel accepts before the server does.
        if wait.ended == Ended::Code(0) {
            poll_until(DEADLINE, || {
                (!connected.lock().unwrap().is_empty()).then_some(())
            });
        }
        let connected = connected.lock().unwrap().clone();
        Found {
            only_portero: case.only_portero,
            glibc,
            wait,
            connected,
        }
    })
}

/// All side by side: what glibc finds portero finds, and goes where glibc goes. Where glibc gives up on the whole name,
/// at a refusal or a silence, portero finds it all the same.
fn assert_found(table: impl IntoIterator<Item = (String, Case)>, glibc_finds_all: bool) {
    let started = table
        .into_iter()
        .map(|(what, case)| (what, look_up(case)))
        .collect::<Vec<_>>();
    let mut wrong = String::new();
    for (what, found) in started {
        let Found {
            only_portero,
            glibc,
            wait,
            connected,
        } = result(found);
        let same = glibc.contains(connected.first().unwrap_or(&NOWHERE));
        let agreed = match only_portero {
            true => glibc.is_empty(),
            false => same || glibc.is_empty() && !glibc_finds_all,
        };
        if wait.ended != Ended::Code(0) || !agreed {
            wrong += &format!("{what}: {connected:?}, and glibc has {glibc:?}{wait}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// No address that anybody goes to.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

/// What a server may do instead of an answer.
fn failures() -> [(&'static str, Answer); 7] {
    [
        ("NXDOMAIN", Answer::Code(NXDOMAIN)),
        ("SERVFAIL", Answer::Code(SERVFAIL)),
        ("REFUSED", Answer::Code(REFUSED)),
        ("NOTIMP", Answer::Code(NOTIMP)),
        ("FORMERR", Answer::Code(FORMERR)),
        ("silence", Answer::Silence),
        ("no record", Answer::Addresses(Vec::new())),
    ]
}

#[test]
fn one_family_is_enough_whatever_the_other_says() {
    let families = [
        (Family::V4, "127.0.0.7", Family::V6),
        (Family::V6, "fd00::1", Family::V4),
    ];
    let table = families.into_iter().flat_map(|(good, found, bad)| {
        failures().map(|(what, failure)| {
            let zone = move |_: &str, family| {
                if family == good {
                    address(found)
                } else {
                    failure.clone()
                }
            };
            let what = format!("{good:?}, and {what} for {bad:?}");
            (what, case("db.test", "", zone))
        })
    });
    assert_found(table, true);
}

#[test]
fn a_search_domain_that_fails_is_passed_over() {
    let table = failures().map(|(what, failure)| {
        let zone = move |name: &str, family| match (name, family) {
            ("db.good.test", Family::V4) => address("127.0.0.7"),
            ("db.good.test", Family::V6) => Answer::Addresses(Vec::new()),
            ("db", _) => Answer::Code(NXDOMAIN),
            _ => failure.clone(),
        };
        let list = "search bad.test worse.test good.test\n";
        (what.to_owned(), case("db", list, zone))
    });
    assert_found(table, false);
}

/// A zone of one name.
fn only(
    name: &'static str,
    found: &'static str,
) -> impl Fn(&str, Family) -> Answer + Send + 'static {
    move |asked, family| {
        let is_v6 = found.contains(':');
        if asked != name {
            Answer::Code(NXDOMAIN)
        } else if is_v6 == (family == Family::V6) {
            address(found)
        } else {
            Answer::Addresses(Vec::new())
        }
    }
}

#[test]
fn names_are_made_whole_as_glibc_does_it() {
    let domain = |number: usize| format!("{}{number:02}.test", "d".repeat(56));
    let long = (1..=32).map(domain).collect::<Vec<_>>().join(" ");
    assert!(long.len() > 1900);
    let kubernetes =
        "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
    let last: &'static str = Box::leak(format!("db.{}", domain(32)).into_boxed_str());
    let table = [
        (
            "the last of 32 domains",
            case("db", &format!("search {long}\n"), only(last, "127.0.0.7")),
        ),
        (
            "Kubernetes, the same namespace",
            case(
                "db",
                kubernetes,
                only("db.shop.svc.cluster.local", "127.0.0.7"),
            ),
        ),
        (
            "Kubernetes, another namespace",
            case(
                "db.infra",
                kubernetes,
                only("db.infra.svc.cluster.local", "127.0.0.7"),
            ),
        ),
        (
            "Kubernetes, outside",
            case(
                "db.example.com",
                kubernetes,
                only("db.example.com", "127.0.0.7"),
            ),
        ),
        (
            "with a dot at the end",
            case(
                "db.example.com.",
                kubernetes,
                only("db.example.com", "127.0.0.7"),
            ),
        ),
        (
            "a domain after the whole name",
            case(
                "db.infra",
                "search corp.test\n",
                only("db.infra.corp.test", "127.0.0.7"),
            ),
        ),
        (
            "the last list counts",
            case(
                "db",
                "search one.test\nsearch two.test\n",
                only("db.two.test", "127.0.0.7"),
            ),
        ),
        (
            "one domain",
            case(
                "db",
                "domain corp.test\n",
                only("db.corp.test", "127.0.0.7"),
            ),
        ),
        ("no list", case("db", "", only("db", "127.0.0.7"))),
        (
            "the root in the list",
            case("db", "search . corp.test\n", only("db", "127.0.0.7")),
        ),
        (
            "capitals",
            case("DB.Example.Com", "", only("db.example.com", "127.0.0.7")),
        ),
        (
            "an underscore",
            case("my_db", "", only("my_db", "127.0.0.7")),
        ),
        ("two numbers", case("127.7", "", only("none", "::"))),
    ];
    assert_found(table.map(|(what, case)| (what.to_owned(), case)), true);
}

/// So many addresses of loopback's, none of which ends with 0.
fn many(count: u16) -> Vec<IpAddr> {
    let address =
        |number: u16| IpAddr::from([127, 1, (number / 200) as u8, (number % 200) as u8 + 1]);
    (0..count).map(address).collect()
}

#[test]
fn an_answer_that_is_too_long_for_udp_is_asked_for_by_tcp() {
    let table = [(60, 0), (60, 20), (300, 0), (1000, 0)].map(|(count, udp)| {
        let zone = move |_: &str, family| match family {
            Family::V4 => Answer::Long {
                addresses: many(count),
                udp,
            },
            Family::V6 => Answer::Addresses(Vec::new()),
        };
        (
            format!("{count} addresses, {udp} of them by UDP"),
            case("db.test", "", zone),
        )
    });
    assert_found(table, true);
}

#[test]
fn a_name_server_that_fails_is_passed_over_for_the_next() {
    // 127.0.0.1 is none of these cases' name server; the last that is named is.
    let good = |servers: Vec<(&'static str, Zone)>, resolv_conf: &str| {
        let mut case = case("db.test", "", |_, _| Answer::Silence);
        case.servers = servers;
        case.resolv_conf = Some(format!("{resolv_conf}{QUICK}"));
        case
    };
    let says = |at: &'static str, answer: Answer| -> (&'static str, Zone) {
        (at, Box::new(move |_, _| answer.clone()))
    };
    let knows = |at| -> (&'static str, Zone) { (at, Box::new(only("db.test", "127.0.0.7"))) };
    let two = "nameserver 127.0.0.2\nnameserver 127.0.0.3\n";
    let mut table: Vec<(String, Case)> = [
        ("silence", Answer::Silence),
        ("SERVFAIL", Answer::Code(SERVFAIL)),
        ("REFUSED", Answer::Code(REFUSED)),
        ("NOTIMP", Answer::Code(NOTIMP)),
        ("FORMERR", Answer::Code(FORMERR)),
    ]
    .map(|(what, answer)| {
        let servers = vec![says("127.0.0.2", answer), knows("127.0.0.3")];
        let case = Case {
            // glibc takes it from the first, and goes no further.
            only_portero: what == "FORMERR",
            ..good(servers, two)
        };
        (format!("{what} of the first"), case)
    })
    .into();
    let more = [
        ("nobody at the first", vec![knows("127.0.0.3")], two),
        (
            "no way to the first",
            vec![knows("127.0.0.3")],
            "nameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver 127.0.0.3\n",
        ),
        ("one that is IPv6", vec![knows("::1")], "nameserver ::1\n"),
        (
            "one that is IPv6 behind one that is not there",
            vec![knows("fd00::1")],
            "nameserver 127.0.0.2\nnameserver fd00::1\n",
        ),
        (
            "what is no address among them",
            vec![knows("127.0.0.3")],
            "nameserver\nnameserver dns.test\nnameserver 127.0.0.3 # ours\n",
        ),
        (
            "in turn",
            vec![says("127.0.0.2", Answer::Silence), knows("127.0.0.3")],
            "options rotate\nnameserver 127.0.0.2\nnameserver 127.0.0.3\n",
        ),
        (
            "three",
            vec![
                says("127.0.0.2", Answer::Silence),
                says("127.0.0.4", Answer::Code(REFUSED)),
                knows("127.0.0.3"),
            ],
            "nameserver 127.0.0.2\nnameserver 127.0.0.4\nnameserver 127.0.0.3\n",
        ),
    ];
    table.extend(more.map(|(what, servers, text)| (what.to_owned(), good(servers, text))));
    assert_found(table, true);
}

#[test]
fn the_variables_that_glibc_reads_make_names_whole_too() {
    let list = "search shop.test\noptions ndots:5\n";
    let with = |environment, name: &str, whole| Case {
        environment,
        ..case(name, list, only(whole, "127.0.0.7"))
    };
    let table = [
        (
            "a list instead of the file's",
            with(&[("LOCALDOMAIN", "a.test corp.test")], "db", "db.corp.test"),
        ),
        (
            "none of the file's",
            with(&[("LOCALDOMAIN", "")], "db", "db"),
        ),
        (
            "fewer dots",
            with(&[("RES_OPTIONS", "timeout:1 ndots:1")], "db.a", "db.a"),
        ),
        (
            "an option that nobody knows",
            with(&[("RES_OPTIONS", "what ndots:x")], "db", "db.shop.test"),
        ),
    ];
    assert_found(table.map(|(what, case)| (what.to_owned(), case)), true);
}

#[test]
fn options_of_the_file_that_are_for_the_name_server_do_no_harm() {
    let options = [
        "rotate",
        "timeout:99999999999",
        "attempts:999",
        "edns0",
        "single-request",
        "single-request-reopen",
        "trust-ad",
        "use-vc",
        "no-tld-query",
        "no-reload",
        "inet6",
        "ndots:",
        "ndots:999",
        "ndots:-1",
        "what",
    ];
    let table = options.map(|option| {
        let text = format!("options {option}\n");
        (
            option.to_owned(),
            case("db.test", &text, only("db.test", "127.0.0.7")),
        )
    });
    assert_found(table, true);
}

#[test]
fn a_file_of_any_form_is_read_as_glibc_reads_it() {
    let long = "x".repeat(3000);
    let nameservers = "nameserver 127.0.0.1\n".repeat(40);
    let table = [
        (
            "a comment of 3,000 characters",
            format!("# {long}\nsearch corp.test\n"),
            false,
        ),
        // glibc ends the search at a domain that is too long for a name.
        (
            "a word of 3,000 characters",
            format!("search {long} corp.test\n"),
            true,
        ),
        (
            "forty name servers",
            format!("{nameservers}search corp.test\n"),
            false,
        ),
        ("no line end", "search corp.test".to_owned(), false),
        ("tabs", "search\t\tcorp.test\t\n".to_owned(), false),
        (
            "comments",
            "; one\n# two\nsearch corp.test\nsortlist 10.0.0.0\n".to_owned(),
            false,
        ),
        (
            "an empty list after one",
            "search corp.test\nsearch\n".to_owned(),
            false,
        ),
        (
            "a comment behind the list",
            "search corp.test # ours\n".to_owned(),
            false,
        ),
        (
            "bytes of no text",
            "#\u{e9}\nsearch corp.test\n".to_owned(),
            false,
        ),
        // glibc takes the carriage return for a part of the domain.
        (
            "line ends of Windows",
            "search corp.test\r\n".to_owned(),
            true,
        ),
    ];
    let table = table.map(|(what, text, only_portero)| {
        let case = case("db", &text, only("db.corp.test", "127.0.0.7"));
        (
            what.to_owned(),
            Case {
                only_portero,
                ..case
            },
        )
    });
    assert_found(table, true);
}

#[test]
fn options_that_stop_the_c_library_from_asking_are_named() {
    let options = ["timeout:0", "attempts:0"];
    let checked = options.map(|option| {
        start_in_network(move || {
            let text = format!("nameserver 127.0.0.1\noptions rotate {option}\n");
            let files = Files::new(Some(&text), "127.0.0.7 listed\n");
            let _server = NameServer::start(only("db.test", "127.0.0.7"));
            let _connected = accept_everywhere(PORT);
            check(&files, "listed").assert_exit(0);
            check(&files, "db.test")
        })
    });
    for (checked, option) in checked.into_iter().zip(options) {
        result(checked)
            .assert_exit(1)
            .assert_stderr_contains(&format!(
                "can't resolve db.test: /etc/resolv.conf has {option}, with which nobody is asked"
            ));
    }
}

#[test]
fn files_count_as_for_glibc() {
    let silent = |_: &str, _| Answer::Silence;
    let with_hosts = |name: &str, hosts| Case {
        hosts,
        ..case(name, "search corp.test\n", silent)
    };
    let table = [
        (
            "an IPv4 entry",
            with_hosts("db", "127.0.0.7 other db # comment\n"),
        ),
        ("an IPv6 entry", with_hosts("db", "fd00::1\tdb\n")),
        ("both", with_hosts("db", "fd00::1 db\n127.0.0.7 db\n")),
        ("capitals", with_hosts("DB.local", "127.0.0.7 db.Local\n")),
        (
            "several",
            with_hosts("db", "127.0.0.7 db\n127.0.0.8 a db\nfd00::1 db\n"),
        ),
        (
            "a line that is none",
            with_hosts("db", "300.0.0.7 db\ndb\n\n127.0.0.7 db\n"),
        ),
        ("no line end", with_hosts("db", "127.0.0.7 db")),
        ("line ends of Windows", with_hosts("db", "127.0.0.7 db\r\n")),
        (
            "localhost, IPv4 alone",
            with_hosts("localhost", "127.0.0.1 localhost\n"),
        ),
        (
            "localhost, another address",
            with_hosts("localhost", "127.0.0.9 localhost\n"),
        ),
        (
            "another name of localhost",
            with_hosts("me", "127.0.0.1 localhost me\n::1 localhost\n"),
        ),
        (
            "no resolv.conf, an entry",
            Case {
                resolv_conf: None,
                ..with_hosts("db", "127.0.0.7 db\n")
            },
        ),
        (
            "no resolv.conf, a server on loopback",
            Case {
                resolv_conf: None,
                ..case("db", "", only("db", "127.0.0.7"))
            },
        ),
    ];
    let started = Instant::now();
    assert_found(table.map(|(what, case)| (what.to_owned(), case)), true);
    let elapsed = started.elapsed();
    assert!(elapsed < DEADLINE, "the name server was waited for");
}

#[test]
fn localhost_needs_no_file_and_is_ipv4_first() {
    // Also where the file has it as IPv6 alone: what runs here may listen on either.
    for hosts in ["", "::1 localhost\n"] {
        let silent = case("localhost", "", |_, _| Answer::Silence);
        let found = result(look_up(Case { hosts, ..silent }));
        found.wait.assert_exit(0);
        assert_eq!(found.connected, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}

/// A health check, whose deadline is over everything, and before the five seconds after which musl would ask again.
fn check(files: &Files, name: &str) -> Finished {
    let run = Run::portero().args([
        "healthcheck",
        "--timeout",
        "4s",
        &format!("tcp://{name}:{PORT}"),
    ]);
    files.around(run).finish()
}

#[test]
fn a_health_check_finds_a_name_within_its_deadline_beside_a_silent_family() {
    let finished = in_network(|| {
        // Without options: musl's own time-out is longer than any health check's.
        let files = Files::new(Some("nameserver 127.0.0.1\n"), "");
        let _server = NameServer::start(|_, family| match family {
            Family::V4 => address("127.0.0.7"),
            Family::V6 => Answer::Silence,
        });
        let _connected = accept_everywhere(PORT);
        check(&files, "db.test")
    });
    finished.assert_exit(0);
}

#[test]
fn a_health_check_passes_over_a_search_domain_that_fails() {
    let finished = in_network(|| {
        let files = Files::new(
            Some("nameserver 127.0.0.1\nsearch a.test b.test c.test good.test\n"),
            "",
        );
        let _server = NameServer::start(|name, _| match name {
            "db.good.test" => address("127.0.0.7"),
            _ => Answer::Code(SERVFAIL),
        });
        let _connected = accept_everywhere(PORT);
        check(&files, "db")
    });
    finished.assert_exit(0);
}

#[test]
fn no_such_name_is_told_from_a_name_server_that_does_not_tell() {
    let table = [
        (Some(Answer::Code(NXDOMAIN)), "no such host"),
        (Some(Answer::Addresses(Vec::new())), "no such host"),
        (
            Some(Answer::Code(SERVFAIL)),
            "the name server fails, refuses or does not answer",
        ),
        (
            Some(Answer::Code(REFUSED)),
            "the name server fails, refuses or does not answer",
        ),
        (
            Some(Answer::Silence),
            "the name server fails, refuses or does not answer",
        ),
        (None, "there is no /etc/resolv.conf"),
    ];
    let started = table.map(|(answer, words)| {
        let checked = start_in_network(move || {
            let settings = "nameserver 127.0.0.1\nsearch corp.test\n";
            let files = Files::new(answer.is_some().then_some(settings), "");
            let _server = answer.map(|answer| NameServer::start(move |_, _| answer.clone()));
            check(&files, "db")
        });
        (checked, words)
    });
    for (checked, words) in started {
        let checked = result(checked);
        checked
            .assert_exit(1)
            .assert_stderr_contains(&format!("db:{PORT}: can't resolve db: {words}"));
        assert!(checked.stderr.len() < 200, "{checked}");
    }
}

#[test]
fn postgres_and_http_have_the_same_resolver() {
    let started = ["postgres", "http", "redis", "tcp"].map(|scheme| {
        start_in_network(move || {
            let settings = format!("nameserver 127.0.0.1\n{QUICK}search bad.test good.test\n");
            let files = Files::new(Some(&settings), "");
            let _server = NameServer::start(|name, family| match (name, family) {
                ("db.good.test", Family::V4) => address("127.0.0.7"),
                _ => Answer::Code(SERVFAIL),
            });
            let user = if scheme == "tcp" { "" } else { "u:p4ssw0rd@" };
            let target = format!("{scheme}://{user}db:{PORT}");
            let mut process = files.around(Run::portero().args(["wait", &target])).start();
            // It gets as far as the port, where nobody listens.
            process.until_stderr("ECONNREFUSED");
            let said = process.stderr();
            assert!(!said.contains("p4ssw0rd"), "{said}");
        })
    });
    started.into_iter().for_each(result);
}

#[test]
fn a_silent_name_server_does_not_make_threads_pile_up() {
    let threads = in_network(|| {
        let settings = "nameserver 127.0.0.1\nsearch a.test b.test\noptions timeout:30\n";
        let files = Files::new(Some(settings), "");
        let _server = NameServer::start(|_, _| Answer::Silence);
        // Two targets of one name: they share the look-ups.
        let targets = [format!("db:{PORT}"), format!("http://db:{PORT}/")];
        let run = Run::portero()
            .args(["wait", "--wait-timeout", "60s"])
            .args(targets);
        let mut process = files.around(run).start();
        let most = std::cell::Cell::new(0);
        process.until(
            |process| {
                let threads = process.status_field("Threads").parse().unwrap_or(0);
                most.set(most.get().max(threads));
                process.stderr().contains("(10s of 60s)")
            },
            "a sign of life after several tries",
        );
        most.get()
    });
    // Two that wait, one that listens, one for signals; three names in two families.
    assert!(threads >= 8, "{threads} threads: nobody looked anything up");
    assert!(threads <= 4 + 6, "{threads} threads");
}
