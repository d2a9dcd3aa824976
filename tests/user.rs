//! The drop from root: that it is whole, that it covers portero itself, that nothing odd is taken for a user.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use common::process::field;
use common::{Process, Run, TempDir};

/// The identity fields of proc(5).
const FIELDS: [&str; 9] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
];

fn assert_identity(status: impl Fn(&str) -> String, uid: u32, gid: u32, groups: &str, who: &str) {
    let none = "0000000000000000";
    let four = |id: u32| format!("{id} {id} {id} {id}");
    let expected = [
        four(uid),
        four(gid),
        groups.into(),
        none.into(),
        none.into(),
        none.into(),
        none.into(),
        none.into(),
        "1".into(),
    ];
    // Whether the primary group is listed among the others makes no difference.
    let others = |list: &str| {
        list.split(' ')
            .filter(|group| *group != gid.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (name, expected) in FIELDS.iter().zip(expected) {
        if *name == "Groups" {
            assert_eq!(others(&status(name)), others(&expected), "{name} of {who}");
            continue;
        }
        assert_eq!(status(name), expected, "{name} of {who}");
    }
}

fn assert_dropped(spec: &str, uid: u32, gid: u32, groups: &str) {
    let script = "cat /proc/self/status; echo ready; exec sleep 1000";
    let mut process: Process = Run::as_pid1()
        .args(["--user", spec, "--", "sh", "-c", script])
        .start();
    process.until_stdout("ready");
    let command = process.stdout();
    assert_identity(
        |name| field(&command, name).unwrap(),
        uid,
        gid,
        groups,
        &format!("COMMAND, --user {spec}"),
    );
    assert_identity(
        |name| process.status_field(name),
        uid,
        gid,
        groups,
        &format!("PID 1, --user {spec}"),
    );
    assert_eq!(process.stderr(), "", "{process}");
}

#[test]
fn a_numeric_user_drops_command_and_portero_itself_completely() {
    assert_dropped("1234:2345", 1234, 2345, "");
    assert_dropped("65534:0", 65534, 0, "");
    assert_dropped("2147483647:2147483647", 2_147_483_647, 2_147_483_647, "");
}

#[test]
fn a_named_user_brings_its_groups_unless_a_group_is_given() {
    // `postgres` is in the group ssl-cert, too; every Debian has nobody:nogroup, daemon and www-data.
    let id = |arguments: &[&str]| {
        Run::program("/usr/bin/id")
            .args(arguments)
            .finish()
            .stdout
            .trim()
            .to_owned()
    };
    let uid: u32 = id(&["-u", "postgres"]).parse().unwrap();
    let gid: u32 = id(&["-g", "postgres"]).parse().unwrap();
    let mut groups: Vec<u32> = id(&["-G", "postgres"])
        .split(' ')
        .map(|id| id.parse().unwrap())
        .collect();
    groups.sort_unstable();
    let listed = groups
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    assert_dropped("postgres", uid, gid, &listed);
    assert_dropped(&uid.to_string(), uid, gid, &listed);
    assert_dropped("postgres:daemon", uid, 1, "1");
    assert_dropped("www-data:4242", 33, 4242, "4242");
}

#[test]
fn the_variables_of_the_user_are_set() {
    let table = [
        ("nobody", None, "nobody nobody /nonexistent"),
        ("nobody", Some("/root"), "nobody nobody /nonexistent"),
        ("nobody", Some("/"), "nobody nobody /nonexistent"),
        ("nobody", Some("/data"), "nobody nobody /data"),
    ];
    for (spec, home, expected) in table {
        let mut run = Run::portero()
            .arg("--user")
            .arg(spec)
            .line("-- sh -c 'echo $USER $LOGNAME $HOME'");
        if let Some(home) = home {
            run = run.env("HOME", home);
        }
        run.exits(0).assert_stdout(&format!("{expected}\n"));
    }
    let script = "echo $HOME";
    Run::portero()
        .args(["--user", "4242:4242", "--", "sh", "-c", script])
        .exits(0)
        .assert_stdout("/\n");
}

#[test]
fn nothing_odd_is_taken_for_a_user_and_command_is_never_started() {
    let specs = "-1|4294967296|4294967295|2147483648|18446744073709551616|1000:|:|:1000|+0|0x0|1e3| 0|0 | |\t|\
        1000:-1|1000:4294967296|1000:1000:1000|1000: 1000|nosuchuser|nobody:nosuchgroup|54321|٣:٣|1000\n|root:";
    for spec in specs.split('|') {
        let directory = TempDir::new();
        let mark = directory.join("started");
        let finished = Run::as_pid1()
            .args(["--user", spec, "--", "touch"])
            .arg(&mark)
            .finish();
        finished.assert_exit(125).assert_one_error_line();
        assert!(
            !mark.exists(),
            "COMMAND was started with --user {spec:?}{finished}"
        );
    }
}

#[test]
fn an_empty_user_is_refused_on_the_command_line_and_not_given_in_the_environment() {
    let directory = TempDir::new();
    let mark = directory.join("started");
    let finished = Run::as_pid1()
        .args(["--user", "", "--", "touch"])
        .arg(&mark)
        .finish();
    finished.assert_exit(125).assert_one_error_line();
    assert!(!mark.exists(), "COMMAND was started{finished}");
    Run::as_pid1()
        .env("PORTERO_USER", "")
        .args(["--", "id", "-u"])
        .exits(0)
        .assert_stdout("0\n");
}

#[test]
fn root_by_its_name_or_its_number_stays_root() {
    for spec in ["root", "0", "0:0", "root:root"] {
        Run::as_pid1()
            .args(["--user", spec, "--", "id", "-u"])
            .exits(0)
            .assert_stdout("0\n");
    }
}

#[test]
fn already_that_user_is_nothing_to_do() {
    Run::as_pid1()
        .user(1234, 1234)
        .args(["--user", "1234:1234", "--", "sh", "-c", "id -u; id -g"])
        .exits(0)
        .assert_stdout("1234\n1234\n")
        .assert_stderr("");
}

#[test]
fn another_user_who_is_not_root_stays_and_is_warned() {
    Run::as_pid1()
        .user(4321, 0)
        .args(["--user", "1234:1234", "--", "sh", "-c", "id -u; id -g"])
        .exits(0)
        .assert_stdout("4321\n0\n")
        .assert_one_error_line()
        .assert_stderr_contains("--user");
}

#[test]
fn the_dropped_user_can_reopen_stdout_and_stderr() {
    Run::as_pid1()
        .line("--user 1234:1234 -- sh -c 'echo out > /dev/stdout; echo err > /dev/stderr'")
        .exits(0)
        .assert_stdout("out\n")
        .assert_stderr("err\n");
}

#[test]
fn the_dropped_portero_can_still_end_its_command() {
    let mut process = Run::as_pid1()
        .line("--user 1234:1234 -- sh -c 'echo ready; exec sleep 1000'")
        .start();
    process.until_stdout("ready");
    process.signal(nix::sys::signal::Signal::SIGTERM);
    process.exits(143);
}
