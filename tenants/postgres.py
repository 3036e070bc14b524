"""The register on a PostgreSQL server, for several controls' hosts or a server that is there anyway.

One writer at a time holds an advisory lock for its transaction, as SQLite's one write lock does; readers see one state
throughout (REPEATABLE READ) and never wait. Text is compared byte by byte, as SQLite does: pages and ranges rest on it,
so the database must have been made with that collation. Waiting is bounded: a server that is silent is a state of its
own, not a control that hangs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import QueuePool

from tenants.migrate import RegisterUnavailable, migrate

LOCK = 0x666569797501  # "feiyu", 1: the one key that all registers' writers of a database share
PATIENCE = 5  # seconds for connecting, and for a server that does not acknowledge what it was sent
STATEMENT = 120  # seconds for one statement; a bulk of a hundred thousand items is many statements
_BYTEWISE = ("C", "POSIX", "C.UTF-8", "C.utf8", "ucs_basic")
_LOCKED, _NO_DATABASE, _NO_TABLE = "55P03", "3D000", "42P01"  # SQLSTATE (PostgreSQL manual, appendix A)
_REMEDIES = {
    "locked": "another program holds the register's write lock; find it in pg_stat_activity, or wait until it ends",
    "missing": "name the right database, or make it: createdb --template=template0 --encoding=UTF8 --locale=C feiyu",
    "damaged": "put the database back from a backup; an empty one is filled only where no policy was ever published",
    "newer": "install the release that wrote it, or put back the backup made before the upgrade",
    "unreachable": "start the server, and see that this node's control may connect to it (pg_hba.conf, kill switch)",
    "unusable": "look into the server's log; the account needs to own the database's schema",
    "collation": "make it anew: createdb --template=template0 --encoding=UTF8 --locale=C feiyu",
}


class PostgresStore:
    """One database of a server; fulfils tenants.migrate.Database. address: postgresql://user@host/database, without a
    password (that stands in a file: ?passfile=/path, or in ~/.pgpass of control's user)."""

    def __init__(self, address: str, *, busy_timeout: float) -> None:
        self.address = address
        self._busy_timeout = busy_timeout
        self._engine: Engine | None = None

    @property
    def name(self) -> str:
        """The address, which holds no secret."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    def open(self, *, create: bool) -> None:
        """Migrates the database to this release's schema; with create, also one without any."""
        migrate(self, self._unavailable, create=create, check=self._check)

    def close(self) -> None:
        """Gives the connection back; the next transaction opens a new one."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = None

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """A transaction; see tenants.migrate.Database."""
        try:
            with self._connect().connect() as plain:
                level = "READ COMMITTED" if write else "REPEATABLE READ"
                connection = plain.execution_options(isolation_level=level, postgresql_readonly=not write)
                with connection.begin():
                    if write:
                        # Taken before anything is read, so what is read is what the last writer left.
                        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, int(self._busy_timeout * 1000))}")
                        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
                    yield connection
        except IntegrityError:
            raise  # a constraint caught what the register's own checks let through: a bug, not the database's state
        except DBAPIError as error:
            self.close()
            raise self._diagnose(error.orig) from error
        except msgspec.DecodeError as error:
            raise self._unavailable("damaged", f"a row is not what this release writes: {error}") from error
        except psycopg.Error as error:  # raised while connecting
            self.close()
            raise self._diagnose(error) from error

    def _connect(self) -> Engine:
        if self._engine is None:
            address = _bounded(self.address)
            self._engine = create_engine(
                "postgresql+psycopg://",
                creator=lambda: psycopg.connect(address),
                poolclass=QueuePool,
                pool_size=1,
                max_overflow=1,
                pool_pre_ping=True,  # a server that was restarted costs no request
            )
            event.listen(self._engine, "connect", _prepare)
        return self._engine

    def _check(self, connection: Connection) -> str:
        """Raises RegisterUnavailable for a database that does not compare text byte by byte."""
        found = "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
        collation, encoding = connection.exec_driver_sql(found).one()
        if collation not in _BYTEWISE or encoding != "UTF8":
            words = f"its collation is {collation} and its encoding {encoding}; bytewise UTF8 is needed"
            raise RegisterUnavailable("unusable", f"register {self.name}: {words}", _REMEDIES["collation"])
        return ""

    def _diagnose(self, error: BaseException | None) -> RegisterUnavailable:
        state = getattr(error, "sqlstate", None)
        words = " ".join(str(error).split())
        if state == _LOCKED:
            return self._unavailable("locked", f"still locked after {self._busy_timeout:g} s")
        if state == _NO_DATABASE or (state is None and "does not exist" in words and "database" in words):
            return self._unavailable("missing", words)
        if state == _NO_TABLE:
            return self._unavailable("damaged", words)
        if state is None or state.startswith(("08", "57P")):
            return self._unavailable("unreachable", words)
        return self._unavailable("unusable", words)

    def _unavailable(self, kind: str, words: str) -> RegisterUnavailable:
        return RegisterUnavailable(kind, f"register {self.name} is {kind}: {words}", _REMEDIES[kind])


def _bounded(address: str) -> str:
    """The address with bounds on waiting, where it has none of its own (libpq, clause 34.1.2)."""
    parts = urlsplit(address)
    given = dict(parse_qsl(parts.query))
    bounds = {
        "connect_timeout": str(PATIENCE),
        "tcp_user_timeout": str(PATIENCE * 1000),
        "keepalives_idle": str(PATIENCE),
        "keepalives_interval": "1",
        "keepalives_count": str(PATIENCE),
        "application_name": "feiyu-control",
        "client_encoding": "UTF8",
    }
    return urlunsplit(parts._replace(query=urlencode({**bounds, **given})))


def _prepare(connection: Any, _record: Any) -> None:
    """Settings per connection: a commit is on the disk when it is confirmed, whatever the server's default is."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
        cursor.execute(f"SET statement_timeout = {STATEMENT * 1000}")
        cursor.execute("SET search_path = public")
    connection.commit()
