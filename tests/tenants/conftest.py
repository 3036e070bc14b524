"""A real register in a real file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenants.register import Register
from tests.tenants.zone import NOW, ZONE
from whitelist.store import open_register


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    """An empty register."""
    made = open_register(tmp_path / "register.db", create=True)
    yield made
    made.store.close()


@pytest.fixture
def zone(register: Register) -> Register:
    """A register with one of each, at revision 1."""
    register.apply_changes(ZONE, "root", "set up", NOW)
    return register
