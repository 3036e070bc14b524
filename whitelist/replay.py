"""Recorded decisions, made again with a proposed policy: what would have passed that did not, and the reverse. Pure.

Each request is asked at its own second, with the one verdict that traffic gets. What the proposal adds or extends and
has begun by now is taken to have been in force all along, else nothing new would ever have passed. Where the proposal
and the policy in force agree against the record, that is not the proposal's doing, and is counted apart.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from telemetry.decisions import Decision
from tenants.change import Changed
from tenants.model import Tenant
from whitelist.decide import Access, Permit, decide, denied_address
from whitelist.entries import TenantEntry
from whitelist.model import Grant
from whitelist.reason import Reason
from whitelist.suite import Asked
from whitelist.target import recorded

# Denials that decide() can give. All others (names, lines, limits, identities, faults) are no matter of policy.
POLICY = frozenset(
    (
        Reason.NOT_WHITELISTED, Reason.PORT_NOT_ALLOWED, Reason.PROTOCOL_NOT_ALLOWED, Reason.GRANT_EXPIRED,
        Reason.OUTSIDE_WINDOW, Reason.DIRECTION_NOT_ALLOWED, Reason.DATA_GRADE_FORBIDDEN, Reason.TENANT_SUSPENDED,
        Reason.TENANT_EXPIRED, Reason.SOURCE_NOT_ALLOWED,
    )
)  # fmt: skip
_HOSTS = 5  # shown of each group


class Group(msgspec.Struct, kw_only=True):
    """Decisions that would change alike: of one tenant, for one service ("" for none). reasons: those of the denials,
    before or after; hosts: the first few, with how often; first, last: Unix seconds."""

    tenant: str
    service: str
    count: int = 0
    first: int = 0
    last: int = 0
    reasons: dict[str, int] = {}
    hosts: dict[str, int] = {}


class Report(msgspec.Struct, kw_only=True):
    """What came of it. same: how many would be as they were; since: changed already by what was changed since; unknown:
    what could not be decided again, by why; unseen: newly permitted, whose address and TLS name nobody has seen."""

    decisions: int = 0
    same: int = 0
    deny_to_allow: list[Group] = []
    allow_to_deny: list[Group] = []
    since: dict[str, int] = {}
    unknown: dict[str, int] = {}
    unseen: int = 0


class Replay:
    """A fold over decisions. current: the policy in force, None where there is none to compare with."""

    def __init__(self, proposed: Asked, current: Asked | None) -> None:
        self._proposed, self._current = proposed, current
        self._tenants: dict[str, TenantEntry | None] = {}
        self._now: dict[str, TenantEntry | None] = {}
        self._allowed: dict[tuple[str, str], Group] = {}
        self._denied: dict[tuple[str, str], Group] = {}
        self._since: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._decisions = self._same = self._unseen = 0

    def take(self, found: Iterable[Decision]) -> None:
        """Decides them again."""
        for one in found:
            self._decisions += one.count or 1
            passed = one.decision == "permit"
            if not passed and one.reason not in POLICY:
                self._unknown[one.reason or "no reason"] += one.count or 1
            elif not (one.tenant and one.host and one.client_ip):
                self._unknown["no tenant, host or source in the record"] += one.count or 1
            else:
                self._one(one, passed)

    def report(self) -> Report:
        """What came of all; the groups with most decisions first."""
        return Report(
            decisions=self._decisions,
            same=self._same,
            deny_to_allow=_ordered(self._allowed),
            allow_to_deny=_ordered(self._denied),
            since=dict(self._since),
            unknown=dict(self._unknown.most_common()),
            unseen=self._unseen,
        )

    def _one(self, one: Decision, passed: bool) -> None:
        service, reason = _verdict(self._proposed, self._tenants, one)
        passes = not reason
        if passes is passed:
            self._same += one.count or 1
            return
        if self._current is not None and (not _verdict(self._current, self._now, one)[1]) is passes:
            self._since["deny to allow" if passes else "allow to deny"] += one.count or 1
            return
        groups = self._allowed if passes else self._denied
        key = (one.tenant, service if passes else one.service)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(tenant=key[0], service=key[1], reasons={}, hosts={})
        group.count += one.count or 1
        second = one.time // 1_000_000
        group.first, group.last = min(group.first or second, second), max(group.last, second)
        why = one.reason if passes else reason
        group.reasons[why] = group.reasons.get(why, 0) + (one.count or 1)
        if one.host in group.hosts or len(group.hosts) < _HOSTS:
            group.hosts[one.host] = group.hosts.get(one.host, 0) + (one.count or 1)
        if passes and not one.address:
            self._unseen += one.count or 1


def _verdict(policy: Asked, tenants: dict[str, TenantEntry | None], one: Decision) -> tuple[str, str]:
    """(service, reason): the reason is "" for a permit."""
    if one.tenant not in tenants:
        tenants[one.tenant] = policy.tenant(one.tenant)
    tenant = tenants[one.tenant]
    if tenant is None:
        return "", Reason.IDENTITY_UNKNOWN
    access = Access.TUNNEL if one.method in ("CONNECT", "") else Access.HTTP
    target = recorded(one.host, one.port)
    verdict = decide(policy, tenant, one.client_ip, one.interface or None, target, access, one.time // 1_000_000)
    if not isinstance(verdict, Permit):
        return "", verdict.reason
    if one.address and not target.is_ip and denied_address(policy, one.address, one.port):
        return "", Reason.NOT_WHITELISTED
    return verdict.service, ""


def _ordered(groups: dict[tuple[str, str], Group]) -> list[Group]:
    return sorted(groups.values(), key=lambda group: (-group.count, group.tenant, group.service))


def backdated(changes: Iterable[Changed], since: int, now: int) -> list[Changed]:
    """The changes as if what they begin by now had begun at since (Unix seconds)."""
    return [replace_after(change, since, now) for change in changes]


def replace_after(change: Changed, since: int, now: int) -> Changed:
    """One of them."""
    after: Any = change.after
    if isinstance(after, Grant) and since < after.window.valid_from <= now:
        after = replace(after, window=replace(after.window, valid_from=since))
    elif isinstance(after, Tenant) and since < after.valid_from <= now:
        after = replace(after, valid_from=since)
    return change if after is change.after else Changed(change.collection, change.id, change.verb, change.before, after)
