"""Rules that hold for a change of any collection, and the words in which one is refused."""

import re
from typing import Any

import msgspec

from tenants.change import Change, ConflictingChange, InvalidChange, UnknownItem
from tenants.kinds import Kind

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MADE = re.compile(r"[0-9a-hjkmnp-tv-z]{10}")
_FIELD = re.compile(r"field `([^`]+)`")


def unknown(kind: Kind, item: str) -> UnknownItem:
    """There is no such item."""
    return UnknownItem(f"there is no {kind.noun} {item}", f"list the {kind.collection} to see their ids")


def invalid(kind: Kind, errors: list[tuple[str, str]]) -> InvalidChange:
    """The item has faults."""
    return InvalidChange(f"the {kind.noun} is not valid", "correct the fields named in errors", errors)


def check_id(kind: Kind, item: Any, stated: Any) -> None:
    """A new item's id: a slug, made up where the collection's ids are. Raises InvalidChange."""
    if item != stated:
        raise invalid(kind, [("id", "differs from the one in the address")])
    if not isinstance(item, str) or not _SLUG.fullmatch(item):
        raise invalid(kind, [("id", "needs 1 to 63 of a-z, 0-9 and -, the first not -")])
    if kind.made_ids_only and not (item.startswith(kind.id_prefix) and _MADE.fullmatch(item[len(kind.id_prefix) :])):
        raise invalid(kind, [("id", f"needs {kind.id_prefix} and 10 characters of Crockford's base32")])


def convert(kind: Kind, fields: dict[str, Any]) -> Any:
    """The item that JSON fields make. Raises InvalidChange."""
    try:
        return msgspec.convert(fields, kind.struct)
    except msgspec.ValidationError as error:
        raise invalid(kind, [_field_of(str(error))]) from error


def _field_of(words: str) -> tuple[str, str]:
    """(field, message) of msgspec's words: "Expected `int`, got `str` - at `$.window.valid_from`"."""
    what, _, where = words.partition(" - at `$")
    name = where.rstrip("`").removeprefix(".")
    named = _FIELD.search(what)
    if named is None:
        return name, what
    message = "is needed" if "missing" in what else "is no field here" if "unknown" in what else what
    return f"{name}.{named[1]}".lstrip("."), message


def refuse_given(kind: Kind, after: Any, kept: dict[str, Any]) -> None:
    """Fields that must be as kept says. Raises InvalidChange."""
    errors = [
        (name, "is set by the register alone" if name in kind.given else "cannot be changed")
        for name, value in kept.items()
        if getattr(after, name) != value
    ]
    if errors:
        raise invalid(kind, errors)


def refuse_used(kind: Kind, change: Change, users: list[str]) -> None:
    """Raises ConflictingChange, with who they are, if there are any."""
    if users:
        shown = ", ".join(users[:10]) + (f" and {len(users) - 10} more" if len(users) > 10 else "")
        raise ConflictingChange(
            f"cannot {change.verb} {kind.noun} {change.id}: used by {shown}", "change or revoke those first"
        )
