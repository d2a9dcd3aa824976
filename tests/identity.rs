//! Who COMMAND is: never by accident, and the same under every way in which containers take rights away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::process::field;
use common::{Ended, Finished, Run, TempDir, Terminal, poll_until, tool};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n4711:x:0:0::/root:/bin/sh\n\
                      app:x:1000:1000::/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\nwheel:x:0:\napp:x:1000:\n";

/// Texts that are not plainly a user, and who COMMAND is with gosu 1.14 and with setpriv of util-linux 2.38.1 (uid and
/// gid; empty when they refuse).
const NASTY: [(&str, &str, &str); 43] = [
    ("", "0:0", ""),
    (":", "0:0", ""),
    ("::", "0:0", ""),
    (":0", "0:0", ""),
    (":1000", "0:1000", ""),
    ("+0", "0:0", "0:0"),
    ("-0", "0:0", "0:0"),
    ("00", "0:0", "0:0"),
    (" 0", "", "0:0"),
    ("0 ", "", ""),
    ("0x0", "", ""),
    ("0e0", "", ""),
    ("-1", "", "0:0"),
    ("-1:-1", "", "0:0"),
    ("4294967295", "", "0:0"),
    ("4294967296", "", "0:0"),
    ("4294967296:4294967296", "", "0:0"),
    ("18446744073709551616", "", ""),
    ("2147483648", "", "2147483648:0"),
    ("toor", "0:0", "0:0"),
    ("4711", "4711:0", "0:0"),
    ("root:", "0:0", ""),
    ("root:-1", "", "0:0"),
    ("ROOT", "", ""),
    ("1000:", "1000:1000", ""),
    ("1000:-1", "", "1000:0"),
    ("1000:+0", "1000:0", "1000:0"),
    ("1000: 0", "", "1000:0"),
    ("1000:00", "1000:0", "1000:0"),
    ("1000:4294967296", "", "1000:0"),
    ("1000:2147483648", "", "1000:2147483648"),
    ("1000:0:0", "1000:0", ""),
    ("1000:wheel", "1000:0", "1000:0"),
    ("1000.0", "", ""),
    ("01000", "1000:1000", "1000:0"),
    ("54321", "54321:0", "54321:0"),
    ("app:", "1000:1000", ""),
    ("app:4294967296", "", "1000:0"),
    ("app:0x0", "", ""),
    ("nosuchuser", "", ""),
    ("app:nosuchgroup", "", ""),
    ("root\n", "", ""),
    ("1000 ", "", ""),
];

/// The files of `PASSWD` and `GROUP`, and the script that puts them in the place of the system's.
fn accounts() -> (TempDir, String) {
    let directory = TempDir::new();
    let passwd = directory.file("passwd", PASSWD);
    let group = directory.file("group", GROUP);
    let script = format!(
        "mount --bind {} /etc/passwd; mount --bind {} /etc/group",
        passwd.display(),
        group.display()
    );
    (directory, script)
}

const WHO: [&str; 3] = ["sh", "-c", "echo $(id -u):$(id -g)"];

#[test]
fn command_never_runs_where_the_spec_is_not_plainly_a_user_whatever_others_make_of_it() {
    let (_accounts, script) = accounts();
    for (spec, ..) in NASTY {
        Run::portero()
            .args(["--user", spec, "--"])
            .args(WHO)
            .mounts(&script)
            .refused()
            .assert_stdout("");
    }
    // Nor where it is no text.
    Run::portero()
        .args(["--user"])
        .arg(OsStr::from_bytes(b"1000\xff"))
        .arg("--")
        .args(WHO)
        .refused()
        .assert_stdout("");
    let plain = [
        ("app", "1000:1000"),
        ("1000:0", "1000:0"),
        ("app:root", "1000:0"),
        ("4711:4712", "4711:4712"),
        ("root", "0:0"),
    ];
    for (spec, expected) in plain {
        Run::portero()
            .args(["--user", spec, "--"])
            .args(WHO)
            .mounts(&script)
            .exits(0)
            .assert_stdout(&format!("{expected}\n"));
    }
}

