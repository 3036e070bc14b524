"""What a repair was for: the line that it counts for, and whether a device made it necessary by itself. Pure."""

from collections.abc import Iterable, Mapping

from gateway.line.plan import Plan
from gateway.line.reconcile import Actual
from gateway.line.steps import (
    Action,
    AddDevice,
    AddRoute,
    AddRule,
    DeleteDevice,
    DeleteRoute,
    DeleteRule,
    DeviceStep,
    SetSysctl,
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
        case _ if isinstance(step, DeviceStep):
            return line_on(step.name, plan)
        case _:
            return ""


def line_on(device: str, plan: Plan) -> str:
    """The id of the line whose packets leave by this device, or ""; of several over one underlay the first."""
    return _named(line.id for line in plan.lines if device in line.devices)


def _named(found: Iterable[str]) -> str:
    return next(iter(found), "")


def is_devices_own(step: Action, plan: Plan, before: Mapping[str, str], actual: Actual) -> bool:
    """Whether the step belongs to a device that went or came since it was last looked at: nobody changed anything of
    ours. before: each device as it was then, in_words(). What the gateway made itself goes only with the device under
    it."""
    if isinstance(step, AddRoute | DeleteRoute):
        devices = {name for line in plan.lines if step.route.table in line.tables for name in line.devices}
    elif isinstance(step, DeviceStep) and not isinstance(step, DeleteDevice):
        if not isinstance(step, AddDevice) and _index(before.get(step.name, "")) != _index(in_words(step.name, actual)):
            return True  # it was just made
        devices = {name for line in plan.lines if line.device == step.name for name in line.devices[1:]}
    elif isinstance(step, SetSysctl):
        devices = {device for device in before if f"/{device}/" in step.path}
    else:
        return False
    return any(before.get(device, "") != in_words(device, actual) for device in devices)


def in_words(device: str, actual: Actual) -> str:
    """The device with its addresses; empty when it is not there."""
    link = actual.links.get(device)
    return "" if link is None else f"{link.index} {link} {sorted(actual.addresses.get(device, ()))}"


def _index(words: str) -> str:
    """What tells a device from one of its name that was made anew."""
    return words.partition(" ")[0]
