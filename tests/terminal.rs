//! On a real pseudo-terminal, as `docker run -it` gives one: keys, jobs, sizes, hang-ups, and whose the foreground is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic)]
#![allow(clippy::type_complexity)]

mod common;

use std::fs;

use common::server::unused_port;
use common::{DEADLINE, Ended, Run, TempDir, Terminal, both_places, poll_until, portero};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";
const CTRL_D: &str = "\x04";
const CTRL_BACKSLASH: &str = "\x1c";

/// A shell as people use one, with a prompt that nothing else prints.
const BASH: [&str; 3] = ["/bin/bash", "--norc", "-i"];

/// bash under portero, or portero under bash.
fn with_prompt(run: Run) -> Terminal {
    // No line editing: it would repaint what is typed.
    let run = run
        .env("PS1", "prompt> ")
        .env("TERM", "dumb")
        .env("PORTERO", portero());
    let mut terminal = Terminal::start(run);
    terminal.expect("prompt> ", DEADLINE);
    terminal
}

/// Types a line and waits for what it brings.
#[track_caller]
fn line(terminal: &mut Terminal, keys: &str, expected: &[&str]) {
    terminal.send(&format!("{keys}\n"));
    for text in expected {
        terminal.expect(text, DEADLINE);
    }
}

/// Waits for the next prompt, and asks the shell for the last status.
#[track_caller]
fn expect_status(terminal: &mut Terminal, code: i32) {
    terminal.expect("prompt> ", DEADLINE);
    line(
        terminal,
        "echo status=$?.",
        &[&format!("status={code}."), "prompt> "],
    );
}

#[track_caller]
fn ends_with(terminal: &mut Terminal, code: i32) {
    let ended = terminal.wait(DEADLINE);
    assert_eq!(ended, Ended::Code(code), "{}", terminal.screen());
}

/// Ctrl-Z stops what is in the foreground, and the shell has its prompt again.
fn ctrl_z(terminal: &mut Terminal) {
    terminal.send(CTRL_Z);
    terminal.expect("Stopped", DEADLINE);
    terminal.expect("prompt> ", DEADLINE);
}

fn resume_cat(terminal: &mut Terminal) {
    line(terminal, "fg", &["-- cat"]);
    terminal.until_foreground("cat");
}

#[test]
fn an_interactive_bash_has_job_control_under_portero() {
    for options in [&[][..], &["--signal-group"]] {
        for run in both_places() {
            let terminal = &mut with_prompt(run.args(options).arg("--").args(BASH));
            line(terminal, "sleep 1000; echo after", &[]);
            terminal.until_foreground("sleep");
            ctrl_z(terminal);
            line(terminal, "fg", &["sleep 1000"]);
            terminal.until_foreground("sleep");
            terminal.send(CTRL_C);
            expect_status(terminal, 130);

            line(terminal, "sleep 1000", &[]);
            terminal.until_foreground("sleep");
            ctrl_z(terminal);
            line(terminal, "bg; jobs", &["Running", "prompt> "]);
            line(terminal, "kill %1; wait %1", &[]);
            expect_status(terminal, 143);

            // A background reader is stopped by TTIN, and reads once it is in the foreground.
            line(terminal, "cat &", &[]);
            terminal.expect("prompt> ", DEADLINE);
            line(terminal, "wait %1; jobs", &["Stopped", "prompt> "]);
            line(terminal, "fg", &["cat"]);
            line(terminal, "over", &["over\r\nover\r\n"]);
            terminal.send(CTRL_D);
            expect_status(terminal, 0);

            line(terminal, "exit 5", &[]);
            ends_with(terminal, 5);
            assert!(
                !terminal.screen().contains("no job control"),
                "{}",
                terminal.screen()
            );
        }
    }
}