/// The table's other columns are no hearsay, as far as the very versions are there.
#[test]
fn what_others_make_of_the_same_specs_is_as_the_table_says() {
    let (_accounts, script) = accounts();
    let is = |program: &str, version: &str| {
        let said = Run::program(tool(program)).arg("--version").finish();
        said.stdout.contains(version)
    };
    let (gosu, setpriv) = (is("gosu", "1.14 "), is("setpriv", "util-linux 2.38.1"));
    let who = |run: Run| {
        let finished = run.args(WHO).mounts(&script).finish();
        let ran = finished.stdout.trim().to_owned();
        (ran, finished)
    };
    for (spec, by_gosu, by_setpriv) in NASTY {
        if gosu {
            let (ran, finished) = who(Run::program(tool("gosu")).arg(spec));
            assert_eq!(ran, by_gosu, "gosu {spec:?}{finished}");
        }
        if setpriv {
            let (user, group) = spec.split_once(':').unwrap_or((spec, "none"));
            let mut run = Run::program(tool("setpriv")).arg(format!("--reuid={user}"));
            if group != "none" {
                run = run.arg(format!("--regid={group}"));
            }
            let (ran, finished) = who(run.arg("--clear-groups"));
            assert_eq!(ran, by_setpriv, "setpriv {spec:?}{finished}");
        }
    }
    let as_root = |who: &str| who.split(':').any(|id| id == "0");
    assert!(
        NASTY.iter().filter(|(_, gosu, _)| as_root(gosu)).count() >= 10
            && NASTY
                .iter()
                .filter(|(_, _, setpriv)| as_root(setpriv))
                .count()
                >= 10,
        "a table of harmless texts"
    );
}

/// Writes to what its stdout and stderr are, as logs linked to /dev/stdout do, by every path that leads there.
const REOPEN: &str = "echo out >/dev/stdout && echo err >/dev/stderr && echo one >/proc/1/fd/1 && \
                      echo two >/proc/1/fd/2 && grep -E '^(Uid|Gid|Cap|NoNew)' /proc/1/status";

fn dropped(script: &str) -> Run {
    Run::as_pid1().args(["--user", "1234:2345", "--", "sh", "-c", script])
}

/// /proc/1/status as COMMAND sees it: nothing of root's is left.
fn assert_nothing_of_root(status: &str) {
    let ids = |id: u32| format!("{id} {id} {id} {id}");
    assert_eq!(field(status, "Uid").unwrap(), ids(1234), "{status}");
    assert_eq!(field(status, "Gid").unwrap(), ids(2345), "{status}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(
            field(status, set).unwrap(),
            "0000000000000000",
            "{set}{status}"
        );
    }
    assert_eq!(field(status, "NoNewPrivs").unwrap(), "1", "{status}");
}

#[test]
fn after_the_drop_command_can_open_its_output_again_when_that_is_a_pipe() {
    let finished = dropped(REOPEN).finish();
    finished.assert_exit(0).assert_stderr("err\ntwo\n");
    let status = finished.stdout.strip_prefix("out\none\n");
    assert_nothing_of_root(status.unwrap_or_else(|| panic!("{finished}")));
}

#[test]
fn after_the_drop_command_can_open_its_output_again_when_that_is_a_file_of_roots() {
    let directory = TempDir::new();
    let log = directory.file("log", "");
    std::fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let file = File::options().append(true).read(true).open(&log).unwrap();
    // Each is opened anew, so that each has to append.
    let script = REOPEN.replace('>', ">>");
    dropped(&script)
        .via(["sh", "-c", "exec \"$@\" >&0 2>&0", "sh"])
        .start_with(file)
        .exits(0);
    let text = std::fs::read_to_string(&log).unwrap();
    let status = text.strip_prefix("out\nerr\none\ntwo\n");
    assert_nothing_of_root(status.unwrap_or_else(|| panic!("{text}")));
}

