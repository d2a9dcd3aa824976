//! System calls that fail: a seccomp filter hands chosen calls of portero's to the test, which lets the kernel go on
//! with them or answers with an error (`seccomp_unotify(2)`, Linux 5.5 and later).
//!
//! Only processes whose program is portero are meant, its children before they execute included: what COMMAND and the
//! harness call goes on as it is.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::process::{Finished, Process, Run};
use super::{poll_until, portero};

/// In a listener's place: the watcher is not there yet, and then: it is, and the filter is not.
const NO_WATCHER: i32 = -2;
const NO_FILTER: i32 = -1;

/// More than any architecture has calls.
const CALLS: usize = 512;

/// Which of portero's calls of a name fail, over all of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// This one, counted from 1.
    Nth(u32),
    /// Every one.
    All,
}

/// One system call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number.
    pub call: usize,
    pub errno: i32,
    pub which: Which,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = nix::errno::Errno::from_raw(self.errno);
        let which = match self.which {
            Which::Nth(number) => format!("number {number}"),
            Which::All => "all".to_owned(),
        };
        write!(f, "{} {which} {errno:?}", call_name(self.call))
    }
}

/// How often portero made each call.
pub struct Counts([AtomicU32; CALLS]);

impl Counts {
    pub fn of(&self, call: usize) -> u32 {
        self.0[call].load(Ordering::Relaxed)
    }

    /// The calls that were made at all.
    pub fn calls(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        (0..CALLS)
            .map(|call| (call, self.of(call)))
            .filter(|(_, count)| *count > 0)
    }
}

/// A process whose calls are watched.
pub struct Watched {
    pub process: Option<Process>,
    counts: Arc<Counts>,
    over: Arc<AtomicBool>,
    starter: Option<JoinHandle<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts `run` with this fault; without one every call is counted.
    pub fn start(run: Run, fault: Option<Fault>) -> Self {
        let counts = Arc::new(Counts([const { AtomicU32::new(0) }; CALLS]));
        // Not a channel: a call of the sender's would have to be answered by who waits for it to send.
        let listener = Arc::new(AtomicI32::new(NO_WATCHER));
        let watcher = {
            let (counts, listener) = (Arc::clone(&counts), Arc::clone(&listener));
            // Before the filter is there: the watcher's own calls must not wait for the watcher.
            thread::spawn(move || {
                listener.store(NO_FILTER, Ordering::Release);
                while listener.load(Ordering::Acquire) < 0 {
                    thread::sleep(Duration::from_millis(1));
                }
                watch(listener.load(Ordering::Acquire), fault, &counts);
            })
        };
        let over = Arc::new(AtomicBool::new(false));
        let (sender, process) = mpsc::channel();
        let starter = {
            let over = Arc::clone(&over);
            // A thread of its own: a filter stays for good, and goes to all that the thread starts. It stays to the
            // end: a parent-death signal comes when the thread has gone.
            thread::spawn(move || {
                // A thread's own start allocates, and would wait for a lock whose holder waits for the watcher.
                while listener.load(Ordering::Acquire) == NO_WATCHER {
                    thread::sleep(Duration::from_millis(1));
                }
                install(fault.map(|fault| fault.call), &listener);
                sender.send(run.start()).unwrap();
                while !over.load(Ordering::Acquire) {
                    thread::sleep(Duration::from_millis(2));
                }
            })
        };
        Self {
            process: process.recv().ok(),
            counts,
            over,
            starter: Some(starter),
            watcher: Some(watcher),
        }
    }

    /// Whether it ends within `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let process = self.process.as_mut().unwrap();
        poll_until(limit, || process.poll()).is_some()
    }

    /// How it ended, and what was counted.
    pub fn finish(mut self) -> (Finished, Arc<Counts>) {
        let finished = self.process.take().unwrap().wait();
        let counts = Arc::clone(&self.counts);
        drop(self);
        (finished, counts)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.process.take());
        self.over.store(true, Ordering::Release);
        for thread in [self.starter.take(), self.watcher.take()] {
            let _ = thread.unwrap().join();
        }
    }
}

