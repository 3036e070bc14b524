"""Whether a line can carry a new flow, from what the kernel says of it. Pure."""

from gateway.line.plan import METRIC_GATEWAY, Route
from gateway.line.reconcile import Actual
from gateway.line.spec import LineSpec, Way

UP = "up"
DOWN = "down"


def line_state(line: LineSpec, actual: Actual) -> tuple[str, str]:
    """(UP or DOWN, why). A line is up while at least one family works; the detail then names the one that does not."""
    link = actual.links.get(line.device)
    if link is None:
        return DOWN, f"device {line.device} does not exist"
    if not link.up:
        return DOWN, f"device {line.device} is down"
    if not link.carrier:
        return DOWN, f"device {line.device} has no carrier"
    broken = [fault for way in line.ways if (fault := _fault(line, way, actual))]
    return DOWN if len(broken) == len(line.ways) else UP, ", ".join(broken)


def _fault(line: LineSpec, way: Way, actual: Actual) -> str:
    if way.source not in actual.addresses.get(line.device, frozenset()):
        return f"source {way.source} is not on {line.device}"
    if actual.neighbours.get((line.device, way.gateway)) == "failed":
        return f"gateway {way.gateway} does not answer"
    if Route(way.version, line.table, METRIC_GATEWAY, line.device, way.gateway) not in actual.routes:
        return f"no route to {way.gateway}"
    return ""
