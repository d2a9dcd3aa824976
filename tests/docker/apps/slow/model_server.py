"""Listens at once and answers 503 while it loads its model, for 15 seconds."""

import http.server
import time

READY_AT = time.monotonic() + 15


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ready = time.monotonic() >= READY_AT
        body = b'{"models": ["small"]}' if ready else b'{"error": "loading model"}'
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("", 11434), Handler).serve_forever()
