//! The applications: how each is started, and what is expected of its stop.

use nix::sys::signal::Signal;

use crate::clients::Protocol;

/// How many requests are under way when an application is told to stop.
pub const REQUESTS: usize = 20;

/// How many tasks are.
pub const TASKS: usize = 4;

/// A row of the table. In the words of the command `{PORT}`, `{BACKEND}` and `{SITE}` (the directory that it is started
/// in, with the files of `apps/`) stand for what they say, as they do in those files.
#[derive(Clone, Copy, Debug)]
pub struct Application {
    pub name: &'static str,
    pub from: From,
    pub command: &'static str,
    pub load: Load,
    /// How many of its processes have work when it is told.
    pub workers: usize,
    /// What its container's runtime stops it with.
    pub stop: Signal,
    pub drains: Drains,
    /// The options that it is best run with.
    pub line: &'static [&'static str],
    /// The signals by which it reloads something.
    pub reloads: &'static [Signal],
}

/// Where its programs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// apps/requirements.txt.
    Python,
    /// apps/package.json.
    Node,
    /// Debian's package.
    Debian(&'static str),
    /// A program that Debian's golang-go builds of apps/server.go.
    Go,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Requests(Protocol),
    /// Tasks that this module of Python puts on a queue in Redis.
    Tasks(&'static str),
}

impl Load {
    /// How it is asked, when it is asked at all.
    pub fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Requests(protocol) => Some(protocol),
            Self::Tasks(_) => None,
        }
    }
}

/// What can be had of a stop without a request cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drains {
    /// The application drains by itself: nothing is cut by portero's default.
    ByItself,
    /// Only with the options of its line; without them it is cut as under any other init.
    WithLine,
    /// It does not end in time when it alone is told; with the options of its line nothing is cut.
    OnlyInGroup,
    /// The same of a shell: portero warns.
    ShellWaits,
}

/// For what ends with the signal that stopped it, when all is done.
const CLEAN_143: &[&str] = &["--map-exit", "143=0"];

/// For what can't let its requests finish.
const DELAY: &[&str] = &["--stop-delay", "3s"];

impl Application {
    const fn new(name: &'static str, from: From, command: &'static str) -> Self {
        Self {
            name,
            from,
            command,
            load: Load::Requests(Protocol::Http),
            workers: 1,
            stop: Signal::SIGTERM,
            drains: Drains::ByItself,
            line: &[],
            reloads: &[],
        }
    }

    const fn line(mut self, options: &'static [&'static str]) -> Self {
        self.line = options;
        self
    }

    /// Drains with these options only.
    const fn only_with(mut self, options: &'static [&'static str]) -> Self {
        self.drains = Drains::WithLine;
        self.line(options)
    }

    const fn reloads(mut self, signals: &'static [Signal]) -> Self {
        self.reloads = signals;
        self
    }

    const fn load(mut self, load: Load) -> Self {
        self.load = load;
        self
    }

    const fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    const fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Drains when more than it alone is told, or with these options.
    const fn hangs(mut self, drains: Drains, options: &'static [&'static str]) -> Self {
        self.drains = drains;
        self.line(options)
    }

    /// The words of its command; what follows `-c` is one.
    pub fn words(&self) -> Vec<&'static str> {
        match self.command.split_once(" -c ") {
            Some((first, last)) => first.split(' ').chain(["-c", last]).collect(),
            None => self.command.split(' ').collect(),
        }
    }

    /// How many requests or tasks are under way.
    pub fn under_way(&self) -> usize {
        match self.load {
            Load::Requests(_) => REQUESTS,
            Load::Tasks(_) => TASKS,
        }
    }
}

const fn python(name: &'static str, command: &'static str) -> Application {
    Application::new(name, From::Python, command)
}

const fn node(name: &'static str, command: &'static str) -> Application {
    Application::new(name, From::Node, command)
}

const fn debian(name: &'static str, package: &'static str, command: &'static str) -> Application {
    Application::new(name, From::Debian(package), command)
}

use Signal::{SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGWINCH};

