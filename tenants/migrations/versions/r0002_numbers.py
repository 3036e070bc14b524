"""A retired line's number may be given again: numbers are unique among the lines in use only."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    """SQLite cannot drop a constraint, so the table is made anew. What refers to it is checked at the commit only: the
    references that lose their line in between have it back by then."""
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint("uq_lines_number", "lines")
    else:
        op.execute("CREATE TABLE lines_before AS SELECT id, number, device, retired, words, document FROM lines")
        op.drop_table("lines")
        op.create_table(
            "lines",
            sa.Column("id", sa.Text(), nullable=False),
            sa.Column("number", sa.Integer(), nullable=False),
            sa.Column("device", sa.Text(), nullable=False),
            sa.Column("retired", sa.Integer(), nullable=False),
            sa.Column("words", sa.Text(), nullable=False),
            sa.Column("document", sa.Text(), nullable=False),
            sa.CheckConstraint("number BETWEEN 1 AND 255", name=op.f("ck_lines_number")),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_lines")),
        )
        op.execute("INSERT INTO lines SELECT id, number, device, retired, words, document FROM lines_before")
        op.drop_table("lines_before")
        _unique("device")
    _unique("number")


def _unique(column: str) -> None:
    in_use = sa.text("retired = 0")
    op.create_index(f"lines_{column}", "lines", [column], unique=True, sqlite_where=in_use, postgresql_where=in_use)
