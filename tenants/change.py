"""A change to the register, as plain data, and the ways in which one can be refused.

A Change is JSON through and through, so that it can be stored, shown, digested and signed before anybody applies it.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One wish. verb is "add" (fields: the item without what the register sets), "edit" (fields: a JSON merge patch,
    RFC 7396), "remove", or the name of an action of the collection ("revoke", "suspend" …). id may be empty for "add"
    where the register makes one up. revision: the one in which the item last changed, as whoever wishes saw it; 0: the
    wish holds whatever the item is by now."""

    collection: str
    verb: str
    id: str = ""
    fields: dict[str, Any] = {}
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """One item as it was and as it is: before is None for what was added, after is None for what was removed."""

    collection: str
    id: str
    verb: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Applied:
    """What a transaction did. revision is the register's after it; changed leaves out what already was as wished."""

    revision: int
    items: tuple[Any, ...]  # per change, in order: the item as it is now (None: removed)
    changed: tuple[Changed, ...]
    link: str = ""  # digest of its link in the chain, where there are accounts


@dataclass(slots=True)
class ChangeRefused(Exception):  # noqa: N818 - named for what happened
    """A change that cannot be applied: what is wrong, what to do, and the fields at fault as (field, message).
    index is its place among the changes applied together."""

    detail: str
    remedy: str = ""
    errors: list[tuple[str, str]] = field(default_factory=list)
    index: int = 0

    def __str__(self) -> str:
        """The detail and, if any, the fields at fault, in one line."""
        return "; ".join([self.detail, *(f"{name}: {message}" for name, message in self.errors)])


class InvalidChange(ChangeRefused):
    """The item would not be valid, or refers to what does not exist."""


class AlreadyExists(ChangeRefused):
    """An item with this id exists."""


class UnknownItem(ChangeRefused):
    """No item with this id."""


class ConflictingChange(ChangeRefused):
    """The item's state, or those who use it, do not allow the change."""


class StaleChange(ChangeRefused):
    """The item is not as it was when the change was wished."""


class Forbidden(ChangeRefused):
    """The account may not do that, in any of its roles."""


@dataclass(slots=True)
class ApprovalNeeded(ChangeRefused):
    """The change widens what somebody can reach, so it waits for a second person: nothing was changed. changes have
    their ids; changed is what they would make of the items; roles: those in which the submitter may ask for it."""

    changes: tuple[Change, ...] = ()
    changed: tuple[Changed, ...] = ()
    roles: tuple[str, ...] = ()


def merge(target: Any, patch: Any) -> Any:
    """JSON merge patch, RFC 7396 clause 2: objects merge, null removes (so the default returns), the rest replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