#[test]
fn keys_reach_the_whole_foreground_job_and_end_the_run() {
    for options in [&[][..], &["--signal-group"]] {
        for (key, code) in [(CTRL_C, 130), (CTRL_BACKSLASH, 131)] {
            for run in both_places() {
                let script = "ulimit -c 0; echo ready; sleep 1000";
                let terminal =
                    &mut Terminal::start(run.args(options).args(["--", "sh", "-c", script]));
                terminal.expect("ready", DEADLINE);
                // dash loses a key that comes while it forks.
                terminal.until_foreground("sleep");
                terminal.send(key);
                ends_with(terminal, code);
            }
        }
    }
}

#[test]
fn a_job_of_a_shell_above_is_stopped_continued_and_ended_as_any_other() {
    for run in [Run::program(BASH[0]).pid1(), Run::program(BASH[0])] {
        let terminal = &mut with_prompt(run.args(&BASH[1..]));
        line(terminal, "$PORTERO -- cat", &[]);
        terminal.until_foreground("cat");
        line(terminal, "one", &["one\r\none\r\n"]);
        ctrl_z(terminal);
        line(terminal, "echo still=here", &["still=here\r\n", "prompt> "]);
        resume_cat(terminal);
        line(terminal, "two", &["two\r\ntwo\r\n"]);
        // Once more: portero has been stopped and continued before.
        ctrl_z(terminal);
        resume_cat(terminal);
        terminal.send(CTRL_C);
        expect_status(terminal, 130);

        // Started in the background, it must leave the foreground to the shell, and read only when it is given it.
        line(terminal, "$PORTERO -- cat &", &["prompt> "]);
        line(terminal, "wait %1; jobs", &["Stopped", "prompt> "]);
        resume_cat(terminal);
        line(terminal, "three", &["three\r\nthree\r\n"]);
        terminal.send(CTRL_D);
        expect_status(terminal, 0);

        // It runs on in the background, and the foreground stays the shell's when it ends.
        line(terminal, "$PORTERO -- sleep 1000", &[]);
        terminal.until_foreground("sleep");
        ctrl_z(terminal);
        line(terminal, "bg; jobs", &["Running", "prompt> "]);
        line(terminal, "kill %1; wait %1", &[]);
        expect_status(terminal, 143);
        line(terminal, "exit 3", &[]);
        ends_with(terminal, 3);
    }
}

#[test]
fn the_foreground_goes_back_to_the_script_that_had_it() {
    let before = [
        ("$PORTERO -- sh -c 'exit 4'", 4),
        ("$PORTERO -- sh -c 'kill -9 $$'", 137),
        ("$PORTERO --orphan-grace none -- true", 0),
        // It fails when the child was given the terminal already.
        ("$PORTERO -- /no/such/command", 127),
        ("$PORTERO -- /etc/passwd", 126),
        ("$PORTERO --exec -- true", 0),
        ("$PORTERO --no-lock --migrate 'sh -c \"exit 9\"' -- true", 9),
        ("$PORTERO --wait file:///etc/passwd -- true", 0),
        ("$PORTERO wait --wait-timeout 100ms file:///no/such", 124),
    ];
    // Not interactive: one process group for all, and portero does not lead the session.
    for (command, code) in before {
        for run in [Run::program("/bin/sh").pid1(), Run::program("/bin/sh")] {
            let script = format!("{command}; echo code=$?.; read word; echo word=$word; exit 6");
            let terminal =
                &mut Terminal::start(run.args(["-c", &script]).env("PORTERO", portero()));
            terminal.expect(&format!("code={code}."), DEADLINE);
            line(terminal, "hello", &["word=hello"]);
            ends_with(terminal, 6);
        }
    }
}

/// As an editor does it: raw mode, keys one by one, the size whenever it changes.
const FULL_SCREEN: &str = r"
import os, select, signal, sys, termios, tty
before = termios.tcgetattr(0)
tty.setraw(0)
wake, waker = os.pipe()
os.set_blocking(waker, False)
signal.set_wakeup_fd(waker)
signal.signal(signal.SIGWINCH, lambda *_: None)
os.write(1, b'raw\r\n')
while True:
    ready, _, _ = select.select([0, wake], [], [])
    if wake in ready:
        for number in os.read(wake, 100):
            size = os.get_terminal_size(0)
            os.write(1, b'signal %d size %d.\r\n' % (number, size.lines))
    if 0 in ready:
        key = os.read(0, 1)
        os.write(1, b'key %d.\r\n' % key[0])
        if key == b'q':
            break
