"""The names of groups, and values as they are kept: bounded, whatever others send."""

from hashlib import blake2b

from telemetry.interception.fields import Field
from telemetry.interception.leaf import texts
from telemetry.record import Record

_LONGEST = 64  # characters of a name or a value; of a longer one the digest is kept

type Key = tuple[str, ...]


def short(text: str) -> str:
    """A text as it is kept."""
    return text if len(text) <= _LONGEST else "#" + blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def key_of(fields: tuple[Field, ...], record: Record) -> Key | None:
    """The group that a record belongs to; None for none, where one of its fields is absent."""
    key = []
    for field in fields:
        value = field.get(record)
        if type(value) is not str:
            found = texts(value)
            value = found[0] if found else ""
        if not value:
            return None
        key.append(value if len(value) <= _LONGEST else short(value))
    return tuple(key)
