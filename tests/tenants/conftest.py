"""A real register: in a real file, and on a real PostgreSQL server. The same tests run on both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenants.register import Register
from tests.postgres_kit import Server, server
from tests.tenants.zone import NOW, ZONE
from whitelist.store import open_register


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server, for all tests that ask for one."""
    with server() as running:
        yield running


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a register can be made."""
    if request.param == "SQLite":
        return tmp_path / "register.db"
    running: Server = request.getfixturevalue("postgres")
    return running.emptied()


@pytest.fixture
def register(where: Path | str) -> Iterator[Register]:
    """An empty register."""
    made = open_register(where, create=True)
    yield made
    made.store.close()


@pytest.fixture
def zone(register: Register) -> Register:
    """A register with one of each, at revision 1."""
    register.apply_changes(ZONE, "root", "set up", NOW)
    return register
