#!/bin/sh
# As many an entrypoint ends: without exec.
set -e
uvicorn asgi:app --port "$PORT"
echo "uvicorn has ended"
