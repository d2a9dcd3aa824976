//! `--keep-cap`: exactly what was asked for outlives the drop, in every set, for portero and for COMMAND.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use common::process::field;
use common::{Run, TempDir, tool};

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
const NET_BIND_SERVICE: &str = "0000000000000400";
const NONE: &str = "0000000000000000";

/// The sets in the text of a /proc/PID/status, in the order of `SETS`.
fn sets(status: &str) -> Vec<String> {
    SETS.iter()
        .map(|name| field(status, name).unwrap_or_default())
        .collect()
}

fn keeping(names: &[&str], command: &[&str]) -> Run {
    let run = Run::as_pid1().args(["--user", "1234:1234"]);
    let run = names
        .iter()
        .fold(run, |run, name| run.args(["--keep-cap", name]));
    run.arg("--").args(command)
}

/// What docker gives with `--cap-drop ALL` and some `--cap-add`: root, and these in the bounding set.
fn only(capabilities: &str) -> Vec<String> {
    vec![
        tool("setpriv").to_str().unwrap().into(),
        format!("--bounding-set=-all,{capabilities}"),
    ]
}

#[test]
fn what_is_kept_is_in_every_set_of_command_and_of_pid_1_and_nothing_else_is() {
    let table: [(&[&str], &str); 5] = [
        (&["net_bind_service"], NET_BIND_SERVICE),
        (&["CAP_NET_BIND_SERVICE"], NET_BIND_SERVICE),
        (&["cap_net_bind_service", "NET_RAW"], "0000000000002400"),
        (
            &["chown", "chown", "checkpoint_restore"],
            "0000010000000001",
        ),
        (&["kill setuid"], "00000000000000a0"),
    ];
    for (names, mask) in table {
        let script = "cat /proc/self/status; echo ready; exec sleep 1000";
        let mut process = keeping(names, &["sh", "-c", script]).start();
        process.until_stdout("ready");
        assert_eq!(sets(&process.stdout()), [mask; 5], "COMMAND{process}");
        let own: Vec<String> = SETS.map(|name| process.status_field(name)).into();
        assert_eq!(own, [mask; 5], "PID 1{process}");
        assert_eq!(process.status_field("Uid"), "1234 1234 1234 1234");
        assert_eq!(process.status_field("NoNewPrivs"), "1");
        assert_eq!(process.stderr(), "", "{process}");
    }
}

#[test]
fn command_binds_port_80_under_no_new_privs_only_when_it_keeps_the_right() {
    let script = "import socket; socket.socket().bind(('127.0.0.1', 80)); print('bound')";
    let python = tool("python3");
    let command = [python.to_str().unwrap(), "-c", script];
    // A network namespace of its own has the kernel's own first unprivileged port, 1024, and no other port 80.
    let unshare = tool("unshare");
    let network = [unshare.to_str().unwrap(), "--net"];
    keeping(&["net_bind_service"], &command)
        .via(network)
        .exits(0)
        .assert_stdout("bound\n")
        .assert_stderr("");
    keeping(&[], &command)
        .via(network)
        .exits(1)
        .assert_stderr_contains("PermissionError");
}

#[test]
fn a_program_with_a_file_capability_runs_when_that_is_kept_and_says_so_when_not() {
    let directory = TempDir::new();
    let program = directory.join("capable");
    std::fs::copy(tool("cat"), &program).unwrap();
    // struct vfs_cap_data, revision 2, effective, permitted: net_bind_service (include/uapi/linux/capability.h).
    let script = "import os, struct, sys; os.setxattr(sys.argv[1], 'security.capability', \
                  struct.pack('<5I', 0x02000001, 0x400, 0, 0, 0))";
    Run::program(tool("python3"))
        .args(["-c", script])
        .arg(&program)
        .exits(0);
    let command = [program.to_str().unwrap(), "/proc/self/status"];
    let kept = keeping(&["net_bind_service"], &command).finish();
    kept.assert_exit(0);
    assert_eq!(
        field(&kept.stdout, "CapEff").unwrap(),
        NET_BIND_SERVICE,
        "{kept}"
    );
    keeping(&[], &command)
        .exits(126)
        .assert_one_error_line()
        .assert_stderr_contains("--keep-cap");
}

