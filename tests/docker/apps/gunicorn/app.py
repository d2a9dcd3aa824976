"""A worker that hangs when it is asked to."""

import signal
import time


def app(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("hanging", flush=True)
        time.sleep(3600)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]
