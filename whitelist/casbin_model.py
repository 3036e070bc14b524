"""The policy as Casbin reads it: configs/casbin/model.conf is the meaning that the compiled snapshot must have.

enforce() scans every rule, milliseconds at a thousand of them, so no connection asks it. The compiler takes from here
which roles a name holds; tests hold the compiled snapshot against enforcer().
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from ipaddress import ip_address, ip_network

import casbin
from casbin.rbac.default_role_manager.role_manager import RoleManager

from tenants.model import Side, Tenant, TenantState
from whitelist.document import Document
from whitelist.model import DataGrade, Grant, GrantState, Window

EVERYONE = "everyone"
ALWAYS = "0 253402300799 0123456 0 1440 0"
_EFFECT = "some(where (p_eft == allow)) && !some(where (p_eft == deny))"
_DEPTH = 10  # of groups within groups; today there is one level


class ModelError(Exception):
    """configs/casbin/model.conf does not say what the compiled policy is."""


def load_model() -> casbin.Model:
    """The model. Raises ModelError when it is missing, cannot be read, or has another effect or other roles than the
    compiler keeps to."""
    try:
        text = files("configs").joinpath("casbin", "model.conf").read_text(encoding="utf-8")
        model = casbin.Model()
        model.load_model_from_text(text)
        effect, roles = model["e"]["e"].value, sorted(model["g"])
    except (OSError, ModuleNotFoundError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"configs/casbin/model.conf cannot be read: {error!r}; install this release again") from error
    if effect != _EFFECT or roles != ["g", "g2"]:
        raise ModelError("configs/casbin/model.conf: deny must override allow, with roles g and g2; install it again")
    return model


def closure(name: str, direct: Iterable[str]) -> tuple[str, ...]:
    """The name and every role it holds by Casbin's role manager, its own first, then in order of names."""
    manager = RoleManager(_DEPTH)
    for role in direct:
        manager.add_link(name, role)
    held = [name]
    for one in held:
        held += [role for role in sorted(manager.get_roles(one)) if role not in held]
    return tuple(held)


def enforcer(document: Document) -> casbin.Enforcer:
    """An enforcer of the document: enforce("tenant:ID", "INTERFACE ADDRESS", "ACCESS HOST PORT", Unix s) → bool."""
    made = casbin.Enforcer(load_model())
    tenants = {f"tenant:{tenant.id}": tenant for tenant in document.tenants}
    made.add_function("admitted", _admission(tenants))
    made.add_function("in_force", in_force)
    made.add_named_matching_func("g2", covers)
    for name, tenant in tenants.items():
        made.add_grouping_policy(name, EVERYONE)
        for group in tenant.groups:
            made.add_grouping_policy(name, f"group:{group}")
    for service in document.services:
        if service.retired:
            continue
        for endpoint in service.endpoints:
            ports = ",".join(map(str, endpoint.ports))
            pattern = f"endpoint {endpoint.protocol} {endpoint.target} {ports}"
            made.add_named_grouping_policy("g2", pattern, f"service:{service.id}")
        for category in service.categories:
            made.add_named_grouping_policy("g2", f"service:{service.id}", f"category:{category}")
    for deny in document.denies:
        pattern = f"endpoint any {deny.target} {','.join(map(str, deny.ports)) or 'any'}"
        made.add_named_grouping_policy("g2", pattern, f"deny:{deny.id}")
        made.add_policy(EVERYONE, f"deny:{deny.id}", ALWAYS, "deny")
    abroad = {line.id for line in document.lines if line.side is Side.ABROAD and not line.retired}
    for grant in document.grants:
        if _may_allow(grant, abroad):
            made.add_policy(grant.subject, grant.object, term(grant.window), "allow")
    return made


def term(window: Window) -> str:
    """A window as a rule's term: FROM UNTIL WEEKDAYS START END OFFSET."""
    days = "".join(map(str, sorted(window.weekdays))) or "0123456"
    return (
        f"{window.valid_from} {window.valid_until} {days} "
        f"{window.start_minute} {window.end_minute} {window.utc_offset_minutes}"
    )


def in_force(now: int, when: str) -> bool:
    """Whether a term covers a Unix second."""
    begin, end, days, start, stop, offset = when.split(" ")
    local = datetime.fromtimestamp(now, UTC) + timedelta(minutes=int(offset))
    minute = local.hour * 60 + local.minute
    return int(begin) <= now < int(end) and str(local.weekday()) in days and int(start) <= minute < int(stop)


def covers(asked: str, pattern: str) -> bool:
    """Whether "ACCESS HOST PORT" is what "endpoint PROTOCOL TARGET PORTS" is about."""
    if not pattern.startswith("endpoint ") or not asked.startswith(("tunnel ", "http ")):
        return False
    access, host, port = asked.split(" ")
    _, protocol, target, ports = pattern.split(" ")
    if ports != "any" and port not in ports.split(","):
        return False
    if protocol != "any" and (access == "http") != (protocol == "http"):
        return False
    if "/" in target:
        try:
            return ip_address(host) in ip_network(target)
        except ValueError:
            return False
    return host.endswith(target[1:]) and host != target[2:] if target.startswith("*.") else host == target


def _admission(tenants: dict[str, Tenant]) -> Callable[[str, str, int], bool]:
    def admitted(name: str, source: str, now: int) -> bool:
        """Whether the tenant is in force, and asks from a place of its own in the offshore zone."""
        tenant = tenants.get(name)
        if tenant is None or tenant.state not in {TenantState.ACTIVE, TenantState.RENEWAL_DUE}:
            return False
        interface, address = source.split(" ")
        return tenant.valid_from <= now < tenant.valid_until and any(
            place.side is Side.OFFSHORE
            and place.interface == interface
            and ip_address(address) in ip_network(place.prefix)
            for place in tenant.places
        )

    return admitted


def _may_allow(grant: Grant, abroad: set[str]) -> bool:
    return (
        grant.state is GrantState.EFFECTIVE
        and grant.data_grade is not DataGrade.CORE
        and any(line in abroad for line in grant.lines)
    )
