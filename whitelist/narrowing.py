"""Whether a change surely opens nothing: such a change one person makes at once, every other waits for a second one.

What is not listed here is taken to open something. What closes an item leaves all else of it as it was: where it is
opened again, two people see the difference, and must not find more in it than that. before is None for a new item,
after for a removed one.
"""

from ipaddress import ip_network
from typing import Any

import msgspec

from tenants.model import Tenant, TenantState
from whitelist.model import Deny, Grant, GrantState, Line, Service

_OPEN = frozenset({TenantState.ACTIVE, TenantState.RENEWAL_DUE})
_LIMITS = ("max_tunnels", "tunnels_per_second", "bytes_per_day", "bytes_per_month")  # 0: none of its own


def tenant_narrows(before: Tenant | None, after: Tenant | None) -> bool:
    """Suspended or gone, or the same with an earlier end, fewer places and groups, lower limits, its
    consent to inspection taken back."""
    if before is None or after is None:
        return False
    if after.state not in _OPEN:
        return _same(before, after, "state")
    return (
        _same(before, after, "valid_from", "valid_until", "places", "groups", "consent", *_LIMITS)
        and after.consent in (before.consent, None)
        and after.valid_from >= before.valid_from
        and after.valid_until <= before.valid_until
        and set(after.places) <= set(before.places)
        and set(after.groups) <= set(before.groups)
        and all(_lower(getattr(before, name), getattr(after, name)) for name in _LIMITS)
    )


def grant_narrows(before: Grant | None, after: Grant | None) -> bool:
    """Suspended or revoked, or the same over fewer lines for a shorter time."""
    if before is None or after is None:
        return False
    if after.state is not GrantState.EFFECTIVE:
        return _same(before, after, "state")
    inside = (
        msgspec.structs.replace(after.window, valid_from=0, valid_until=0)
        == msgspec.structs.replace(before.window, valid_from=0, valid_until=0)
        and after.window.valid_from >= before.window.valid_from
        and after.window.valid_until <= before.window.valid_until
    )
    return _same(before, after, "window", "lines", "line_weights") and inside and set(after.lines) <= set(before.lines)


def service_narrows(before: Service | None, after: Service | None) -> bool:
    """Retired."""
    return before is not None and after is not None and after.retired and _same(before, after, "retired")


def deny_narrows(before: Deny | None, after: Deny | None) -> bool:
    """A new deny, or one that covers more ports of the same target."""
    if after is None:
        return False
    if before is None:
        return True
    wider = not after.ports or (bool(before.ports) and set(before.ports) <= set(after.ports))
    if "/" in before.target and "/" in after.target:
        old, new = ip_network(before.target), ip_network(after.target)
        return wider and old.version == new.version and old.subnet_of(new)  # type: ignore[arg-type]
    return wider and before.target == after.target


def line_narrows(before: Line | None, after: Line | None) -> bool:
    """Drained, undrained (who may use it was not changed by draining it) or retired."""
    if before is None or after is None:
        return False
    return (after.retired or not before.retired) and _same(before, after, "drained", "retired")


def name_narrows(_before: Any, _after: Any) -> bool:
    """A group or category by itself is a name: what is in it stands on tenants and services."""
    return True


def _same(before: Any, after: Any, *but: str) -> bool:
    """Whether two items agree in all but these fields, and who put them there."""
    return all(
        getattr(before, name) == getattr(after, name)
        for name in before.__struct_fields__
        if name not in but and name != "provenance"
    )


def _lower(before: int, after: int) -> bool:
    return after == before or (after > 0 and (before == 0 or after <= before))