termios.tcsetattr(0, termios.TCSADRAIN, before)
sys.exit(8)
";

#[test]
fn a_full_screen_program_gets_every_key_and_every_change_of_size_once() {
    for run in both_places() {
        let terminal = &mut Terminal::start(run.args(["--", "python3", "-c", FULL_SCREEN]));
        terminal.expect("raw\r\n", DEADLINE);
        for rows in [50, 24, 10] {
            terminal.resize(rows);
            terminal.expect(&format!("signal 28 size {rows}."), DEADLINE);
        }
        for key in [3u8, 26, 4, 28, b'x', b'q'] {
            terminal.send(&char::from(key).to_string());
            terminal.expect(&format!("key {key}."), DEADLINE);
        }
        ends_with(terminal, 8);
        let screen = terminal.screen();
        assert_eq!(screen.matches("signal 28").count(), 3, "{screen}");
    }
}

#[test]
fn a_hang_up_reaches_command_and_portero_ends_with_it() {
    let directory = TempDir::new();
    for (index, run) in both_places().into_iter().enumerate() {
        let mark = directory.join(index.to_string());
        let script = "trap 'echo hangup > $0; exit 7' HUP; echo ready; while :; do sleep 0.1; done";
        let terminal = &mut Terminal::start(run.args(["--", "sh", "-c", script]).arg(&mark));
        terminal.expect("ready", DEADLINE);
        terminal.hang_up();
        ends_with(terminal, 7);
        assert_eq!(fs::read_to_string(&mark).unwrap(), "hangup\n");
    }
    for run in both_places() {
        let terminal =
            &mut Terminal::start(run.args(["--", "sh", "-c", "echo ready; exec sleep 1000"]));
        terminal.expect("ready", DEADLINE);
        terminal.hang_up();
        ends_with(terminal, 129);
    }
}

#[test]
fn a_hang_up_ends_bash_and_its_jobs() {
    for run in both_places() {
        let terminal = &mut with_prompt(run.arg("--").args(BASH));
        line(terminal, "sleep 1000 &", &["prompt> "]);
        line(terminal, "sleep 2000", &[]);
        terminal.until_foreground("sleep");
        let pids = common::process::tree(terminal.pid());
        assert_eq!(pids.len(), 4, "{}", terminal.screen());
        terminal.hang_up();
        terminal.wait(DEADLINE);
        for pid in pids {
            assert!(kill(Pid::from_raw(pid), None).is_err(), "{pid} is left");
        }
    }
}

/// A step before COMMAND that does not end by itself, and what it says when it has begun.
fn steps() -> Vec<(Vec<String>, String)> {
    let address = format!("tcp://127.0.0.1:{}", unused_port());
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    vec![
        (
            words(&["--wait", &address]),
            address["tcp://".len()..].to_owned(),
        ),
        (
            words(&[
                "--no-lock",
                "--migrate",
                "sh -c 'echo begun; exec sleep 1000'",
            ]),
            "begun".to_owned(),
        ),
        (
            words(&[
                "--no-lock",
                "--migrate",
                "bash -c 'trap \"exit 0\" INT HUP; echo begun; while true; do sleep 0.1; done'",
            ]),
            "begun".to_owned(),
        ),
    ]
}

#[test]
fn ctrl_c_or_a_hang_up_during_a_step_ends_the_run_and_command_is_never_started() {
    for (options, begun) in steps() {
        for (run, hang_up) in both_places()
            .into_iter()
            .zip([false, true])
            .chain(both_places().into_iter().zip([true, false]))
        {
            let directory = TempDir::new();
            let mark = directory.join("started");
            let terminal =
                &mut Terminal::start(run.args(&options).args(["--", "touch"]).arg(&mark));
            terminal.expect(&begun, DEADLINE);
            if hang_up {
                terminal.hang_up();
            } else {
                terminal.send(CTRL_C);
            }
            ends_with(terminal, if hang_up { 129 } else { 130 });
            assert!(!mark.exists(), "COMMAND was started: {}", terminal.screen());
        }
    }
}

