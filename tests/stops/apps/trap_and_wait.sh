#!/bin/sh
# The trap ends the wait, and the script ends before uvicorn has.
uvicorn asgi:app --port "$PORT" &
pid=$!
trap 'kill -TERM $pid' TERM
wait
