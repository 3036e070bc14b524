"""What differs between the plan and the kernel, and the steps that put it right. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.line.plan import Plan, Route, Rule


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. up: administratively; carrier: the far end is there."""

    index: int
    up: bool
    carrier: bool


@dataclass(frozen=True, slots=True)
class Actual:
    """What the kernel says. rules, routes: those in our priorities and tables, whoever made them; foreign: rules of
    others before ours; addresses: usable ones by device; neighbours: state by (device, address); sysctls: None
    where the path does not exist; table: our nft table without counts, empty when it is not there."""

    rules: frozenset[Rule] = frozenset()
    routes: frozenset[Route] = frozenset()
    foreign: tuple[str, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    neighbours: Mapping[tuple[str, str], str] = field(default_factory=dict)
    sysctls: Mapping[str, str | None] = field(default_factory=dict)
    table: str = ""


@dataclass(frozen=True, slots=True)
class AddRule:
    """Add this rule."""

    rule: Rule

    def __str__(self) -> str:
        return f"add {self.rule}"


@dataclass(frozen=True, slots=True)
class DeleteRule:
    """Delete this rule."""

    rule: Rule

    def __str__(self) -> str:
        return f"delete {self.rule}"


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Add this route."""

    route: Route

    def __str__(self) -> str:
        return f"add {self.route}"


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete this route."""

    route: Route

    def __str__(self) -> str:
        return f"delete {self.route}"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Write value to path (below /proc/sys); was: what stood there."""

    path: str
    value: str
    was: str

    def __str__(self) -> str:
        return f"set {self.path} = {self.value} (was {self.was})"


@dataclass(frozen=True, slots=True)
class LoadTable:
    """Replace the nft table as a whole; why: "missing", "edited" or "new"."""

    why: str

    def __str__(self) -> str:
        return f"load table inet feiyu ({self.why})"


Action = LoadTable | SetSysctl | AddRule | DeleteRule | AddRoute | DeleteRoute


def diff(plan: Plan, table: str | None, actual: Actual) -> list[Action]:
    """The steps from actual to plan, in an order in which no step opens a way: the table, then what blocks, then what
    leads. table: the nft table as it read back after its last load, None when not loaded yet. A gateway's route is
    added only while its device is up, for the kernel takes no other, and while the line's source stands on it: what
    merely has the line's name now (renamed, or made by somebody else) is not the line."""
    steps: list[Action] = []
    if table is None or actual.table != table:
        steps.append(LoadTable("new" if table is None else "edited" if actual.table else "missing"))
    for path, value in sorted(
        plan.sysctls.items(), key=lambda item: ("/conf/" in item[0], item)
    ):  # ip_forward resets others
        was = actual.sysctls.get(path)
        if was is not None and was != value:
            steps.append(SetSysctl(path, value, was))
    missing_rules = sorted(plan.rules - actual.rules)
    steps += [AddRule(rule) for rule in missing_rules if not rule.table]
    sources = {(line.table, way.version): way.source for line in plan.lines for way in line.ways}
    wanted = {
        route
        for route in plan.routes
        if not route.device or _leads(actual, route.device, sources[route.table, route.version])
    }
    missing_routes = sorted(wanted - actual.routes)
    steps += [AddRoute(route) for route in missing_routes if not route.device]
    steps += [DeleteRule(rule) for rule in sorted(actual.rules - plan.rules)]
    steps += [DeleteRoute(route) for route in sorted(actual.routes - plan.routes)]
    steps += [AddRoute(route) for route in missing_routes if route.device]
    steps += [AddRule(rule) for rule in missing_rules if rule.table]
    return steps


def _leads(actual: Actual, device: str, source: str) -> bool:
    link = actual.links.get(device)
    return link is not None and link.up and source in actual.addresses.get(device, frozenset())