#[test]
fn after_the_drop_command_can_open_its_output_again_when_that_is_a_terminal() {
    let mut terminal = Terminal::start(dropped(REOPEN));
    assert_eq!(
        terminal.wait(Duration::from_secs(20)),
        Ended::Code(0),
        "{}",
        terminal.screen()
    );
    // Its last lines may still be on their way.
    let is_whole = || terminal.screen().contains("NoNewPrivs").then_some(());
    poll_until(Duration::from_secs(20), is_whole);
    let text = terminal.screen().replace('\r', "");
    let status = text.strip_prefix("out\nerr\none\ntwo\n");
    assert_nothing_of_root(status.unwrap_or_else(|| panic!("{text}")));
}

/// A socket can't be opened by a path, by nobody (`socket(7)`: ENXIO); what was inherited works.
#[test]
fn after_the_drop_command_writes_to_a_socket_that_nobody_can_open_again() {
    let script = "echo out; echo err >&2; echo x >/dev/stdout || echo refused";
    for spec in ["1234:2345", "0:0"] {
        let (theirs, mut ours) = UnixStream::pair().unwrap();
        Run::as_pid1()
            .args(["--user", spec, "--", "sh", "-c", script])
            .via(["sh", "-c", "exec \"$@\" >&0 2>&0", "sh"])
            .start_with(OwnedFd::from(theirs))
            .exits(0);
        ours.set_nonblocking(true).unwrap();
        let mut text = String::new();
        let _ = ours.read_to_string(&mut text);
        let of_shell = text.contains("No such device or address");
        assert!(
            text.starts_with("out\nerr\n") && text.ends_with("refused\n") && of_shell,
            "{text}"
        );
    }
}

/// What `docker run --cap-drop ALL` with some `--cap-add` gives to root.
fn only(run: Run, capabilities: &str) -> Run {
    let setpriv = tool("setpriv");
    run.via([
        setpriv.to_str().unwrap(),
        &format!("--bounding-set=-all{capabilities}"),
    ])
}

#[test]
fn with_setuid_and_setgid_alone_the_drop_is_whole_and_without_them_it_says_what_is_missing() {
    let finished: Finished = only(dropped("cat /proc/self/status"), ",+setuid,+setgid").finish();
    finished.assert_exit(0).assert_stderr("");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(
            field(&finished.stdout, set).unwrap(),
            "0000000000000000",
            "{finished}"
        );
    }
    // To empty the bounding set takes SETPCAP; no_new_privs keeps anything from being gained through it.
    assert_eq!(
        field(&finished.stdout, "CapBnd").unwrap(),
        "00000000000000c0"
    );
    assert_eq!(field(&finished.stdout, "NoNewPrivs").unwrap(), "1");
    for (given, missing) in [
        (",+setuid", "SETGID"),
        (",+setgid", "SETUID"),
        ("", "SETGID"),
    ] {
        only(dropped("echo ran"), given)
            .refused()
            .assert_stderr_contains(&format!("--cap-add {missing}"))
            .assert_stdout("");
    }
    // Who is that user already needs nothing.
    only(dropped("echo ran").user(1234, 2345), "")
        .exits(0)
        .assert_stdout("ran\n")
        .assert_stderr("");
}

/// Becomes what follows with these ids: real and effective; the effective one is the saved one then.
const WITH_IDS: &str = r"
import os, sys
ids = [int(text) for text in sys.argv[1:5]]
os.setgroups([])
os.setresgid(ids[2], ids[3], ids[3])
os.setresuid(ids[0], ids[1], ids[1])
os.execvp(sys.argv[5], sys.argv[5:])
";