/// Installs the filter for this thread, and says at once at which descriptor its calls arrive: already the end of this
/// function makes some, such as the futex(2) of an allocator that is contended.
fn install(call: Option<usize>, listener: &AtomicI32) {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = Vec::new();
    if let Some(call) = call {
        // The call's number is the first word of the data (seccomp(2)).
        program.push(statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0));
        program.push(libc::sock_filter {
            jf: 1,
            ..statement(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                u32::try_from(call).unwrap(),
            )
        });
    }
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_USER_NOTIF,
    ));
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
    ));
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program outlives the call that copies it.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    listener.store(i32::try_from(descriptor).unwrap_or(-1), Ordering::Release);
    assert!(
        descriptor >= 0,
        "seccomp can't notify: {} (root, Linux 5.5 or later)",
        std::io::Error::last_os_error()
    );
}

/// Answers every call until no process is left that the filter is on. Nothing here allocates: the thread whose call
/// waits for the answer may hold the allocator's lock.
fn watch(listener: i32, fault: Option<Fault>, counts: &Counts) {
    let mut ready = libc::pollfd {
        fd: listener,
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        // SAFETY: one pollfd, which outlives the call.
        unsafe { libc::poll(&raw mut ready, 1, -1) };
        if ready.revents & libc::POLLIN == 0 {
            if ready.revents & libc::POLLHUP != 0 {
                break;
            }
            continue;
        }
        // SAFETY: all zero is a valid notification, as the kernel wants it.
        let mut call: libc::seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the kernel writes one notification, which outlives the call.
        if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) } < 0 {
            continue;
        }
        let number = usize::try_from(call.data.nr).unwrap_or(0) % CALLS;
        let mut answer = libc::seccomp_notif_resp {
            id: call.id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        if is_portero(call.pid) {
            let count = counts.0[number].fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(fault) = fault
                && fault.call == number
                && (fault.which == Which::All || fault.which == Which::Nth(count))
            {
                answer.error = -fault.errno;
                answer.flags = 0;
            }
        }
        // SAFETY: the kernel reads one answer, which outlives the call.
        unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    }
    // SAFETY: nobody else has it.
    unsafe { libc::close(listener) };
}

/// Whether the process's program is portero, asked without an allocation.
fn is_portero(pid: u32) -> bool {
    let mut link = *b"/proc/0000000000/exe\0";
    let mut rest = pid;
    for digit in link[6..16].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    // /proc knows no leading zeros.
    let zeros = link[6..16]
        .iter()
        .take_while(|digit| **digit == b'0')
        .count();
    link.copy_within(6 + zeros.., 6);
    let mut target = [0_u8; 4096];
    // SAFETY: the path ends in NUL, and the kernel writes at most the buffer's length.
    let length = unsafe {
        libc::readlink(
            link.as_ptr().cast(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    };
    usize::try_from(length)
        .is_ok_and(|length| target[..length] == *portero().as_os_str().as_bytes())
}

/// The calls by number, as this machine's C headers have them.
fn names() -> &'static BTreeMap<usize, String> {
    static NAMES: OnceLock<BTreeMap<usize, String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let places = [
            "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
            "/usr/include/asm/unistd_64.h",
            "/usr/include/asm-generic/unistd.h",
        ];
        let text = places
            .iter()
            .find_map(|place| fs::read_to_string(place).ok());
        let text = text.expect("asm/unistd_64.h is missing: apt-get install -y libc6-dev");
        let number = |line: &str| {
            let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            Some((number.trim().parse().ok()?, name.to_owned()))
        };
        text.lines().filter_map(number).collect()
    })
}

pub fn call_name(call: usize) -> &'static str {
    names().get(&call).map_or("an unknown call", String::as_str)
}
