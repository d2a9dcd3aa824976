"""What a new database needs beyond its tables; harmless when it is there already."""

import os

import sqlalchemy

engine = sqlalchemy.create_engine(os.environ["DATABASE_URL"])
with engine.begin() as connection:
    connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS settings (name text PRIMARY KEY, value text)"))
    connection.execute(sqlalchemy.text("INSERT INTO settings VALUES ('greeting', 'hello') ON CONFLICT DO NOTHING"))