#[test]
fn a_step_is_stopped_and_continued_with_portero_under_a_shell() {
    for (options, begun) in steps() {
        let terminal = &mut with_prompt(Run::program(BASH[0]).args(&BASH[1..]));
        let quoted: Vec<String> = options
            .iter()
            .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
            .collect();
        line(
            terminal,
            &format!("$PORTERO {} -- true", quoted.join(" ")),
            &["\r\n"],
        );
        terminal.expect(&begun, DEADLINE);
        ctrl_z(terminal);
        line(terminal, "fg", &["\r\n", "-- true"]);
        // While a stage runs, portero has its name.
        let is_wait = options[0] == "--wait";
        terminal.until_foreground(if is_wait {
            "portero-wait"
        } else {
            "portero-migrate"
        });
        terminal.send(CTRL_C);
        expect_status(terminal, 130);
    }
}

#[test]
fn with_a_closed_stdin_the_terminal_is_found_by_the_other_streams() {
    for streams in [
        "<&-",
        "</dev/null",
        "<&- >/dev/null",
        "</dev/null 2>/dev/null",
    ] {
        for run in [Run::program("/bin/sh").pid1(), Run::program("/bin/sh")] {
            let script = format!(
                "exec $PORTERO -- sh -c 'echo ready > /dev/tty; exec sleep 1000' {streams}"
            );
            let terminal =
                &mut Terminal::start(run.args(["-c", &script]).env("PORTERO", portero()));
            terminal.expect("ready", DEADLINE);
            terminal.until_foreground("sleep");
            terminal.send(CTRL_C);
            ends_with(terminal, 130);
        }
    }
}

#[test]
fn a_terminal_that_does_not_control_the_session_is_just_a_stream() {
    for run in both_places() {
        let terminal = &mut Terminal::start_without_control(run.args(["--", "cat"]));
        line(terminal, "hello", &["hello\r\nhello\r\n"]);
        terminal.send(CTRL_D);
        ends_with(terminal, 0);
    }
}

#[test]
fn where_no_shell_could_continue_it_ctrl_z_does_not_stop_command() {
    for options in [&[][..], &["--signal-group"]] {
        for run in both_places() {
            let terminal = &mut Terminal::start(run.args(options).args(["--", "cat"]));
            terminal.until_foreground("cat");
            for word in ["one", "two", "three"] {
                terminal.send(CTRL_Z);
                line(terminal, word, &[&format!("{word}\r\n{word}\r\n")]);
            }
            terminal.send(CTRL_C);
            ends_with(terminal, 130);
        }
    }
}

#[test]
fn a_command_that_was_stopped_from_outside_stays_so_and_still_ends_when_it_is_told_to() {
    for run in both_places() {
        let terminal =
            &mut Terminal::start(run.args(["--", "sh", "-c", "echo ready; exec sleep 1000"]));
        terminal.expect("ready", DEADLINE);
        let pid = terminal.pid();
        kill(Pid::from_raw(pid), Signal::SIGTSTP).unwrap();
        let state_is = |wanted| {
            let state = || {
                let command = *common::process::children(pid).first()?;
                common::inits::status(command, "State")?
                    .starts_with(wanted)
                    .then_some(())
            };
            let came = poll_until(DEADLINE, state);
            assert!(came.is_some(), "never {wanted}");
        };
        state_is('T');
        kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
        state_is('S');
        kill(Pid::from_raw(pid), Signal::SIGTSTP).unwrap();
        state_is('T');
        // It is looked at once more: nothing has continued it meanwhile.
        terminal.send("x");
        state_is('T');
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        ends_with(terminal, 143);
    }
}

