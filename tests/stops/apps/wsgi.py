"""Answers each request with what the backend answers to the same path, as a WSGI application."""

import os
import urllib.request


def ask(path: str) -> bytes:
    with urllib.request.urlopen(f"http://{os.environ['BACKEND']}{path}") as answer:
        return answer.read()


def app(environ, start_response):
    body = ask(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
