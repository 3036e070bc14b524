"""The register's side of a law (whitelist.lawful): a revision with its link, its items and its request."""

from dataclasses import dataclass

from sqlalchemy import select

from tenants import people, schema
from tenants.register import Register


@dataclass(frozen=True, slots=True)
class LawStep:
    """As whitelist.lawful.Step."""

    collection: str
    id: str
    verb: str
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class RegisterLaw:
    """As whitelist.lawful.Law."""

    revision: int
    link: bytes
    steps: tuple[LawStep, ...]
    content: bytes


def law(register: Register, revision: int) -> RegisterLaw:
    """All that a revision stands on. A revision that was passed over has nothing."""
    changes, asked = schema.changes.c, schema.requests.c
    rows = select(schema.changes).where(changes.revision == revision).order_by(changes.number)
    with register.store.transaction(write=False) as connection:
        steps = tuple(
            LawStep(
                row["collection"],
                row["item"],
                row["verb"],
                (row["before"] or "").encode(),
                (row["after"] or "").encode(),
            )
            for row in connection.execute(rows).mappings()
        )
        found = people.link(connection, revision)
        content = connection.execute(select(asked.content).where(asked.revision == revision)).scalar() or ""
    return RegisterLaw(revision, b"" if found is None else found[1], steps, content.encode())
