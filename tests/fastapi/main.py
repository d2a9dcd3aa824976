"""A small application with a database, as it is found behind many an ENTRYPOINT."""

import os

import sqlalchemy
from fastapi import FastAPI

app = FastAPI()
engine = sqlalchemy.create_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=0)


@app.get("/health")
def health() -> dict[str, int]:
    with engine.connect() as connection:
        return {"migrations": connection.scalar(sqlalchemy.text("SELECT count(*) FROM migration_runs"))}


@app.get("/whoami")
def whoami() -> dict[str, int | str | None]:
    return {"uid": os.getuid(), "parent": os.getppid(), "port": os.environ.get("PORT")}
