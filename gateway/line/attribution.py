"""Which line a repair was for, so that it counts there. Pure."""

from collections.abc import Iterable

from gateway.line.plan import Plan
from gateway.line.reconcile import Action, AddRoute, AddRule, DeleteRoute, DeleteRule, LoadTable


def line_of(step: Action, plan: Plan) -> str:
    """The id of the line that the step concerns alone; "" for what is of the node or of all lines, as the nft table
    and the rules behind the lines' own are."""
    match step:
        case AddRoute(route) | DeleteRoute(route):
            return _named(line.id for line in plan.lines if line.table == route.table)
        case AddRule(rule) | DeleteRule(rule):
            return _named(
                line.id
                for line in plan.lines
                if (rule.table and rule.table == line.table)
                or (rule.mark and rule.mark == line.mark)
                or (rule.source and any(rule.source in way.sources for way in line.ways))
            )
        case LoadTable():
            return ""
        case _:
            return line_on(step.path.split("/")[3] if step.path.count("/") >= 4 else "", plan)


def line_on(device: str, plan: Plan) -> str:
    """The id of the line on this device, or ""."""
    return _named(line.id for line in plan.lines if line.device == device)


def _named(found: Iterable[str]) -> str:
    return next(iter(found), "")
