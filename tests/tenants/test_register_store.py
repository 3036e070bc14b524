"""The register in a file: durable, and honest about what is wrong with the file."""

import os
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from tenants.change import ConflictingChange
from tenants.register import Register
from tenants.schema import metadata
from tenants.store import RegisterUnavailable, Store
from tests.tenants.zone import NOW, change, grant, line, tenant
from whitelist.store import KINDS, open_register


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """These tests are about files."""
    return tmp_path / "register.db"


def why(register: Register) -> RegisterUnavailable:
    """What a question is answered with."""
    with pytest.raises(RegisterUnavailable) as caught:
        register.revision()
    return caught.value


def test_the_settings_that_make_a_commit_durable_are_on(zone: Register) -> None:
    with zone.store.transaction(write=False) as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_register_of_the_first_schema_keeps_all_it_has(zone: Register, tmp_path: Path) -> None:
    zone.apply_changes([grant("g-1"), line("hk2", "l2"), change("lines", "retire", "hk2")], "root", "x", NOW)
    before = zone.everything()
    zone.store.close()
    old = tmp_path / "old.db"
    engine, config = create_engine(f"sqlite:///{old}"), Config()
    config.set_main_option("script_location", "tenants:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "r0001")
    engine.dispose()
    with sqlite3.connect(old, isolation_level=None) as plain:
        plain.execute("ATTACH ? AS zone", (str(zone.store.path),))
        names = [name for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            if name != "alembic_version":
                plain.execute(f"INSERT INTO main.{name} SELECT * FROM zone.{name}")
    plain.close()
    again = open_register(old, create=False)
    assert again.everything() == before
    with again.store.transaction(write=False) as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    with pytest.raises(ConflictingChange, match="used by grant g-1"):
        again.apply_change(change("lines", "retire", "hk1"), "root", "the reference is there", NOW)
    assert again.apply_change(line("hk3", "l3"), "root", "x", NOW).items[0].index == 3
    again.store.close()


def test_a_missing_register_is_not_made_up(tmp_path: Path) -> None:
    path = tmp_path / "register.db"
    with pytest.raises(RegisterUnavailable) as caught:
        open_register(path, create=False)
    assert caught.value.kind == "missing"
    assert not path.exists()


def test_an_emptied_register_is_damage_and_not_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "register.db").touch()
    with pytest.raises(RegisterUnavailable) as caught:
        open_register(tmp_path / "register.db", create=False)
    assert caught.value.kind == "damaged"


def test_a_register_taken_away_is_missed_and_works_again_when_put_back(zone: Register) -> None:
    zone.store.close()  # the log is folded into the file, as a backup would have it
    aside = zone.store.path.with_suffix(".aside")
    assert zone.revision() == 1
    os.rename(zone.store.path, aside)
    assert why(zone).kind == "missing"
    assert not zone.store.path.exists()
    os.rename(aside, zone.store.path)
    assert zone.revision() == 1


def test_a_damaged_register_says_so_and_works_again_when_put_back(zone: Register) -> None:
    zone.store.close()
    good = zone.store.path.read_bytes()
    zone.store.path.write_bytes(b"not a database at all" * 500)
    assert why(zone).kind == "damaged"
    with pytest.raises(RegisterUnavailable) as caught:
        zone.apply_change(grant(), "root", "x", NOW)
    assert caught.value.kind == "damaged"
    zone.store.path.write_bytes(good)
    assert zone.apply_change(grant(), "root", "x", NOW).revision == 2


def test_a_page_of_rubbish_inside_is_found_when_opened(zone: Register) -> None:
    zone.apply_changes([tenant(f"t{n}") for n in range(200)], "root", "x", NOW)
    zone.store.close()
    with open(zone.store.path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        pages = file.tell() // 4096
        for page in range(pages // 2, pages):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
    with pytest.raises(RegisterUnavailable) as caught:
        open_register(zone.store.path, create=False)
    assert caught.value.kind == "damaged"


def test_a_locked_register_is_waited_for_then_given_up_and_works_again_after(zone: Register) -> None:
    impatient = Register(Store(zone.store.path, busy_timeout=0.05), KINDS)
    holder = sqlite3.connect(zone.store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(RegisterUnavailable) as caught:
        impatient.apply_change(grant(), "root", "x", NOW)
    assert caught.value.kind == "locked"
    assert "0.05 s" in caught.value.detail
    assert impatient.revision() == 1  # reading needs no lock
    holder.execute("ROLLBACK")
    holder.close()
    assert impatient.apply_change(grant(), "root", "x", NOW).revision == 2
    impatient.store.close()
