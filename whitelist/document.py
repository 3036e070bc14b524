"""All that the register holds, as one thing to compile."""

from collections.abc import Iterable
from dataclasses import dataclass

from tenants.accounts import Account
from tenants.model import Credential, Tenant
from whitelist.model import Category, Deny, Grant, Group, Line, Service


@dataclass(frozen=True, kw_only=True)
class Document:
    """The register's collections by their names, in any order. Each is gone through once, so large ones may be
    generators."""

    tenants: Iterable[Tenant] = ()
    credentials: Iterable[Credential] = ()
    services: Iterable[Service] = ()
    groups: Iterable[Group] = ()
    categories: Iterable[Category] = ()
    grants: Iterable[Grant] = ()
    denies: Iterable[Deny] = ()
    lines: Iterable[Line] = ()
    accounts: Iterable[Account] = ()  # compile to nothing: who may change the policy is not part of it