/// As an editor or a pager that puts the screen in order before it stops.
const PAUSES_ITSELF: &str = r"
import os, signal, sys
def pause(*_):
    os.write(1, b'screen restored\r\n')
    os.kill(0 if sys.argv[1] == 'group' else os.getpid(), signal.SIGSTOP)
    os.write(1, b'screen redrawn\r\n')
signal.signal(signal.SIGTSTP, pause)
os.write(1, b'begun\r\n')
for line in sys.stdin:
    os.write(1, b'got ' + line.encode())
";

#[test]
fn a_program_that_handles_ctrl_z_and_stops_itself_gives_the_shell_above_back() {
    for options in ["", "--signal-group "] {
        for who in ["itself", "group"] {
            for run in [Run::program(BASH[0]).pid1(), Run::program(BASH[0])] {
                let run = run.args(&BASH[1..]).env("PROGRAM", PAUSES_ITSELF);
                let terminal = &mut with_prompt(run);
                let command = format!("$PORTERO {options}-- python3 -c \"$PROGRAM\" {who}");
                line(terminal, &command, &["begun"]);
                for word in ["one", "two"] {
                    terminal.until_foreground("python3");
                    terminal.send(CTRL_Z);
                    terminal.expect("screen restored", DEADLINE);
                    terminal.expect("Stopped", DEADLINE);
                    terminal.expect("prompt> ", DEADLINE);
                    line(terminal, "fg", &["screen redrawn"]);
                    terminal.until_foreground("python3");
                    line(terminal, word, &[&format!("got {word}")]);
                }
                terminal.send(CTRL_D);
                expect_status(terminal, 0);
                line(terminal, "exit 3", &[]);
                ends_with(terminal, 3);
            }
        }
    }
}

#[test]
fn a_tstp_ttin_or_ttou_from_outside_stops_portero_and_command_until_cont() {
    for signal in ["TSTP", "TTIN", "TTOU"] {
        let terminal = &mut with_prompt(Run::program(BASH[0]).args(&BASH[1..]));
        line(terminal, "$PORTERO -- cat", &[]);
        terminal.until_foreground("cat");
        let portero = common::process::children(terminal.pid())[0];
        let number = signal.parse::<Signal>();
        let number = number.or_else(|_| format!("SIG{signal}").parse()).unwrap();
        kill(Pid::from_raw(portero), number).unwrap();
        terminal.expect("Stopped", DEADLINE);
        terminal.expect("prompt> ", DEADLINE);
        resume_cat(terminal);
        line(terminal, "one", &["one\r\none\r\n"]);
        terminal.send(CTRL_C);
        expect_status(terminal, 130);
    }
}

/// As `npm start` at a terminal: Ctrl-C ends the launcher at once, and its server drains, unless it gets another
/// signal.
const LAUNCHER: &str = r"
import os, signal, sys, time
read, write = os.pipe()
if os.fork() == 0:
    def drain(*_):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: (os.write(1, b'cut\r\n'), os._exit(1)))
        os.write(1, b'drains\r\n')
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            time.sleep(0.05)
        os.write(1, b'drained\r\n')
        os._exit(0)
    signal.signal(signal.SIGINT, drain)
    signal.signal(signal.SIGTERM, drain)
    os.write(write, b'.')
    while True:
        time.sleep(1000)
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
os.read(read, 1)
os.write(1, b'ready\r\n')
while True:
    time.sleep(1000)
";

#[test]
fn who_has_had_a_key_with_the_foreground_gets_no_second_stop() {
    for options in [&[][..], &["--signal-group"]] {
        for run in both_places() {
            let run = run.args(options).args(["--orphan-grace", "100ms"]);
            let terminal = &mut Terminal::start(run.args(["--", "python3", "-c", LAUNCHER]));
            terminal.expect("ready", DEADLINE);
            terminal.send(CTRL_C);
            ends_with(terminal, 130);
            // What was written last may reach the screen after the end; who is cut never writes it.
            terminal.expect("drained", DEADLINE);
        }
    }
}
