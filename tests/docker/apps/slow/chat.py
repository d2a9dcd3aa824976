"""Asks a model server for its models once, at its start, and is useless without them."""

import json
import urllib.request

from fastapi import FastAPI

with urllib.request.urlopen("http://ollama:11434/api/tags") as answer:
    models = json.load(answer)["models"]
app = FastAPI()


@app.get("/health")
def health() -> dict[str, list[str]]:
    return {"models": models}
