use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A /proc of our own making.
struct Proc(PathBuf);

impl Drop for Proc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Name, PID, parent, process group, command line.
type Process<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

/// Every process has started 5 s after boot; the prober is named `prober`.
fn proc(processes: &[Process<'_>]) -> Proc {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let root = std::env::temp_dir().join(format!("portero-proc-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    let prober = ("prober", "self", "0", "90", "/prober\0healthcheck\0");
    for (name, pid, parent, group, line) in processes.iter().chain([&prober]) {
        let zeros = "0 ".repeat(16);
        let stat = format!("{pid} ({name}) S {parent} {group} {zeros}500 1 2\n");
        fs::create_dir_all(root.join(pid)).unwrap();
        fs::write(root.join(pid).join("stat"), stat).unwrap();
        fs::write(root.join(pid).join("cmdline"), line).unwrap();
    }
    fs::create_dir_all(root.join("sys")).unwrap();
    Proc(root)
}

fn found(processes: &[Process<'_>]) -> Option<String> {
    let proc = proc(processes);
    find(&proc.0, Duration::from_secs(105)).map(|progress| progress.to_string())
}

const MIGRATE: &str = "portero\0migrate\0";

#[test]
fn a_stage_is_the_job_of_an_init_of_porteros() {
    let init = ("portero-migrate", "1", "0", "1", "/portero\0--\0uvicorn\0");
    let waiting = ("portero-wait", "1", "0", "1", "/portero\0--\0uvicorn\0");
    let waits = [waiting, ("exe", "7", "1", "7", "portero\0wait\0")];
    assert_eq!(
        found(&waits).as_deref(),
        Some("portero is still waiting (1m40s)")
    );
    let said = Some("portero is still migrating (1m40s)".to_owned());
    assert_eq!(found(&[init, ("exe", "7", "1", "7", MIGRATE)]), said);
    // Without /proc a stage is started by the path of the binary.
    assert_eq!(found(&[init, ("prober", "7", "1", "7", MIGRATE)]), said);

    // docker run -t: it stays in the foreground with the init.
    assert_eq!(found(&[init, ("exe", "7", "1", "1", MIGRATE)]), said);

    // docker run --init.
    let docker_init = ("docker-init", "1", "0", "1", "/sbin/docker-init\0");
    let below = ("portero-migrate", "7", "1", "7", "/portero\0--\0uvicorn\0");
    let stage = ("exe", "8", "7", "8", MIGRATE);
    assert_eq!(found(&[docker_init, below, stage]), said);
    // A name may hold what separates names.
    let odd = ("(a) S 1 (b", "2", "1", "2", "x\0");
    assert_eq!(found(&[init, odd, ("exe", "7", "1", "7", MIGRATE)]), said);
}

#[test]
fn what_somebody_else_runs_is_no_stage() {
    let init = ("portero-migrate", "1", "0", "1", "/portero\0--\0uvicorn\0");
    let over = ("portero", "1", "0", "1", "/portero\0--\0uvicorn\0");
    let command = ("uvicorn", "7", "1", "7", "/usr/bin/python3\0uvicorn\0");
    let table: [(&str, &[Process<'_>]); 9] = [
        ("nothing", &[init, command]),
        ("docker exec", &[init, ("portero", "9", "0", "9", MIGRATE)]),
        (
            "a nested init",
            &[
                init,
                (
                    "portero-wait",
                    "8",
                    "0",
                    "8",
                    "portero\0--wait\0x:1\0bash\0",
                ),
                ("exe", "9", "8", "9", "portero\0wait\0"),
            ],
        ),
        (
            "a COMMAND that calls itself an init",
            &[
                over,
                ("portero-migrate", "7", "1", "7", "sh\0"),
                ("exe", "8", "7", "8", MIGRATE),
            ],
        ),
        (
            "an orphan",
            &[init, command, ("portero", "9", "1", "8", MIGRATE)],
        ),
        (
            "an orphan that leads a group, when the stages are over",
            &[over, command, ("exe", "9", "1", "9", MIGRATE)],
        ),
        (
            "an orphan that is another stage than the one that runs",
            &[init, ("exe", "9", "1", "9", "portero\0wait\0")],
        ),
        (
            "typed with arguments",
            &[init, ("exe", "9", "1", "9", "portero\0migrate\0--\0x\0")],
        ),
        ("a zombie", &[init, ("exe", "9", "1", "9", "")]),
    ];
    for (name, processes) in table {
        assert_eq!(found(processes), None, "{name}");
    }
    assert_eq!(
        find(Path::new("/nonexistent"), Duration::ZERO),
        None,
        "no /proc"
    );
}

#[test]
fn an_age_counts_from_the_start_of_the_process() {
    let clock = sys::time_since_boot().unwrap();
    let own = stat(Path::new("/proc"), "self").unwrap();
    let age = clock.saturating_sub(own.started);
    assert!(own.started > Duration::ZERO && own.started <= clock);
    assert!(age < Duration::from_mins(10), "{age:?}");
}
