"""Accounts: named people, their roles, and the key that their approvals are signed with.

Roles as in the plan's domain; the three administrators exclude each other (三员分立, GB/T 22239-2019 8.1.5).
"""

import re
from enum import StrEnum

import msgspec

from tenants.model import Provenance


class Role(StrEnum):
    """What a person may be in the zone (closed set)."""

    TENANT_APPLICANT = "tenant-applicant"
    TENANT_COMPLIANCE = "tenant-compliance"
    PLATFORM_OPERATOR = "platform-operator"  # 初审
    ZONE_REVIEWER = "zone-reviewer"  # 复审
    CARRIER_ENGINEER = "carrier-engineer"
    SECURITY_OPERATOR = "security-operator"  # watches, cuts, kills; grants nothing
    REGULATOR = "regulator"
    SYSTEM_ADMINISTRATOR = "system-administrator"
    SECURITY_ADMINISTRATOR = "security-administrator"
    AUDIT_ADMINISTRATOR = "audit-administrator"


ADMINISTRATORS = frozenset({Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR, Role.AUDIT_ADMINISTRATOR})
OF_TENANTS = frozenset({Role.TENANT_APPLICANT, Role.TENANT_COMPLIANCE})
# What these see is recorded as a read: the regulator's for the firm's sake, the administrators' for everybody's.
WATCHED = ADMINISTRATORS | {Role.REGULATOR}
_KEY = re.compile(r"[0-9a-f]{64}").fullmatch


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person. key: raw Ed25519 public key in hex, made on the person's own machine; tenant: whose applicant or
    compliance officer it is; disabled: Unix seconds, 0 for not."""

    id: str
    name: str
    roles: tuple[Role, ...]
    key: str
    tenant: str = ""
    disabled: int = 0
    provenance: Provenance = Provenance()


def validate_account(account: Account) -> list[tuple[str, str]]:
    """The account alone: each fault as (field, message)."""
    errors = []
    if not account.name.strip() or len(account.name) > 200 or not account.name.isprintable():
        errors.append(("name", "needs the person's name, in one line of at most 200 characters"))
    if not _KEY(account.key):
        errors.append(("key", "needs an Ed25519 public key in 64 lower-case hex digits, as `feiyu login` prints it"))
    if not account.roles:
        errors.append(("roles", "needs at least one role"))
    if len(set(account.roles)) != len(account.roles):
        errors.append(("roles", "names a role twice"))
    held = [role for role in account.roles if role in ADMINISTRATORS]
    if len(held) > 1:
        errors.append(("roles", f"{' and '.join(held)} exclude each other: one account holds one of them at most"))
    elif held and len(account.roles) > 1:
        errors.append(("roles", f"{held[0]} goes with no other role: who administers accounts decides nothing else"))
    if Role.REGULATOR in account.roles and len(account.roles) > 1:
        errors.append(("roles", "regulator goes with no other role: the operator's role is not the regulator's"))
    of_tenant = any(role in OF_TENANTS for role in account.roles)
    if of_tenant and any(role not in OF_TENANTS for role in account.roles):
        errors.append(("roles", "a firm's role goes with no role of the zone"))
    if of_tenant != bool(account.tenant):
        errors.append(("tenant", "names the firm of an applicant or compliance officer, and of nobody else"))
    return errors


def bereft(accounts: list[Account]) -> str:
    """Which administrator would be missing, so that no account could be changed any more; "" for none."""
    held = {role for account in accounts if not account.disabled for role in account.roles}
    missing = [role for role in (Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR) if role not in held]
    return " and ".join(missing)
