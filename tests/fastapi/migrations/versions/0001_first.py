"""The first revision: slow enough that replicas started at once would meet in it."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("SELECT pg_sleep(1)")
    op.execute("CREATE TABLE IF NOT EXISTS migration_runs (at timestamptz DEFAULT now())")
    op.execute("INSERT INTO migration_runs DEFAULT VALUES")
