#!/bin/sh
# The shell runs its trap only when uvicorn has ended.
trap 'echo cleaning up' TERM
uvicorn asgi:app --port "$PORT"