pub const APPLICATIONS: &[Application] = &[
    python("uvicorn", "uvicorn asgi:app --port {PORT}").line(CLEAN_143),
    python(
        "uvicorn, 4 workers",
        "uvicorn asgi:app --port {PORT} --workers 4",
    )
    .reloads(&[SIGHUP]),
    python(
        "gunicorn, sync",
        "gunicorn wsgi:app --bind 127.0.0.1:{PORT} --workers 20",
    )
    .reloads(&[SIGHUP, SIGUSR1, SIGUSR2]),
    python(
        "gunicorn, gthread",
        "gunicorn wsgi:app --bind 127.0.0.1:{PORT} --workers 2 --threads 20",
    )
    .reloads(&[SIGHUP, SIGUSR1, SIGUSR2]),
    python(
        "gunicorn, uvicorn workers",
        "gunicorn asgi:app --bind 127.0.0.1:{PORT} --workers 2 --worker-class uvicorn_worker.UvicornWorker",
    )
    .reloads(&[SIGHUP, SIGUSR1, SIGUSR2]),
    python(
        "gunicorn, uvicorn workers, stopped by INT",
        "gunicorn asgi:app --bind 127.0.0.1:{PORT} --workers 2 --worker-class uvicorn_worker.UvicornWorker",
    )
    .stopped_by(SIGINT)
    .hangs(Drains::OnlyInGroup, &["--map-signal", "INT=TERM"]),
    python(
        "hypercorn",
        "hypercorn asgi:app --bind 127.0.0.1:{PORT}",
    ),
    python(
        "hypercorn, 4 workers",
        "hypercorn asgi:app --bind 127.0.0.1:{PORT} --workers 4",
    )
    .workers(4)
    .reloads(&[SIGHUP]),
    python(
        "granian, 2 workers",
        "granian --interface asgi --port {PORT} --workers 2 asgi:app",
    )
    .reloads(&[SIGHUP]),
    python("daphne", "daphne --port {PORT} asgi:app").only_with(DELAY),
    python(
        "Django's runserver",
        "python manage.py runserver {PORT}",
    )
    .only_with(DELAY),
    python(
        "waitress",
        "waitress-serve --port {PORT} --threads 20 wsgi:app",
    )
    .only_with(DELAY),
    node("node with a handler", "node server.js"),
    node("node without a handler", "node bare.js").only_with(DELAY),
    node("node cluster", "node cluster.js"),
    node("fastify", "node fastify.js"),
    node(
        "PM2, 4 workers",
        "pm2-runtime server.js -i 4 --kill-timeout 10000",
    ),
    node("npm start", "npm start"),
    node("npm start, stopped by INT", "npm start")
        .stopped_by(SIGINT)
        .hangs(Drains::OnlyInGroup, &["--map-signal", "INT=TERM"]),
    node("npx", "npx -c node server.js"),
    node("yarn 1", "yarn start"),
    node("pnpm", "pnpm start"),
    node("nodemon", "nodemon server.js"),
    node("tsx", "tsx typed.ts"),
    python("`sh -c app`", "sh -c uvicorn asgi:app --port {PORT}"),
    python("script: app without exec", "sh plain.sh"),
    python("script: `app & trap 'kill $pid' TERM; wait`", "sh trap_and_wait.sh"),
    python(
        "script: trap, app in the foreground",
        "sh trap_in_foreground.sh",
    )
    .hangs(Drains::ShellWaits, &["--signal-group"]),
    python("script: `a & b & wait`", "sh two_and_wait.sh"),
    python(
        "pipeline",
        "sh -c uvicorn asgi:app --port {PORT} 2>&1 | cat",
    ),
    python(
        "launcher in Python",
        "python launch.py uvicorn asgi:app --port {PORT}",
    ),
    python(
        "launcher in Perl",
        "perl launch.pl uvicorn asgi:app --port {PORT}",
    ),
    python(
        "xargs",
        "xargs --arg-file /dev/null uvicorn asgi:app --port {PORT}",
    ),
    python("make", "make serve"),
    python(
        "timeout",
        "timeout 1h uvicorn asgi:app --port {PORT}",
    ),
    python(
        "supervisord",
        "supervisord --configuration supervisord.conf",
    )
    .reloads(&[SIGHUP, SIGUSR2]),
    python("honcho", "honcho start"),
    python(
        "Celery, prefork",
        "celery --app celery_tasks worker --concurrency 4",
    )
    .load(Load::Tasks("celery_tasks"))
    .reloads(&[SIGHUP]),
    python(
        "`sh -c celery`",
        "sh -c celery --app celery_tasks worker --concurrency 4",
    )
    .load(Load::Tasks("celery_tasks")),
    python(
        "Dramatiq",
        "dramatiq dramatiq_tasks --processes 4 --threads 4",
    )
    .load(Load::Tasks("dramatiq_tasks"))
    .reloads(&[SIGHUP]),
    python(
        "Huey",
        "huey_consumer huey_tasks.huey --workers 4 --worker-type process",
    )
    .load(Load::Tasks("huey_tasks"))
    .only_with(&["--map-signal", "TERM=INT"])
    .reloads(&[SIGHUP]),
    Application::new("Go server", From::Go, "server"),
    debian("go run", "golang-go", "go run server.go"),
    debian(
        "Java with a hook",
        "default-jdk-headless",
        "java Service.java",
    )
    .line(CLEAN_143),
    debian(
        "puma",
        "puma",
        "puma --port {PORT} --threads 20:20",
    )
    .line(CLEAN_143),
    debian(
        "puma, 2 workers",
        "puma",
        "puma --port {PORT} --threads 20:20 --workers 2",
    )
    .line(CLEAN_143)
    .reloads(&[SIGUSR1, SIGUSR2]),
    debian(
        "unicorn",
        "unicorn",
        "unicorn --listen 127.0.0.1:{PORT} --config-file unicorn.rb",
    )
    .only_with(&["--map-signal", "TERM=QUIT"])
    .reloads(&[SIGHUP, SIGUSR1, SIGUSR2]),
    debian(
        "nginx",
        "nginx-light",
        "nginx -p {SITE} -c nginx.conf",
    )
    .only_with(&["--map-signal", "TERM=QUIT"])
    .reloads(&[SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH]),
    debian(
        "php-fpm",
        "php8.2-fpm",
        "php-fpm8.2 --fpm-config {SITE}/php-fpm.conf",
    )
    .load(Load::Requests(Protocol::FastCgi))
    .only_with(&["--map-signal", "TERM=QUIT"])
    .reloads(&[SIGUSR1, SIGUSR2]),
    debian(
        "Apache",
        "apache2-bin",
        "apache2 -D FOREGROUND -f {SITE}/apache.conf",
    )
    .only_with(&["--map-signal", "TERM=WINCH"])
    .reloads(&[SIGUSR1]),
    debian("caddy", "caddy", "caddy run --config Caddyfile").reloads(&[SIGUSR1]),
    debian(
        "PostgreSQL, with idle sessions",
        "postgresql",
        "setpriv --reuid postgres --regid postgres --clear-groups {POSTGRES} -D {DATA}",
    )
    .load(Load::Requests(Protocol::Postgres))
    .only_with(&["--map-signal", "TERM=INT"]),
];
