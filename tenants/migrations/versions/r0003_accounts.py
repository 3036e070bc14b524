"""Accounts with their factors, requests and the decisions on them, and the chain of revisions."""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"

_KEPT = """
CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""
_SAYS = "id, submitter, roles, collections, submitted, expires, reason, digest, content"
_SAID = f"""
CREATE TRIGGER requests_content BEFORE UPDATE OF {_SAYS} ON requests
BEGIN SELECT RAISE(ABORT, 'what a request says is fixed'); END
"""
# append_only() is there since r0001.
_KEPT_THERE = """
CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION append_only()
"""
_REFUSE = """
CREATE FUNCTION request_is_fixed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'what a request says is fixed'; END $$
"""
_SAID_THERE = f"""
CREATE TRIGGER requests_content BEFORE UPDATE OF {_SAYS} ON requests
FOR EACH STATEMENT EXECUTE FUNCTION request_is_fixed()
"""
# Unix seconds go beyond 32 bits in 2038; SQLite's INTEGER has 64 anyway.
_WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, _WHOLE, nullable=False)


def _refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [target], name=name, initially="DEFERRED", deferrable=True)


def upgrade() -> None:
    """Makes the tables, and the triggers that keep decisions, links and what a request says from being rewritten."""
    op.create_table(
        "accounts", _text("id"), _number("disabled"), _text("words"), _text("document"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )  # fmt: skip
    op.create_table(
        "factors", _text("account"), _text("password"), _text("secret"), _number("last_step"), _number("failures"),
        _number("locked_until"), _refers("factors", "account", "accounts.id"),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_factors")),
    )  # fmt: skip
    op.create_table(
        "requests", _text("id"), _text("state"), _text("submitter"), _text("roles"), _text("collections"),
        _number("submitted"), _number("expires"), _text("reason"), _text("digest"), _text("content"),
        _number("revision"), _refers("requests", "submitter", "accounts.id"),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_requests_reason")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
        sa.UniqueConstraint("digest", name=op.f("uq_requests_digest")),
    )  # fmt: skip
    op.create_index(op.f("ix_requests_state"), "requests", ["state"], unique=False)
    op.create_table(
        "decisions", _number("number"), _text("request"), _text("decision"), _text("account"), _text("role"),
        _number("time"), _text("key"), _text("signature"), _text("reason"),
        _refers("decisions", "request", "requests.id"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_decisions")),
    )  # fmt: skip
    op.create_index(op.f("ix_decisions_request"), "decisions", ["request"], unique=False)
    op.create_table(
        "links",
        sa.Column("revision", _WHOLE, autoincrement=False, nullable=False),
        _text("digest"), _text("document"), _refers("links", "revision", "revisions.revision"),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_links")),
    )  # fmt: skip
    if op.get_bind().dialect.name == "sqlite":
        kept, verbs = _KEPT, ["update", "delete"]
        op.execute(_SAID)
    else:
        kept, verbs = _KEPT_THERE, ["update", "delete", "truncate"]
        op.execute(_REFUSE)
        op.execute(_SAID_THERE)
    for table in ("decisions", "links", "requests"):
        for verb in verbs[1:] if table == "requests" else verbs:
            op.execute(kept.format(table=table, verb=verb))
