"""The register in an SQLite file: opened, migrated, and lent out one transaction at a time.

WAL mode with synchronous FULL: a committed change survives power loss, readers never wait for the writer. All SQL is
portable; what is SQLite's own stands in this file, what is PostgreSQL's in tenants.postgres.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import QueuePool

from tenants.migrate import Database, RegisterUnavailable, migrate

__all__ = ["BUSY_TIMEOUT", "Database", "RegisterUnavailable", "Store"]

BUSY_TIMEOUT = 2.0  # seconds a transaction waits for another process's lock


_REMEDIES = {
    "locked": "another program holds a lock on the register; find it with `fuser -v`, or wait until it ends",
    "missing": "put the register back from a backup; an empty one is made only where no policy was ever published",
    "damaged": "put the register back from a backup; `sqlite3 register.db .recover` may save what is newer",
    "newer": "install the release that wrote it, or put back the backup made before the upgrade",
    "unusable": "check the disk's free space, the file's owner (control's user) and mode, then try again",
}


class Store:
    """One database file. Not thread-safe: use it from one thread at a time."""

    def __init__(self, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.path = path
        self._busy_timeout = busy_timeout
        self._engine: Engine | None = None
        self._identity: tuple[int, int] | None = None
        self._create = False

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)

    def open(self, *, create: bool) -> None:
        """Migrates the database to this release's schema; with create, makes it where there is none.

        Raises RegisterUnavailable: missing (no file and not create), damaged, locked, newer (a later release's schema).
        """
        self._create = create and not self.path.exists()
        try:
            migrate(self, self._unavailable, create=create, check=_check)
        finally:
            self._create = False

    def close(self) -> None:
        """Gives the connection back to the system; the next transaction opens a new one."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._identity = None

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back by any exception. Reads see one state throughout; writes
        hold the database's one write lock from the start. Raises RegisterUnavailable for any fault of the database."""
        try:
            with self._connect().connect() as plain:
                connection = plain.execution_options(feiyu_write=write)
                with connection.begin():
                    yield connection
        except IntegrityError:
            raise  # a constraint caught what the register's own checks let through: a bug, not the database's state
        except DBAPIError as error:
            self.close()  # a faulty handle is not used again: the file may have been put back meanwhile
            raise self._diagnose(error.orig) from error
        except msgspec.DecodeError as error:
            raise self._unavailable("damaged", f"a row is not what this release writes: {error}") from error
        except sqlite3.Error as error:  # raised while connecting
            self.close()
            raise self._diagnose(error) from error

    def _connect(self) -> Engine:
        """The engine for the file that has the path now: a file that was replaced or removed is not written to."""
        try:
            status = os.stat(self.path)
            identity: tuple[int, int] | None = (status.st_dev, status.st_ino)
        except FileNotFoundError as error:
            if not self._create:
                self.close()
                raise self._unavailable("missing", "there is no such file") from error
            identity = None
        except OSError as error:
            self.close()
            raise self._unavailable("unusable", error.strerror or str(error)) from error
        if self._engine is None or (self._identity is not None and identity != self._identity):
            self.close()
            mode = "rwc" if self._create else "rw"  # never made by accident: an empty register would be an empty policy
            address = f"{self.path.absolute().as_uri()}?mode={mode}"
            self._engine = create_engine(
                "sqlite://",
                creator=lambda: sqlite3.connect(
                    address, uri=True, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
                ),
                poolclass=QueuePool,
                pool_size=1,
                max_overflow=1,
            )
            event.listen(self._engine, "connect", _prepare)
            event.listen(self._engine, "begin", _begin)
        self._identity = identity
        return self._engine

    def _diagnose(self, error: BaseException | None) -> RegisterUnavailable:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        words = str(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return self._unavailable("locked", f"still locked after {self._busy_timeout:g} s")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in words:
            return self._unavailable("damaged", words)
        if code == sqlite3.SQLITE_CANTOPEN and not self.path.exists():
            return self._unavailable("missing", words)
        return self._unavailable("unusable", words)

    def _unavailable(self, kind: str, words: str) -> RegisterUnavailable:
        return RegisterUnavailable(kind, f"register {self.path} is {kind}: {words}", _REMEDIES[kind])


def _check(connection: Connection) -> str:
    verdict = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    return "" if verdict == "ok" else verdict


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    """SQLite's settings per connection. FULL: fsync at each commit, in WAL too."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _begin(connection: Connection) -> None:
    """Takes the write lock at once: a read lock that must grow later could fail in mid-change instead of waiting."""
    write = connection.get_execution_options().get("feiyu_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
