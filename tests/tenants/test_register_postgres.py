"""The register on a server: what can go wrong with one is told in words, and is over when it is over."""

import threading
from collections.abc import Iterator

import psycopg
import pytest

from tenants.postgres import LOCK
from tenants.register import Register
from tenants.store import RegisterUnavailable
from tests.postgres_kit import Server, server
from tests.tenants.zone import NOW, ZONE, grant
from whitelist.store import KINDS, database, open_register


@pytest.fixture
def where(postgres: Server) -> str:
    """These tests are about a server."""
    return postgres.emptied()


@pytest.fixture
def own() -> Iterator[Server]:
    """A server that the test may end."""
    with server() as running:
        yield running


def refused(where: str, *, create: bool = False) -> RegisterUnavailable:
    """What opening is answered with."""
    with pytest.raises(RegisterUnavailable) as caught:
        open_register(where, create=create)
    return caught.value


def test_a_server_that_dies_is_told_and_the_register_works_again_when_it_is_back(own: Server) -> None:
    register = open_register(own.database(), create=True)
    register.apply_changes(ZONE, "root", "set up", NOW)
    own.stop()
    for _ in range(2):
        with pytest.raises(RegisterUnavailable) as caught:
            register.apply_change(grant(), "root", "x", NOW)
        assert caught.value.kind == "unreachable"
        assert "start the server" in caught.value.remedy
    own.start()
    assert register.apply_change(grant(), "root", "x", NOW).revision == 2
    register.store.close()


def test_a_lock_is_waited_for_then_given_up_and_taken_when_it_is_free(zone: Register, where: str) -> None:
    impatient = Register(database(where, 0.05), KINDS)
    with psycopg.connect(where) as holder:
        holder.execute(f"SELECT pg_advisory_lock({LOCK})")
        with pytest.raises(RegisterUnavailable) as caught:
            impatient.apply_change(grant(), "root", "x", NOW)
        assert (caught.value.kind, "0.05 s" in caught.value.detail) == ("locked", True)
        assert impatient.revision() == 1  # reading needs no lock
    assert impatient.apply_change(grant(), "root", "x", NOW).revision == 2
    impatient.store.close()


def test_a_database_that_is_not_there_is_missing(postgres: Server) -> None:
    error = refused(postgres.address("nowhere"), create=True)
    assert error.kind == "missing"
    assert "createdb --template=template0" in error.remedy


def test_an_empty_database_is_filled_only_where_no_policy_was_ever_published(postgres: Server) -> None:
    where = postgres.database()
    assert refused(where).kind == "damaged"
    open_register(where, create=True).store.close()
    open_register(where, create=False).store.close()


def test_a_database_that_does_not_hold_unicode_is_refused(postgres: Server) -> None:
    error = refused(postgres.database(encoding="SQL_ASCII"), create=True)
    assert (error.kind, "bytewise UTF8 is needed" in error.detail) == ("unusable", True)
    assert "createdb --template=template0" in error.remedy


def test_the_name_in_messages_leaves_options_out() -> None:
    store = database("postgresql://feiyu@db.example/feiyu?passfile=/etc/feiyu/pgpass", 1)
    assert store.name == "postgresql://feiyu@db.example/feiyu"


def test_a_reader_sees_one_state_while_others_write(zone: Register, where: str) -> None:
    """Two questions of one transaction agree, whatever is committed between them."""
    with zone.store.transaction(write=False) as connection:
        first = connection.exec_driver_sql("SELECT count(*) FROM grants").scalar()

        def write() -> None:
            other = open_register(where, create=False)
            other.apply_change(grant(), "root", "x", NOW)
            other.store.close()

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        assert connection.exec_driver_sql("SELECT count(*) FROM grants").scalar() == first == 0
    assert len(zone.everything()[0]["grants"]) == 1