#[test]
fn root_by_any_of_its_ids_is_left_for_good() {
    for ids in [
        ["0", "1000", "0", "1000"],
        ["0", "1000", "1000", "1000"],
        ["1000", "0", "1000", "1000"],
    ] {
        let back = "import os\ntry:\n os.seteuid(0)\nexcept PermissionError:\n pass\n\
                    print(open('/proc/self/status').read())";
        let finished = Run::as_pid1()
            .via(["python3", "-c", WITH_IDS])
            .via(ids)
            .args(["--user", "1000:1000", "--", "python3", "-c", back])
            .finish();
        finished.assert_exit(0).assert_stderr("");
        for kind in ["Uid", "Gid"] {
            let shown = field(&finished.stdout, kind).unwrap();
            assert_eq!(
                shown.split_whitespace().collect::<Vec<_>>(),
                ["1000"; 4],
                "{finished}"
            );
        }
        let capabilities = field(&finished.stdout, "CapPrm").unwrap();
        assert_eq!(capabilities, "0000000000000000", "{finished}");
    }
    // Neither is one id of root's enough where none is allowed.
    Run::as_pid1()
        .via(["python3", "-c", WITH_IDS])
        .via(["0", "1000", "1000", "1000"])
        .args(["--require-non-root", "--", "true"])
        .exits(125)
        .assert_stderr_contains("--require-non-root");
}

#[test]
fn that_user_in_another_group_stays_there_and_a_warning_names_both() {
    Run::as_pid1()
        .user(1000, 1001)
        .args(["--user", "1000:2345", "--", "id", "-g"])
        .exits(0)
        .assert_stdout("1001\n")
        .assert_one_line_of("portero: warning: ")
        .assert_stderr_contains("group 1001, not 2345");
}

/// Each system call about identity, failing from the first time on or from a later one.
#[test]
fn whatever_fails_command_is_the_user_or_never_starts() {
    let calls = [
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "getresuid",
        "getresgid",
        "getgroups",
        "setgroups",
        "setresgid",
        "setresuid",
        "capget",
        "capset",
        "prctl",
        "fchown",
    ];
    std::thread::scope(|scope| {
        for call in calls {
            scope.spawn(move || {
                for (error, when) in [
                    ("EPERM", "1+"),
                    ("ENOSYS", "1+"),
                    ("EINTR", "2+"),
                    ("EAGAIN", "3+"),
                ] {
                    let inject = format!("inject={call}:error={error}:when={when}");
                    let finished = Run::as_pid1()
                        .via(["strace", "-qq", "-o", "/dev/null", "-e", &inject])
                        .args(["--user", "1234:2345", "--", "cat", "/proc/self/status"])
                        .finish();
                    if finished.ended == Ended::Code(0) {
                        let shown = field(&finished.stdout, "Uid").unwrap();
                        let uids: Vec<&str> = shown.split_whitespace().collect();
                        assert_eq!(uids, ["1234"; 4], "{call} {error} {when}{finished}");
                    } else {
                        finished.assert_exit(125).assert_stdout("");
                        assert!(
                            finished.stderr.contains("portero: --user"),
                            "{call} {error}{finished}"
                        );
                    }
                }
            });
        }
    });
}

#[test]
fn a_step_of_the_drop_that_fails_is_named() {
    let table = [
        ("capget", "(capget)"),
        ("capset", "(capset)"),
        ("getresuid", "(getresuid)"),
        ("getresgid", "(getresgid)"),
        ("setgroups", "the supplementary groups"),
        ("setresgid", "gid 2345"),
        ("setresuid", "uid 1234"),
    ];
    for (call, said) in table {
        Run::portero()
            .via(["strace", "-qq", "-o", "/dev/null", "-e"])
            .via([format!("inject={call}:error=ENOMEM")])
            .args(["--user", "1234:2345", "--keep-cap", "chown", "--", "true"])
            .refused()
            .assert_stderr_contains(said);
    }
}

