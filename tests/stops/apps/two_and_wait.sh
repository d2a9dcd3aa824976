#!/bin/sh
uvicorn asgi:app --port "$PORT" &
tail -f /dev/null &
wait
