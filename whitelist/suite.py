"""The tests of policy files: questions asked to a policy, with the answers that were expected."""

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Protocol

import msgspec

from tenants.model import TenantState
from whitelist.casbin_model import closure
from whitelist.catalogue import Policy
from whitelist.decide import Access, Permit, decide
from whitelist.entries import PlaceEntry, TenantEntry
from whitelist.proposal import Test
from whitelist.target import TargetError, parse_asked

_STAND_IN = "10.0.0.0/24"
_ADDRESS = "10.0.0.1"


class Asked(Policy, Protocol):
    """A policy that knows its tenants."""

    def tenant(self, name: str) -> TenantEntry | None:
        """A tenant."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A test and what came of it. got: "permit" (by which grant) or the reason; fault: "" for a test that passed."""

    name: str
    where: str
    passed: bool
    expected: str
    got: str
    fault: str = ""


def run(policy: Asked, tests: Iterable[Test], now: int) -> list[Result]:
    """Asks all of them. now: the moment for those that name none, in Unix seconds."""
    return [_one(policy, test, now) for test in tests]


def _one(policy: Asked, test: Test, now: int) -> Result:
    expected = "permit" if test.verdict == "permit" else test.reason
    if test.service:
        expected += f" of {test.service}"

    def result(got: str, fault: str = "") -> Result:
        return Result(name=test.name, where=test.where, passed=not fault, expected=expected, got=got, fault=fault)

    tenant = policy.tenant(test.tenant)
    if tenant is None and not test.groups:
        return result("", f"there is no tenant {test.tenant}; name its groups for a firm that stands in")
    if tenant is None:
        tenant = stand_in(test.tenant, test.groups)
    try:
        target = parse_asked(test.target, 80 if test.access == Access.HTTP else 443)
    except TargetError as error:
        return result("", f"{test.target} is no target: {error.detail}")
    source = test.source or source_of(tenant)
    verdict = decide(policy, tenant, source, None, target, Access(test.access), test.time or now)
    if isinstance(verdict, Permit):
        got = f"permit of {verdict.service}" if test.service else "permit"
        shown = f"permit by {verdict.grant} (service {verdict.service})"
    else:
        got, shown = str(verdict.reason), f"{verdict.reason}: {verdict.detail}"
    return result(shown, "" if got == expected else f"expected {expected}, got {shown}")


def stand_in(name: str, groups: Iterable[str]) -> TenantEntry:
    """A firm in force with a place of its own, a member of these groups, which has consented to inspection."""
    network = ip_network(_STAND_IN)
    place = PlaceEntry("", network.network_address.packed, network.broadcast_address.packed, True)
    held = closure(f"tenant:{name}", [f"group:{group}" for group in groups])
    subjects = tuple(subject.encode() + b"|" for subject in held)
    return TenantEntry(name, TenantState.ACTIVE, 0, 1 << 40, (place,), subjects, 0, 0, 0, 0, 0, 0, 1 << 40)


def source_of(tenant: TenantEntry) -> str:
    """An address of the tenant's first place, in canonical text; 0.0.0.0 where it has none."""
    for place in tenant.places:
        network = ip_network((place.first, 32 if len(place.first) == 4 else 128))
        return str(network.network_address if place.first == place.last else network.network_address + 1)
    return "0.0.0.0"
