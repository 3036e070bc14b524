"""Which line a repair was for, so that it counts there. Pure."""

from collections.abc import Iterable

from gateway.line.plan import Plan
from gateway.line.reconcile import (
    Action,
    AddAddress,
    AddDevice,
    AddRoute,
    AddRule,
    DeleteAddress,
    DeleteDevice,
    DeleteRoute,
    DeleteRule,
    LoadTable,
    SetMtu,
    SetSysctl,
    SetTunnelSource,
    SetUp,
)


def line_of(step: Action, plan: Plan) -> str:
    """The id of the line that the step concerns alone; "" for what is of the node or of all lines, as the nft table
    and the rules behind the lines' own are."""
    match step:
        case AddRoute(route) | DeleteRoute(route):
            return _named(line.id for line in plan.lines if route.table in line.tables)
        case AddRule(rule) | DeleteRule(rule):
            return _named(
                line.id
                for line in plan.lines
                if (rule.table in line.tables)
                or (rule.mark and rule.mark == line.mark)
                or (rule.source and rule.source in line.addresses)
            )
        case SetSysctl(path):
            return line_on(path.split("/")[3] if path.count("/") >= 4 else "", plan)
        case AddDevice(device):
            return device.line
        case DeleteDevice(name) | AddAddress(name) | DeleteAddress(name) | SetMtu(name) | SetUp(name):
            return line_on(name, plan)
        case LoadTable() | SetTunnelSource():
            return ""


def line_on(device: str, plan: Plan) -> str:
    """The id of the line whose packets leave by this device, or ""; of several over one underlay the first."""
    return _named(line.id for line in plan.lines if device in line.devices)


def _named(found: Iterable[str]) -> str:
    return next(iter(found), "")
