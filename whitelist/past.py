"""The policy as it was: what lies in force now, with everything undone that was changed since a moment."""

from tenants import queries
from tenants.change import Changed
from tenants.draft import decoders
from tenants.register import Register
from whitelist.holding import holding

_COLLECTIONS = ("groups", "categories", "tenants", "credentials", "services", "lines", "grants", "denies")


def undone(register: Register, moment: int) -> tuple[int, list[Changed]]:
    """The revision in force at a Unix second, and the changes that lead back to it from now."""
    decode = decoders(register.kinds)
    with holding(register) as held, register.store.transaction(write=False) as connection:
        revision = queries.revision_at(connection, moment)
        rows = queries.touched_after(connection, revision, _COLLECTIONS)
        back = []
        for collection in _COLLECTIONS:
            found = [row for row in rows if row.collection == collection]
            now = held.find(collection, [row.item for row in found])
            for row in found:
                before = None if row.before is None else decode[collection](row.before)
                if before is not None or row.item in now:
                    back.append(Changed(collection, row.item, "back", now.get(row.item), before))
    return revision, back
