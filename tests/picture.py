#!/usr/bin/env python3
"""Draws docs/start.svg, the picture at the top of the README, from a real run: tests/picture.py, as root.

Two replicas of tests/fastapi start while their PostgreSQL is still down; then it is started. The picture shows what
they printed and when, to the letter; long lines are wrapped. Names (db, app-1) and ports are those of
namespaces of its own. Takes the release binary of portero, and alembic and uvicorn from PATH or from $VENV/bin
(/usr/bin/python3 -m venv, pip install -r tests/fastapi/requirements.txt: uid 1000 has to be able to read it). PORTERO=FILE draws with another binary.
"""

import html
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PORTERO = os.environ.get("PORTERO", str(ROOT / "target/x86_64-unknown-linux-musl/release/portero"))
URL = "postgresql+psycopg://app:s3cret@db:5432/shop"
# As `alembic init` writes them: without, alembic says nothing.
ENV = """
from logging.config import fileConfig
fileConfig(context.config.config_file_name, disable_existing_loggers=False)
engine ="""
LOGGERS = """
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = generic
[logger_root]
level = INFO
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = generic
[formatter_generic]
format = %(levelname)-5.5s [%(name)s] %(message)s
"""
DEADLINE = 30
COLUMNS, CHAR, LINE = 112, 7.8, 18
COLOURS = {"app-1": "#7ee787", "app-2": "#79c0ff", "db": "#d2a8ff", "health": "#ffa657"}


class Screen:
    """What was printed: (seconds, who, line), in the order of arrival."""

    def __init__(self):
        self.start, self.lines, self.changed = time.monotonic(), [], threading.Condition()

    def add(self, who, line):
        with self.changed:
            self.lines.append((time.monotonic() - self.start, who, line.rstrip("\n")))
            self.changed.notify_all()

    def follow(self, who, process):
        def read():
            for line in process.stdout:
                self.add(who, line)

        threading.Thread(target=read, daemon=True).start()

    def wait_for(self, who, text):
        """Until `who`, or anybody, printed `text`."""
        with self.changed:
            if not self.changed.wait_for(
                lambda: any(who in (w, None) and text in line for _, w, line in self.lines), DEADLINE
            ):
                sys.exit(f"{who} did not say {text!r}: {self.lines}")


class Database:
    """A PostgreSQL that is made and not yet started."""

    def __init__(self, directory):
        self.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.data = f"{directory}/data"
        shutil.chown(directory, "postgres")
        os.chmod(directory, 0o755)
        self.run(self.bin / "initdb", "-D", self.data, "-A", "trust", "-N")
        with open(f"{self.data}/postgresql.conf", "a", encoding="utf-8") as settings:
            settings.write(f"listen_addresses = '127.0.0.1'\nunix_socket_directories = '{directory}'\nfsync = off\n")
        self.start()
        for sql in ("CREATE ROLE app LOGIN", "CREATE DATABASE shop OWNER app"):
            self.run("psql", "-qh", directory, "-c", sql)
        self.stop()

    def run(self, *command):
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def start(self):
        self.run(self.bin / "pg_ctl", "-wsD", self.data, "-l", f"{self.data}/log", "start")

    def stop(self):
        self.run(self.bin / "pg_ctl", "-wsD", self.data, "-m", "fast", "stop")