#[test]
fn a_capability_that_the_container_lacks_is_refused_by_name_before_anything_is_done() {
    let directory = TempDir::new();
    let mark = directory.join("started");
    let touch = ["touch", mark.to_str().unwrap()];
    let finished = keeping(&["net_bind_service", "sys_time", "setuid"], &touch)
        .via(only("+setuid,+setgid,+setpcap"))
        .finish();
    finished
        .assert_exit(125)
        .assert_one_error_line()
        .assert_stderr_contains("does not have NET_BIND_SERVICE, SYS_TIME: ")
        .assert_stderr_contains("--cap-add");
    assert!(!mark.exists(), "COMMAND was started{finished}");
}

#[test]
fn it_is_kept_under_cap_drop_all_too_and_without_setpcap_the_bounding_set_stays() {
    let status = ["cat", "/proc/self/status"];
    let table = [
        (
            "+setuid,+setgid,+setpcap,+net_bind_service",
            NET_BIND_SERVICE,
        ),
        ("+setuid,+setgid,+net_bind_service", "00000000000004c0"),
    ];
    for (given, bounding) in table {
        let finished = keeping(&["net_bind_service"], &status)
            .via(only(given))
            .finish();
        finished.assert_exit(0).assert_stderr("");
        let kept = NET_BIND_SERVICE;
        assert_eq!(
            sets(&finished.stdout),
            [kept, kept, kept, bounding, kept],
            "{given}{finished}"
        );
        assert_eq!(field(&finished.stdout, "NoNewPrivs").unwrap(), "1");
    }
}

#[test]
fn a_user_who_is_not_root_hands_on_what_the_container_gave_and_is_warned_of_a_lack() {
    let setpriv = tool("setpriv");
    let user = [setpriv.to_str().unwrap(), "--reuid=1234", "--regid=1234"];
    let ambient = [
        "--clear-groups",
        "--inh-caps=-all,+net_bind_service",
        "--ambient-caps=-all,+net_bind_service",
    ];
    let status = ["cat", "/proc/self/status"];
    let given = keeping(&["net_bind_service"], &status)
        .via(user.iter().chain(&ambient))
        .finish();
    given.assert_exit(0).assert_stderr("");
    assert_eq!(
        field(&given.stdout, "CapEff").unwrap(),
        NET_BIND_SERVICE,
        "{given}"
    );
    let lacking = keeping(&["net_bind_service"], &status)
        .user(1234, 1234)
        .finish();
    lacking
        .assert_exit(0)
        .assert_one_error_line()
        .assert_stderr_contains("warning: --keep-cap: ")
        .assert_stderr_contains("NET_BIND_SERVICE");
    assert_eq!(field(&lacking.stdout, "CapEff").unwrap(), NONE, "{lacking}");
}

#[test]
fn allow_new_privileges_leaves_the_bounding_set_and_keeps_no_more_than_was_asked() {
    let before = std::fs::read_to_string("/proc/self/status").unwrap();
    let finished = Run::as_pid1()
        .args(["--user", "1234:1234", "--keep-cap", "net_bind_service"])
        .args(["--allow-new-privileges", "--", "cat", "/proc/self/status"])
        .finish();
    finished.assert_exit(0).assert_stderr("");
    let kept = NET_BIND_SERVICE;
    let bounding = field(&before, "CapBnd").unwrap();
    assert_eq!(
        sets(&finished.stdout),
        [kept, kept, kept, &bounding, kept],
        "{finished}"
    );
    assert_eq!(field(&finished.stdout, "NoNewPrivs").unwrap(), "0");
}

#[test]
fn what_is_no_capability_is_refused() {
    for name in ["all", "net_bind", "10", "net_bind_service,chown"] {
        keeping(&[name], &["true"])
            .refused()
            .assert_stderr_contains("is not a capability");
    }
}
