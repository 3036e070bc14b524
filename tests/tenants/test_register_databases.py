"""The database, whichever it is: migrated, shared by processes, all of a change or nothing of it."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from tenants.register import Register
from tenants.store import RegisterUnavailable
from tests.tenants.zone import NOW, ZONE, change, grant, tenant
from whitelist.store import KINDS, database, open_register


def test_a_register_is_read_back_by_the_next_process(zone: Register, where: Path | str) -> None:
    before = zone.everything()
    zone.store.close()
    again = open_register(where, create=False)
    assert again.everything() == before
    again.store.close()


def test_the_migrations_make_exactly_the_tables_of_the_schema(register: Register) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from tenants.schema import metadata

    with register.store.transaction(write=False) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_register_of_a_later_release_is_left_alone(zone: Register, where: Path | str) -> None:
    with zone.store.transaction(write=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    zone.store.close()
    with pytest.raises(RegisterUnavailable) as caught:
        open_register(where, create=False)
    assert caught.value.kind == "newer"
    assert "r9999" in caught.value.detail
    assert "install the release" in caught.value.remedy


def test_a_row_that_is_no_item_is_damage(zone: Register, where: Path | str) -> None:
    with zone.store.transaction(write=True) as connection:
        connection.execute(text("UPDATE tenants SET document = '{\"id\": 7}'"))
    with pytest.raises(RegisterUnavailable) as caught:
        zone.get("tenants", "firm-a")
    assert caught.value.kind == "damaged"


def test_writers_of_several_connections_lose_nothing_and_share_no_revision(zone: Register, where: Path | str) -> None:
    revisions: list[int] = []

    def write(name: str) -> None:
        own = Register(database(where, 30), KINDS)
        revisions.extend(own.apply_change(tenant(f"{name}-{n}"), name, "x", NOW).revision for n in range(15))
        own.store.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(revisions) == list(range(2, 47))
    tenants = zone.everything()[0]["tenants"]
    assert sorted(item.slot for item in tenants) == list(range(1, 47))


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.tenants.zone import NOW, grant
import tenants.register
from whitelist.store import open_register
register = open_register(sys.argv[1], create=False)
register.apply_changes([grant(f"g-{n}") for n in range(50)], "root", "kept", NOW)
encode = tenants.register.encode
tenants.register.encode = lambda item: os.kill(os.getpid(), signal.SIGKILL) if item.id == "g-99" else encode(item)
register.apply_changes([grant(f"g-{n}") for n in range(50, 100)], "root", "lost", NOW)
"""


def test_a_writer_killed_in_the_middle_leaves_all_of_the_last_commit_and_nothing_of_the_next(
    zone: Register, where: Path | str
) -> None:
    zone.store.close()
    here = str(Path(__file__).parents[2])
    ended = subprocess.run([sys.executable, "-c", KILLED, str(where), here], capture_output=True, timeout=60)
    assert ended.returncode == -9, ended.stderr.decode()
    again = open_register(where, create=False)
    assert len(again.everything()[0]["grants"]) == 50
    assert again.revision() == 2
    assert again.history(limit=1)[0]["reason"] == "kept"
    assert again.apply_change(change("grants", "revoke", "g-7"), "root", "x", NOW).revision == 3
    again.store.close()


def test_a_whole_zone_fits_into_one_transaction_after_another(register: Register) -> None:
    register.apply_changes(ZONE, "root", "set up", NOW)
    register.apply_changes([grant() for _ in range(2000)], "root", "bulk", NOW)
    assert len({item.id for item in register.everything()[0]["grants"]}) == 2000
