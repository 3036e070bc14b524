"""SQL about accounts, their factors and the chain, inside a transaction that somebody else opened."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from tenants import chain, schema
from tenants.accounts import Account
from tenants.approval import Approval
from tenants.change import Changed

FAILURES = 5  # wrong passwords or codes in a row, after which an account is locked
LOCKED = 900  # seconds
_decode = msgspec.json.Decoder(Account).decode


@dataclass(frozen=True, slots=True)
class Factors:
    """What an account logs in with. locked_until: Unix seconds."""

    password: str
    secret: str
    last_step: int
    failures: int
    locked_until: int


def governed(connection: Connection) -> bool:
    """Whether there are accounts, so that one person alone opens nothing any more."""
    return bool(connection.execute(select(schema.accounts.c.id).limit(1)).first())


def account(connection: Connection, name: str) -> Account | None:
    """The account, or None."""
    found = select(schema.accounts.c.document).where(schema.accounts.c.id == name)
    document = connection.execute(found).scalar()
    return None if document is None else _decode(document)


def factors(connection: Connection, name: str) -> Factors | None:
    """The account's factors, or None where none are set."""
    columns = schema.factors.c
    row = connection.execute(select(schema.factors).where(columns.account == name)).mappings().first()
    return None if row is None else Factors(**{key: value for key, value in row.items() if key != "account"})


def set_factors(connection: Connection, name: str, password: str, secret: str) -> None:
    """Sets them anew."""
    forget_factors(connection, name)
    fresh = {"last_step": 0, "failures": 0, "locked_until": 0}
    connection.execute(insert(schema.factors), {"account": name, "password": password, "secret": secret, **fresh})


def forget_factors(connection: Connection, name: str) -> None:
    """They must be set again, with the account's key."""
    connection.execute(delete(schema.factors).where(schema.factors.c.account == name))


def failed(connection: Connection, name: str, kept: Factors, now: int) -> bool:
    """Counts a wrong password or code. Whether the account is locked by it."""
    failures = kept.failures + 1
    locks = failures >= FAILURES
    values = {"failures": 0 if locks else failures, "locked_until": now + LOCKED if locks else kept.locked_until}
    connection.execute(update(schema.factors).where(schema.factors.c.account == name).values(values))
    return locks


def succeeded(connection: Connection, name: str, step: int) -> None:
    """A login with the code of a step, which is not good again."""
    values = {"failures": 0, "locked_until": 0, "last_step": step}
    connection.execute(update(schema.factors).where(schema.factors.c.account == name).values(values))


def unconfirmed_grants(connection: Connection, limit: int) -> list[str]:
    """Ids of grants in force on the word of one person, from before there were accounts."""
    columns = schema.grants.c
    found = select(columns.id).where(
        columns.state == "EFFECTIVE", columns.document.contains('"origin":"bootstrap"', autoescape=True)
    )
    return list(connection.execute(found.order_by(columns.id).limit(limit)).scalars())


def founded(connection: Connection) -> int:
    """Unix second of the first link, 0 where there is none."""
    links, revisions = schema.links.c, schema.revisions.c
    first = select(revisions.time).join(schema.links, links.revision == revisions.revision)
    return connection.execute(first.order_by(links.revision).limit(1)).scalar() or 0


def head(connection: Connection) -> str:
    """The digest of the last link, "" where there is none."""
    last = select(schema.links.c.digest).order_by(schema.links.c.revision.desc()).limit(1)
    return connection.execute(last).scalar() or chain.NONE


def zone(connection: Connection) -> str:
    """The digest of the first link, which names the zone; "" where there are no accounts."""
    first = select(schema.links.c.digest).order_by(schema.links.c.revision).limit(1)
    return connection.execute(first).scalar() or ""


def links(connection: Connection) -> list[tuple[int, str, bytes]]:
    """All links, as chain.broken() reads them."""
    rows = connection.execute(select(schema.links).order_by(schema.links.c.revision)).mappings()
    return [(row["revision"], row["digest"], row["document"].encode()) for row in rows]


def link(connection: Connection, revision: int) -> tuple[str, bytes] | None:
    """The digest and the bytes of a revision's link."""
    columns = schema.links.c
    row = connection.execute(select(columns.digest, columns.document).where(columns.revision == revision)).first()
    return None if row is None else (row.digest, row.document.encode())


def add_link(
    connection: Connection, revision: int, now: int, actor: str, reason: str, changed: Sequence[Changed],
    request: str = "", digest: str = "", approvals: Sequence[Approval] = (),
) -> str:  # fmt: skip
    """Makes the next link and returns its digest."""
    data, made = chain.link(revision, head(connection), now, actor, reason, changed, request, digest, approvals)
    connection.execute(insert(schema.links), {"revision": revision, "digest": made, "document": data.decode()})
    return made


def last_revision(connection: Connection) -> int:
    """The register's revision."""
    return connection.execute(select(func.max(schema.revisions.c.revision))).scalar() or 0
