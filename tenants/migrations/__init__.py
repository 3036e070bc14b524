"""The register's schema, step by step (Alembic); part of the package, so that an installed release can migrate."""
