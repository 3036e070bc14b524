"""Whether a line can carry a new flow, from what the kernel says of it. Pure."""

from collections.abc import Mapping

from gateway.line.overlay import device_of, routes_of, wrap_of
from gateway.line.reconcile import Actual, is_ours
from gateway.line.routing import METRIC_GATEWAY, Route
from gateway.line.spec import LineSpec, Segments, Underlay, Way

UP = "up"
DOWN = "down"


class Silent:
    """Next hops that did not answer. The kernel forgets that it asked in vain when it asks again: until one answers it
    is taken as silent still."""

    def __init__(self) -> None:
        self._silent: set[tuple[str, str]] = set()

    def settled(self, neighbours: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
        """What the kernel says, with what it said before. Words: failed, asked (no answer yet), known."""
        for key, word in neighbours.items():
            if word == "failed":
                self._silent.add(key)
            elif word == "known":
                self._silent.discard(key)
        return {**neighbours, **dict.fromkeys(self._silent, "failed")}


def line_state(line: LineSpec, actual: Actual) -> tuple[str, str]:
    """(UP or DOWN, why). A line is up while at least one family works; the detail then names the one that does not,
    and single tenants' sources that are missing."""
    for device in reversed(line.devices):  # the one under a tunnel first: it takes the other with it
        link = actual.links.get(device)
        if link is None:
            return DOWN, f"device {device} does not exist"
        if device == line.device and not is_ours(device_of(line), link):
            return DOWN, f"device {device} is not the one that the gateway makes for the line; remove or rename it"
        if not link.up:
            return DOWN, f"device {device} is down"
        if not link.carrier:
            return DOWN, f"device {device} has no carrier"
    if fault := _outer_fault(line, actual):
        return DOWN, fault
    broken = [fault for way in line.ways if (fault := _fault(line, way, actual))]
    partly = [
        f"IPv{way.version}: {lost}"
        for way in line.ways
        if (lost := actual.diverted.get((line.table, way.version))) and lost.parts and not _fault(line, way, actual)
    ]
    here = actual.addresses.get(line.device, frozenset())
    partly += [
        f"a tenant's source {text} is not on {line.device}" for w in line.ways for text in w.others if text not in here
    ]
    return DOWN if len(broken) == len(line.ways) else UP, ", ".join([*broken, *partly])


def _outer_fault(line: LineSpec, actual: Actual) -> str:
    """What stops the outer packets of a tunnel."""
    match line.tunnel:
        case Underlay(device=device, local=local, gateway=gateway):
            stands = local in actual.addresses.get(device, frozenset())
        case Segments(local=local, gateway=gateway):
            device = line.device
            stands = any(local in found for found in actual.addresses.values())
            if actual.tunnel_source != local:
                return f"the node's SRv6 source address is not {local}"
        case _:
            return ""
    if not stands:
        return f"outer source {local} is not on {device}"
    if actual.neighbours.get((device, gateway)) == "failed":
        return f"gateway {gateway} does not answer"
    missing = sorted(route for route in routes_of(line) - actual.routes if route.gateway)
    return f"no {missing[0]}" if missing else ""


def _fault(line: LineSpec, way: Way, actual: Actual) -> str:
    if fault := _own_fault(line, way, actual):
        return fault
    lost = actual.diverted.get((line.table, way.version))
    return f"IPv{way.version}: {lost}" if lost and not lost.parts else ""


def _own_fault(line: LineSpec, way: Way, actual: Actual) -> str:
    if way.source not in actual.addresses.get(line.device, frozenset()):
        return f"source {way.source} is not on {line.device}"
    if isinstance(line.tunnel, Segments):
        wrap = wrap_of(line, line.tunnel, way.version)
        return "" if wrap in actual.routes else f"no IPv{way.version} route into the segment list"
    if actual.neighbours.get((line.device, way.gateway)) == "failed":
        return f"gateway {way.gateway} does not answer"
    if Route(way.version, line.table, METRIC_GATEWAY, line.device, way.gateway) not in actual.routes:
        return f"no route to {way.gateway}"
    return ""