def replica(screen, name, port, application):
    """An app-… as in a container: PID 1 of its own PID namespace, with its own host name."""
    command = ["unshare", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "sh", "-c", 'hostname "$0"; exec "$@"', name]
    command += [PORTERO, "--user", "1000:1000", "--default-port", port, "--expand-args", "--"]
    command += ["uvicorn", "main:app", "--port", "${PORT}"]
    own = {"DATABASE_URL": URL, "PORTERO_DATABASE": "DATABASE_URL", "PORTERO_MIGRATE": "alembic upgrade head"}
    own |= {"PORTERO_MIGRATE_ONCE": "v2", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command, cwd=application, env=os.environ | own, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    screen.follow(name, process)
    return process


def health(screen, process, port):
    """A health check in app-1's namespaces, as the container's engine runs it."""
    child = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
    command = ["nsenter", "-t", child, "-p", "-m", "-u", PORTERO, "healthcheck", "--port", port]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    for line in done.stdout.splitlines():
        screen.add("health", line)


def record(directory):
    """The run; what it printed."""
    os.chmod(directory, 0o755)
    application = f"{directory}/app"
    shutil.copytree(ROOT / "tests/fastapi", application)
    with open(f"{application}/alembic.ini", "a", encoding="utf-8") as settings:
        settings.write(LOGGERS)
    env = pathlib.Path(application, "migrations/env.py")
    env.write_text(env.read_text(encoding="utf-8").replace("\nengine =", ENV, 1), encoding="utf-8")
    os.makedirs(f"{directory}/pg")
    database = Database(f"{directory}/pg")
    screen = Screen()
    replicas = []
    try:
        for name, port in (("app-1", "8000"), ("app-2", "8001")):
            replicas.append(replica(screen, name, port, application))
            screen.wait_for(name, "refused")
        time.sleep(1.5)
        database.start()
        try:
            screen.wait_for(None, "Running upgrade")
            health(screen, replicas[0], "8000")
            for name in ("app-1", "app-2"):
                screen.wait_for(name, "Uvicorn running")
            health(screen, replicas[0], "8000")
            return list(screen.lines)
        finally:
            for process in replicas:
                process.kill()
                process.wait()
            database.stop()
    finally:
        for process in replicas:
            process.kill()
            process.wait()


def wrapped(line, columns):
    """At the last space that fits; no letter is lost."""
    parts = []
    while len(line) > columns:
        cut = line.rfind(" ", 1, columns + 1) if " " in line[1 : columns + 1] else columns
        parts.append(line[:cut])
        line = line[cut:]
    return [*parts, line]


def draw(lines):
    """The SVG. Each line appears when it was printed; a viewer without animation shows them all."""
    left = 16
    rows, before = [], len(f"{0:5.1f}s ") + len("health ") + 2
    for seconds, who, line in lines:
        for number, part in enumerate(wrapped(re.sub(r"\x1b\[[0-9;]*m", "", line), COLUMNS - before)):
            rows.append((seconds, who if number == 0 else "", part, line.startswith("portero") or who == "health"))
    width, height = int(COLUMNS * CHAR + 2 * left), len(rows) * LINE + 58
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>Two replicas wait for PostgreSQL; one migrates, both start</title>",
        "<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        "g{animation:show 1ms step-end both}@keyframes show{from{opacity:0}to{opacity:1}}"
        "@media (prefers-reduced-motion:reduce){g{animation:none}}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
    ]
    for number, colour in enumerate(("#ff5f56", "#ffbd2e", "#27c93f")):
        out.append(f'<circle cx="{22 + 20 * number}" cy="20" r="6" fill="{colour}"/>')
    for number, (seconds, who, text, own) in enumerate(rows):
        y = 54 + number * LINE
        out.append(f'<g style="animation-delay:{seconds:.2f}s">')
        if who:
            out.append(span(left, y, "#6e7681", f"{seconds:5.1f}s"))
            out.append(span(left + 7 * CHAR, y, COLOURS[who], who))
        out.append(span(left + 14 * CHAR, y, "#30363d", "│"))
        out.append(span(left + before * CHAR, y, "#e6edf3" if own else "#8b949e", text))
        out.append("</g>")
    return "\n".join([*out, "</svg>", ""])


def span(x, y, colour, text):
    return f'<text x="{x:.1f}" y="{y}" fill="{colour}" xml:space="preserve">{html.escape(text)}</text>'


def main():
    if os.environ.pop("PICTURE_INSIDE", None) is None:
        command = ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, __file__]
        os.execvpe(command[0], command, os.environ | {"PICTURE_INSIDE": "1"})
    if venv := os.environ.get("VENV"):
        os.environ["PATH"] = f"{venv}/bin:{os.environ['PATH']}"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as directory:
        hosts = f"{directory}/hosts"
        pathlib.Path(hosts).write_text("127.0.0.1 localhost db\n", encoding="utf-8")
        os.chmod(hosts, 0o644)
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        lines = record(directory)
        subprocess.run(["umount", "/etc/hosts"], check=True)
    for seconds, who, line in lines:
        print(f"{seconds:5.1f}s {who:6} {line}")
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs/start.svg").write_text(draw(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
