"""Runs the steps on the connection and in the transaction that tenants.store lends."""

from alembic import context

from tenants.schema import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("the register is migrated by control when it starts, not by the alembic command")
# transactional_ddl: SQLite rolls DDL back like anything else, so a migration that fails half-way leaves nothing.
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
