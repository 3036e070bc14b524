"""The register's tables.

Every item is one row: its struct as JSON in `document`, and beside it only the columns that keys, constraints and
look-ups need. The struct stays the one definition of an item; a new field with a default needs no migration, and the
database still refuses what must never be (a grant of an unknown tenant, two lines on one device). Child tables repeat
parts of the document for the same reason and are replaced with it. Foreign keys are checked at commit, so that a
transaction may write in any order.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.sql.schema import SchemaItem

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


# Unix seconds go beyond 32 bits in 2038; SQLite's INTEGER has 64 anyway.
_WHOLE = Integer().with_variant(BigInteger(), "postgresql")


def _refers(target: str) -> ForeignKey:
    return ForeignKey(target, deferrable=True, initially="DEFERRED")


def _items(name: str, *more: SchemaItem) -> Table:
    """A table of items. words: what `?q=` searches, case-folded."""
    return Table(
        name,
        metadata,
        Column("id", Text, primary_key=True),
        *more,
        Column("words", Text, nullable=False),
        Column("document", Text, nullable=False),
    )


groups = _items("groups")
categories = _items("categories")
tenants = _items("tenants", Column("state", Text, nullable=False), Column("slot", Integer, nullable=False, unique=True))
credentials = _items(
    "credentials",
    Column("tenant", Text, _refers("tenants.id"), nullable=False, index=True),
    Column("revoked", _WHOLE, nullable=False),
)
services = _items("services", Column("retired", Integer, nullable=False))
lines = _items(
    "lines",
    Column("number", Integer, CheckConstraint("number BETWEEN 1 AND 255", name="number"), nullable=False),
    Column("device", Text, nullable=False),
    Column("retired", Integer, nullable=False),
    Index(
        "lines_number", "number", unique=True, sqlite_where=text("retired = 0"), postgresql_where=text("retired = 0")
    ),
    Index(
        "lines_device", "device", unique=True, sqlite_where=text("retired = 0"), postgresql_where=text("retired = 0")
    ),
)
accounts = _items("accounts", Column("disabled", _WHOLE, nullable=False))
denies = _items("denies", Column("target", Text, nullable=False))
grants = _items(
    "grants",
    Column("state", Text, nullable=False),
    Column("tenant", Text, _refers("tenants.id"), index=True),
    Column("group_id", Text, _refers("groups.id"), index=True),
    Column("service", Text, _refers("services.id"), index=True),
    Column("category", Text, _refers("categories.id"), index=True),
    CheckConstraint("(tenant IS NULL) <> (group_id IS NULL)", name="one_subject"),
    CheckConstraint("(service IS NULL) <> (category IS NULL)", name="one_object"),
)

# first and last are the ends of the prefix as 32 hex digits, so that they sort as numbers do. Prefixes on one
# interface are disjoint (the register sees to it), hence the key.
places = Table(
    "places",
    metadata,
    Column("tenant", Text, _refers("tenants.id"), nullable=False, index=True),
    Column("interface", Text, primary_key=True),
    Column("family", Integer, primary_key=True),
    Column("first", Text, primary_key=True),
    Column("last", Text, nullable=False),
    Column("prefix", Text, nullable=False),
)
tenant_groups = Table(
    "tenant_groups",
    metadata,
    Column("tenant", Text, _refers("tenants.id"), primary_key=True),
    Column("group_id", Text, _refers("groups.id"), primary_key=True, index=True),
)
endpoints = Table(
    "endpoints",
    metadata,
    Column("service", Text, _refers("services.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("target", Text, nullable=False, index=True),
    Column("protocol", Text, nullable=False),
)
service_categories = Table(
    "service_categories",
    metadata,
    Column("service", Text, _refers("services.id"), primary_key=True),
    Column("category", Text, _refers("categories.id"), primary_key=True, index=True),
)
grant_lines = Table(
    "grant_lines",
    metadata,
    Column("grant_id", Text, _refers("grants.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("line", Text, _refers("lines.id"), nullable=False, index=True),
)

revisions = Table(
    "revisions",
    metadata,
    Column("revision", _WHOLE, primary_key=True, autoincrement=False),
    Column("time", _WHOLE, nullable=False),  # Unix seconds
    Column("actor", Text, nullable=False),
    Column("reason", Text, CheckConstraint("reason <> ''", name="reason"), nullable=False),
    Column("changes", Integer, nullable=False),
)
# Append-only: triggers of the first migration refuse UPDATE and DELETE on revisions and changes.
changes = Table(
    "changes",
    metadata,
    Column("number", _WHOLE, primary_key=True),
    Column("revision", _WHOLE, _refers("revisions.revision"), nullable=False, index=True),
    Column("time", _WHOLE, nullable=False),
    Column("actor", Text, nullable=False),
    Column("collection", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("reason", Text, CheckConstraint("reason <> ''", name="reason"), nullable=False),
    Index("changes_item", "collection", "item"),
)

# What a person logs in with: never part of an item, so never shown and not in history. failures: since the last login.
factors = Table(
    "factors",
    metadata,
    Column("account", Text, _refers("accounts.id"), primary_key=True),
    Column("password", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("last_step", _WHOLE, nullable=False),
    Column("failures", _WHOLE, nullable=False),
    Column("locked_until", _WHOLE, nullable=False),
)
# Changes that wait for a second person. content is what was shown, as bytes of JSON; all times are Unix seconds.
requests = Table(
    "requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False, index=True),
    Column("submitter", Text, _refers("accounts.id"), nullable=False),
    Column("roles", Text, nullable=False),
    Column("collections", Text, nullable=False),
    Column("submitted", _WHOLE, nullable=False),
    Column("expires", _WHOLE, nullable=False),
    Column("reason", Text, CheckConstraint("reason <> ''", name="reason"), nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("content", Text, nullable=False),
    Column("revision", _WHOLE, nullable=False),
)
# Append-only, as are links. decision: approve, reject, withdraw or lapse; the last two bear no signature.
decisions = Table(
    "decisions",
    metadata,
    Column("number", _WHOLE, primary_key=True),
    Column("request", Text, _refers("requests.id"), nullable=False, index=True),
    Column("decision", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("time", _WHOLE, nullable=False),
    Column("key", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
# From the first accounts on, each revision with the digest of the one before it.
links = Table(
    "links",
    metadata,
    Column("revision", _WHOLE, _refers("revisions.revision"), primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("document", Text, nullable=False),
)
