//! One application under one init, as PID 1 of a namespace, with work under way: told to stop, or to reload.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::applications::{Application, REQUESTS};
use crate::backend::Backend;
use crate::clients::{Client, Requests};
use crate::common::server::unused_port;
use crate::common::{Ended, Process, poll_until, portero, tool};
use crate::install::Site;
use crate::services::Services;

/// How long the work that is under way takes after the signal.
const WORK: Duration = Duration::from_secs(1);

/// When a runtime ends a container by force: Docker's 10 s, so that a stop that hangs is known as one.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(120);

/// What an application runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pid1 {
    Portero,
    /// With the application's options.
    WithLine,
    ToGroup,
    DumbInit,
    TiniGroup,
    Tini,
    /// None: the application is PID 1.
    Application,
}

impl Pid1 {
    pub const ALL: [Self; 7] = [
        Self::Portero,
        Self::WithLine,
        Self::ToGroup,
        Self::DumbInit,
        Self::TiniGroup,
        Self::Tini,
        Self::Application,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Portero => "portero",
            Self::WithLine => "portero, its line",
            Self::ToGroup => "portero --signal-group",
            Self::DumbInit => "dumb-init",
            Self::TiniGroup => "tini -g",
            Self::Tini => "tini",
            Self::Application => "none",
        }
    }

    pub fn is_portero(self) -> bool {
        matches!(self, Self::Portero | Self::WithLine | Self::ToGroup)
    }

    /// What stands before the application's command.
    fn words(self, application: &Application) -> Vec<String> {
        let (program, options) = match self {
            Self::Portero => (portero().to_owned(), &[][..]),
            Self::WithLine => (portero().to_owned(), application.line),
            Self::ToGroup => (portero().to_owned(), &["--signal-group"][..]),
            Self::DumbInit => (tool("dumb-init"), &[][..]),
            Self::TiniGroup => (tool("tini"), &["-g"][..]),
            Self::Tini => (tool("tini"), &[][..]),
            Self::Application => return Vec::new(),
        };
        let program = program.into_os_string().into_string().unwrap();
        let options = options.iter().chain(&["--"]).copied().map(String::from);
        std::iter::once(program).chain(options).collect()
    }
}

/// What became of a stop.
#[derive(Debug)]
pub struct Stopped {
    /// The requests or tasks that were under way and came to no end.
    pub cut: usize,
    /// How many were under way: more than usual, where those did not reach every worker.
    pub of: usize,
    /// None: it still ran at the limit.
    pub ended: Option<Ended>,
    pub after: Duration,
    pub said: String,
}

impl Stopped {
    /// What counts: a container that is ended by force loses all that is under way then.
    pub fn loss(&self, application: &Application) -> usize {
        match self.ended {
            Some(_) => self.cut,
            None => application.under_way(),
        }
    }
}

/// An application with all its work under way.
struct Busy {
    process: Process,
    backend: Backend,
    client: Option<Client>,
    requests: Requests,
    _services: Services,
    _site: Site,
}

impl Busy {
    #[track_caller]
    fn start(application: &Application, init: Pid1) -> Self {
        let backend = Backend::start();
        let services = Services::start(application);
        let port = services.port().unwrap_or_else(unused_port);
        let mut site = Site::new(application, port, &backend.address());
        services.tell(application, &mut site);
        let command = application.words();
        let command = command.into_iter().map(|word| site.filled(word));
        let words: Vec<String> = init.words(application).into_iter().chain(command).collect();
        let client = application.load.protocol().map(|protocol| Client {
            protocol,
            port,
            backend: backend.address(),
        });
        let mut busy = Self {
            process: site.run(&words).pid1().start(),
            backend,
            client,
            requests: Requests::default(),
            _services: services,
            _site: site,
        };
        busy.until_under_way(application);
        until_at_rest(&mut busy.process);
        busy
    }

    #[track_caller]
    fn until_under_way(&mut self, application: &Application) {
        let (process, backend) = (&mut self.process, &self.backend);
        let Some(client) = &self.client else {
            let all = application.under_way();
            until(process, "tasks under way", |_| backend.under_way() == all);
            return;
        };
        until(process, "an answer", |_| client.is_answered());
        until_at_rest(process);
        self.requests.send(application.under_way(), client);
        loop {
            let all = self.requests.count();
            until(process, "requests under way", |_| {
                backend.under_way() == all
            });
            // The kernel gives them to whom it likes.
            if backend.processes() >= application.workers || all == 10 * REQUESTS {
                return;
            }
            self.requests.send(1, client);
        }
    }
}

/// Stops an application with all its work under way.
#[track_caller]
pub fn stop(application: &Application, init: Pid1) -> Stopped {
    let mut busy = Busy::start(application, init);
    busy.process.signal(application.stop);
    let told = Instant::now();
    let ended = poll_until(LIMIT, || {
        if told.elapsed() >= WORK {
            busy.backend.answer();
        }
        busy.process.poll()
    });
    let after = told.elapsed();
    let said = busy.process.stderr();
    // What still runs ends here, and with it every request that still waits.
    drop(busy.process);
    let of = busy.backend.under_way();
    let cut = match busy.client {
        Some(_) => busy.requests.cut(),
        None => application.under_way().saturating_sub(busy.backend.done()),
    };
    Stopped {
        cut,
        of,
        ended,
        after,
        said,
    }
}

/// What became of a reload.
#[derive(Debug)]
pub struct Reloaded {
    /// The requests or tasks that were under way and came to no end.
    pub cut: usize,
    /// Whether the application still serves.
    pub serves: bool,
}

/// Tells an application with all its work under way to reload.
#[track_caller]
pub fn reload(application: &Application, init: Pid1, signal: Signal) -> Reloaded {
    let mut busy = Busy::start(application, init);
    busy.process.signal(signal);
    thread::sleep(WORK);
    busy.backend.answer();
    let Some(client) = busy.client else {
        let all = application.under_way();
        poll_until(LIMIT, || (busy.backend.done() >= all).then_some(()));
        return Reloaded {
            cut: all.saturating_sub(busy.backend.done()),
            serves: busy.process.poll().is_none(),
        };
    };
    let cut = busy.requests.cut();
    let serves = poll_until(START, || {
        let answered = client.is_answered().then_some(true);
        answered.or_else(|| busy.process.poll().map(|_| false))
    });
    Reloaded {
        cut,
        serves: serves == Some(true),
    }
}

/// Waits until `condition` holds; a process that ends before it does is a failure.
#[track_caller]
fn until(process: &mut Process, what: &str, mut condition: impl FnMut(&Process) -> bool) {
    let came = poll_until(START, || {
        if condition(process) {
            return Some(true);
        }
        process.poll().map(|_| false)
    });
    assert_eq!(came, Some(true), "never came: {what}{process}");
}

/// Waits until all processes of the namespace have slept for a while: masters have their workers then, and these wait
/// for work. Some never come to rest, but a start does.
fn until_at_rest(process: &mut Process) {
    const LOOKS: usize = 5;
    let mut quiet = 0;
    let mut before = Vec::new();
    poll_until(Duration::from_secs(10), || {
        thread::sleep(Duration::from_millis(30));
        let now: Vec<(i32, char)> = process
            .processes()
            .iter()
            .map(|entry| (entry.pid, entry.state))
            .collect();
        let same = now == before && now.iter().all(|(_, state)| *state == 'S');
        quiet = if same { quiet + 1 } else { 0 };
        before = now;
        (quiet >= LOOKS).then_some(())
    });
}
