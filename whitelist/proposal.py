"""A policy as somebody wishes it: what policy files say, as plain data that can be sent, digested and shown.

Entries are the fields of the register's items in the API's form. An entry stands for the whole item: what it leaves out
has its default. A tenant alone may be named with only what changes, since the rest of it is its application's.
"""

import hashlib
from typing import Any

import msgspec

COLLECTIONS = ("groups", "categories", "tenants", "services", "grants", "denies")  # those that policy files know


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the files are complete about: there, what they do not name is taken away. Of tenants it is their own
    grants; of the zone all grants, services and denies. Without a scope nothing is taken away."""

    zone: bool = False
    tenants: tuple[str, ...] = ()


class Test(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question and its answer: (tenant, target, time → verdict and reason). groups: a firm of these groups stands
    in where there is no such tenant. time: Unix seconds, 0 for the moment of testing. verdict: "permit" or "deny".
    where: FILE:LINE."""

    name: str
    tenant: str
    groups: tuple[str, ...] = ()
    target: str
    access: str = "tunnel"
    source: str = ""
    time: int = 0
    verdict: str
    reason: str = ""
    service: str = ""
    where: str = ""


class Proposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entries of all files together, by collection."""

    scope: Scope = Scope()
    groups: tuple[dict[str, Any], ...] = ()
    categories: tuple[dict[str, Any], ...] = ()
    tenants: tuple[dict[str, Any], ...] = ()
    services: tuple[dict[str, Any], ...] = ()
    grants: tuple[dict[str, Any], ...] = ()
    denies: tuple[dict[str, Any], ...] = ()
    tests: tuple[Test, ...] = ()


def digest(proposal: Proposal) -> str:
    """SHA-256 (hex) of what is proposed: of the same wishes the same, however the files are laid out."""
    return hashlib.sha256(msgspec.json.encode(proposal, order="sorted")).hexdigest()
