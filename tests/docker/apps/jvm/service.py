"""Ends as a JVM does on SIGTERM: its shutdown hooks run, and then it exits with 143, which is no failure."""

import signal
import sys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print("started", flush=True)
while True:
    signal.pause()
