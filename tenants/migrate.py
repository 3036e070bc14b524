"""Bringing a database to this release's schema, whichever database it is."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


class RegisterUnavailable(Exception):  # noqa: N818 - named for what happened
    """The register cannot be used now. kind is "locked", "missing", "damaged", "newer", "foreign", "unreachable" or
    "unusable"; remedy says what to do. Every one may pass by itself: the next transaction tries afresh."""

    def __init__(self, kind: str, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.remedy = kind, detail, remedy


class Database(Protocol):
    """What a register is kept in. Not thread-safe: use it from one thread at a time."""

    @property
    def name(self) -> str:
        """Where it is, for messages."""

    def open(self, *, create: bool) -> None:
        """Migrates it to this release's schema; with create, makes it where there is none. Raises RegisterUnavailable:
        missing, damaged, locked, unreachable, newer (a later release's schema)."""

    def close(self) -> None:
        """Gives the connection back; the next transaction opens a new one."""

    def transaction(self, *, write: bool) -> AbstractContextManager[Connection]:
        """A transaction: committed at the end, rolled back by any exception. Reads see one state throughout; writes
        hold the database's one write lock from the start. Raises RegisterUnavailable for any fault of the database."""


def migrate(
    database: Database,
    unavailable: Callable[[str, str], RegisterUnavailable],
    *,
    create: bool,
    check: Callable[[Connection], str] = lambda _connection: "",
) -> None:
    """Runs the steps that are missing. check: what is wrong with the database itself, or "". Raises
    RegisterUnavailable."""
    with database.transaction(write=False) as connection:
        fault = check(connection)
        current = None if fault else MigrationContext.configure(connection).get_current_revision()
    if fault:
        raise unavailable("damaged", fault)
    config = Config()
    config.set_main_option("script_location", "tenants:migrations")
    scripts = ScriptDirectory.from_config(config)
    if current is None and not create:
        raise unavailable("damaged", "it has no schema")
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        known = scripts.get_current_head()
        raise unavailable("newer", f"its schema {current} is unknown to this release (which has {known})")
    if current != scripts.get_current_head():
        with database.transaction(write=True) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
