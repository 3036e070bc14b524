"""A real PostgreSQL server for tests: its own directory, its own socket, no network, gone at the end."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from whitelist.store import open_register

_numbers = count(1)
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


def programs() -> Path | None:
    """Where initdb and postgres are (Debian keeps them off PATH), the newest version first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: -int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


class Server:
    """A running server. The account that owns it is the one the tests run as, or postgres for root, which initdb
    refuses."""

    def __init__(self, directory: Path, bin_: Path, user: str | None) -> None:
        self.directory, self._bin, self._user = directory, bin_, user
        self._process: subprocess.Popen[bytes] | None = None
        self._shared = ""
        self._version: list[tuple[str]] = []

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments], user=self._user, capture_output=True, timeout=60, cwd=self.directory
        )
        assert done.returncode == 0, done.stderr.decode()

    def make(self) -> None:
        """A new cluster, whose databases compare bytewise."""
        data = str(self.directory / "data")
        self._run("initdb", "-D", data, "-U", "feiyu", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Starts it and waits until it answers."""
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.directory}", "-c", "fsync=off"]
        self._process = subprocess.Popen(
            [str(self._bin / "postgres"), "-D", str(self.directory / "data"), *options],
            user=self._user, cwd=self.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ready = [str(self._bin / "pg_isready"), "-h", str(self.directory), "-t", "20", "-q"]
        for _ in range(200):
            if subprocess.run(ready, timeout=30).returncode == 0:
                return
            assert self._process.poll() is None, "the server ended at once"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        raise AssertionError("the server does not answer")

    def stop(self) -> None:
        """Ends it at once (SIGQUIT), as a server that dies."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(3)
            self._process.wait(20)

    def database(self, encoding: str = "UTF8") -> str:
        """The address of a new, empty database."""
        name = f"feiyu{next(_numbers)}"
        where = ("-h", str(self.directory), "-U", "feiyu")
        self._run("createdb", *where, "--template=template0", "--locale=C", f"--encoding={encoding}", name)
        return self.address(name)

    def emptied(self) -> str:
        """The address of a database that the tests share, as good as new: its rows are gone, its schema stays where a
        test left it sound."""
        if not self._shared:
            self._shared = self.database()
        with psycopg.connect(self._shared, autocommit=True) as connection:
            tables = {name for (name,) in connection.execute(_TABLES)} - {"alembic_version"}
            sound = tables and connection.execute("SELECT version_num FROM alembic_version").fetchall() == self._version
            if sound:
                for name in tables:
                    connection.execute(SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(Identifier(name)))
                connection.execute(SQL("TRUNCATE {}").format(SQL(", ").join(map(Identifier, sorted(tables)))))
                for name in tables:
                    connection.execute(SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(Identifier(name)))
            else:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")
                open_register(self._shared, create=True).store.close()
                self._version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return self._shared

    def address(self, name: str) -> str:
        """The address of a database, there or not."""
        return f"postgresql://feiyu@{quote(str(self.directory), safe='')}/{name}"


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A server for as long as it is asked. Skips the test where none is installed."""
    bin_ = programs()
    if bin_ is None:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    user = None
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("initdb refuses root, and there is no account postgres")
    directory = Path(tempfile.mkdtemp(prefix="feiyu-pg-", dir="/tmp"))  # short: a socket's path has 107 bytes
    if user:
        shutil.chown(directory, user)
    made = Server(directory, bin_, user)
    try:
        made.make()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)
