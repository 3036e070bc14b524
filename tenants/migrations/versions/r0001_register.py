"""The register as it first was: items, who is bound where, and the history of changes."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None

# Unix seconds go beyond 32 bits in 2038; SQLite's INTEGER has 64 anyway.
_WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
_KEPT = """
CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""
_REFUSE = """
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
"""
_KEPT_THERE = """
CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION append_only()
"""


def upgrade() -> None:
    """Makes the tables, and the triggers that keep history from being rewritten."""
    op.create_table(
        "categories",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_categories")),
    )
    op.create_table(
        "denies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_denies")),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
    )
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
        sa.UniqueConstraint("number", name=op.f("uq_lines_number")),
    )
    op.create_index(
        "lines_device",
        "lines",
        ["device"],
        unique=True,
        sqlite_where=sa.text("retired = 0"),
        postgresql_where=sa.text("retired = 0"),
    )
    op.create_table(
        "revisions",
        sa.Column("revision", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("time", _WHOLE, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_revisions_reason")),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_revisions")),
    )
    op.create_table(
        "services",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("retired", sa.Integer(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_services")),
    )
    op.create_table(
        "tenants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("slot", name=op.f("uq_tenants_slot")),
    )
    op.create_table(
        "changes",
        sa.Column("number", _WHOLE, nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("time", _WHOLE, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["revision"],
            ["revisions.revision"],
            name=op.f("fk_changes_revision"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_changes_reason")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_changes")),
    )
    op.create_index("changes_item", "changes", ["collection", "item"], unique=False)
    op.create_index(op.f("ix_changes_revision"), "changes", ["revision"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("revoked", _WHOLE, nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant"],
            ["tenants.id"],
            name=op.f("fk_credentials_tenant"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
    )
    op.create_index(op.f("ix_credentials_tenant"), "credentials", ["tenant"], unique=False)
    op.create_table(
        "endpoints",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["service"],
            ["services.id"],
            name=op.f("fk_endpoints_service"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("service", "position", name=op.f("pk_endpoints")),
    )
    op.create_index(op.f("ix_endpoints_target"), "endpoints", ["target"], unique=False)
    op.create_table(
        "grants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=True),
        sa.Column("group_id", sa.Text(), nullable=True),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.CheckConstraint("(service IS NULL) <> (category IS NULL)", name=op.f("ck_grants_one_object")),
        sa.CheckConstraint("(tenant IS NULL) <> (group_id IS NULL)", name=op.f("ck_grants_one_subject")),
        sa.ForeignKeyConstraint(
            ["category"],
            ["categories.id"],
            name=op.f("fk_grants_category"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
            name=op.f("fk_grants_group_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["service"],
            ["services.id"],
            name=op.f("fk_grants_service"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["tenant"],
            ["tenants.id"],
            name=op.f("fk_grants_tenant"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index(op.f("ix_grants_category"), "grants", ["category"], unique=False)
    op.create_index(op.f("ix_grants_group_id"), "grants", ["group_id"], unique=False)
    op.create_index(op.f("ix_grants_service"), "grants", ["service"], unique=False)
    op.create_index(op.f("ix_grants_tenant"), "grants", ["tenant"], unique=False)
    op.create_table(
        "places",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("interface", sa.Text(), nullable=False),
        sa.Column("family", sa.Integer(), nullable=False),
        sa.Column("first", sa.Text(), nullable=False),
        sa.Column("last", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant"],
            ["tenants.id"],
            name=op.f("fk_places_tenant"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("interface", "family", "first", name=op.f("pk_places")),
    )
    op.create_index(op.f("ix_places_tenant"), "places", ["tenant"], unique=False)
    op.create_table(
        "service_categories",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["category"],
            ["categories.id"],
            name=op.f("fk_service_categories_category"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["service"],
            ["services.id"],
            name=op.f("fk_service_categories_service"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("service", "category", name=op.f("pk_service_categories")),
    )
    op.create_index(
        op.f("ix_service_categories_category"),
        "service_categories",
        ["category"],
        unique=False,
    )
    op.create_table(
        "tenant_groups",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
            name=op.f("fk_tenant_groups_group_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["tenant"],
            ["tenants.id"],
            name=op.f("fk_tenant_groups_tenant"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("tenant", "group_id", name=op.f("pk_tenant_groups")),
    )
    op.create_index(op.f("ix_tenant_groups_group_id"), "tenant_groups", ["group_id"], unique=False)
    op.create_table(
        "grant_lines",
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["grant_id"],
            ["grants.id"],
            name=op.f("fk_grant_lines_grant_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["line"],
            ["lines.id"],
            name=op.f("fk_grant_lines_line"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("grant_id", "position", name=op.f("pk_grant_lines")),
    )
    op.create_index(op.f("ix_grant_lines_line"), "grant_lines", ["line"], unique=False)
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute(_REFUSE)
    for table in ("revisions", "changes"):
        for verb in ("update", "delete", "truncate") if postgresql else ("update", "delete"):
            op.execute((_KEPT_THERE if postgresql else _KEPT).format(table=table, verb=verb))
