//! Under another init (`docker run --init`, a portero under a portero): signals and the terminal pass through both, and
//! orphans stay with the inner one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use common::inits::Init;
use common::process::children;
use common::{DEADLINE, Ended, Run, Terminal, portero};
use nix::sys::signal::Signal;

/// The inits of which one is PID 1 above portero.
fn outer() -> Vec<Init> {
    let mut inits = Init::others();
    inits.push(Init::portero());
    inits
}

fn under(init: &Init, arguments: &[&str]) -> Run {
    let mut command = vec![portero().to_str().unwrap()];
    command.extend(arguments);
    init.run(&command).pid1()
}

#[test]
fn the_inner_portero_takes_orphans_forwards_signals_and_passes_the_exit_code_on() {
    let orphan = "trap 'echo orphan got 15; exit 0' TERM; echo orphan; while :; do sleep 0.1; done";
    // TERM comes to the group, and to the orphan, which is in a session of its own, when COMMAND has ended.
    let script = "(setsid sh -c \"$0\" &); trap 'echo command got 15; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    for init in outer() {
        let arguments = ["--orphan-grace", "1h", "--", "bash", "-c", script, orphan];
        let mut process = under(&init, &arguments).start();
        process.until_stdout("orphan\n").until_stdout("ready\n");
        let inner = children(process.pid())[0];
        process.until(
            |_| children(inner).len() == 2,
            "COMMAND and the orphan as children of the inner one",
        );
        process.signal(Signal::SIGTERM);
        let finished = process.wait();
        finished
            .assert_exit(7)
            .assert_stdout_contains("ready\n")
            .assert_stdout_contains("command got 15\norphan got 15\n");
    }
}

#[test]
fn job_control_works_under_two_inits() {
    // catatonit leaves the terminal's signals blocked.
    for init in outer().iter().filter(|init| init.name != "catatonit") {
        let run = under(init, &["--", "/bin/bash", "--norc", "-i"]).env("PS1", "prompt> ");
        let mut terminal = Terminal::start(run);
        terminal.expect("prompt> ", DEADLINE);
        terminal.send("sleep 1000\n");
        terminal.until_foreground("sleep");
        terminal.send("\x1a");
        terminal.expect("Stopped", DEADLINE);
        terminal.expect("prompt> ", DEADLINE);
        terminal.send("fg\n");
        terminal.until_foreground("sleep");
        terminal.send("\x03");
        terminal.expect("prompt> ", DEADLINE);
        terminal.send("echo code=$?.; exit 5\n");
        terminal.expect("code=130.", DEADLINE);
        assert_eq!(
            terminal.wait(DEADLINE),
            Ended::Code(5),
            "{init:?}\n{}",
            terminal.screen()
        );
    }
}