#[test]
fn in_a_user_namespace_of_one_user_root_stays_and_another_user_is_refused_with_the_remedy() {
    let alone = |options: &[&str]| {
        Run::portero()
            .args(options)
            .args(["--"])
            .args(WHO)
            .via([
                tool("unshare").to_str().unwrap(),
                "--user",
                "--map-root-user",
            ])
            .finish()
    };
    for options in [&[][..], &["--user", "0"], &["--user", "root:0"]] {
        alone(options)
            .assert_exit(0)
            .assert_stdout("0:0\n")
            .assert_stderr("");
    }
    alone(&["--user", "1234:2345"])
        .assert_exit(125)
        .assert_one_error_line()
        .assert_stderr_contains("this user namespace has one user only")
        .assert_stderr_contains("/etc/subuid")
        .assert_stdout("");
    alone(&["--require-non-root"])
        .assert_exit(125)
        .assert_stdout("");
}

#[test]
fn under_an_arbitrary_uid_without_an_entry_all_that_can_be_done_is_done() {
    let finished = Run::as_pid1()
        .user(1_000_650_000, 0)
        .env("HOME", "/data")
        .line("--user app:app --require-non-root --default-port 80 --")
        .args(["sh", "-c", "echo $(id -u):$(id -g) $HOME $PORT"])
        .finish();
    // `app` is no user of this image: a wrong SPEC is one, whoever portero is.
    finished.assert_exit(125).assert_one_error_line();
    Run::as_pid1()
        .user(1_000_650_000, 0)
        .env("HOME", "/data")
        .line("--user nobody --require-non-root --default-port 80 --")
        .args(["sh", "-c", "echo $(id -u):$(id -g) $HOME $PORT"])
        .exits(0)
        .assert_stdout("1000650000:0 /data 80\n")
        .assert_one_error_line()
        .assert_stderr_contains(
            "running as uid 1000650000, which can't become 'nobody': --user is skipped",
        );
}

#[test]
fn on_a_read_only_root_the_drop_is_whole() {
    let read_only = "mount -o remount,bind,ro /";
    let finished = dropped("touch /portero-was-here 2>/dev/null || cat /proc/1/status")
        .mounts(read_only)
        .finish();
    finished.assert_exit(0).assert_stderr("");
    assert_nothing_of_root(&finished.stdout);
}

/// `FROM scratch`: the binary and nothing else; it is COMMAND itself.
#[test]
fn without_etc_proc_and_dev_a_numeric_user_is_enough() {
    let root = TempDir::new();
    let inside = root.join("portero");
    std::fs::copy(common::portero(), &inside).unwrap();
    let chroot = |spec: &str| {
        Run::program("/portero")
            .args(["--user", spec, "--", "/portero", "--version"])
            .via([tool("chroot").as_os_str(), root.path().as_os_str()])
            .finish()
    };
    chroot("1234:2345")
        .assert_exit(0)
        .assert_stdout(common::VERSION)
        .assert_stderr("");
    for spec in ["app", "1234", "1234:app", "root"] {
        chroot(spec).assert_exit(125).assert_one_error_line();
    }
}

#[test]
fn require_non_root_refuses_before_anything_runs_as_root() {
    let directory = TempDir::new();
    let mark = directory.join("ran");
    let migration = format!("touch {}", mark.display());
    let refused = |run: Run| {
        let finished = run.finish();
        finished
            .assert_exit(125)
            .assert_one_error_line()
            .assert_stderr_contains("--require-non-root: COMMAND would run as root");
        assert!(!mark.exists(), "something ran{finished}");
    };
    let options = ["--require-non-root", "--no-lock", "--migrate", &migration];
    for user in [&[][..], &["--user", "0:0"], &["--user", "root"]] {
        let run = Run::as_pid1().args(options).args(user);
        refused(run.args(["--", "touch"]).arg(&mark));
    }
    refused(
        Run::as_pid1()
            .env("PORTERO_REQUIRE_NON_ROOT", "yes")
            .args(["migrate", "--no-lock", "--", "touch"])
            .arg(&mark),
    );
    // A probe runs nothing, so it may be root.
    Run::portero()
        .env("PORTERO_REQUIRE_NON_ROOT", "yes")
        .args(["healthcheck", "file:///proc"])
        .exits(0);
}
