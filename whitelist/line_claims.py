"""What only one line of a register can have: a device, a VXLAN segment, a source. Each fault as (field, message)."""

from collections.abc import Iterable, Iterator

from whitelist.line_rules import Errors
from whitelist.model import Line, Vxlan


def sources(line: Line) -> dict[str, str]:
    """Addresses the line's packets leave from, each with the field it stands in."""
    own = {address: field for field in ("source4", "source6") if (address := getattr(line, field))}
    for n, share in enumerate(line.shares):
        for field in ("source4", "source6"):
            if address := getattr(share, field):
                own.setdefault(address, f"shares[{n}].{field}")
    return own


def outer_source(line: Line) -> str:
    """The source of the outer packets; empty for a plain line."""
    return line.encapsulation.local if line.encapsulation else ""


def underlay(line: Line) -> str:
    """The device that a VXLAN segment's outer packets leave by."""
    return line.encapsulation.underlay if isinstance(line.encapsulation, Vxlan) else ""


def placement(line: Line) -> tuple[object, ...]:
    """All of a line that claims something of the node, to be compared before and after a change."""
    hops = (line.gateway4, line.gateway6)
    return line.device, underlay(line), outer_source(line), *sources(line), *hops, line.encapsulation


def claim_faults(line: Line, others: Iterable[Line]) -> Errors:
    """What another line in use has already. A rule leads what comes from an address to one line's table, so two lines
    with one address are both left out of the kernel: a new one would take the old one down."""
    return [fault for other in others for fault in _faults(line, other)]


def _faults(line: Line, other: Line) -> Iterator[tuple[str, str]]:
    own, theirs = sources(line), sources(other)
    for address, field in own.items():
        if address in theirs:
            yield field, f"line {other.id} has source {address}; a line needs addresses of its own"
        elif address == outer_source(other):
            yield field, f"line {other.id} has outer source {address}; a line needs addresses of its own"
    if (outer := outer_source(line)) and (outer in theirs or outer in (other.gateway4, other.gateway6)):
        what = "source" if outer in theirs else "gateway"
        message = f"line {other.id} has {what} {outer}; give the tunnel an address of the node that no line has"
        yield "encapsulation.local", message
    if (device := underlay(line)) and device == other.device:
        yield (
            "encapsulation.underlay",
            f"is the device of line {other.id}; give the outer packets one of their own",
        )
    if line.device == underlay(other):
        yield "device", f"line {other.id} has it as underlay; a line needs a device of its own"
    if outer_source(other) and outer_source(other) in (line.gateway4, line.gateway6):
        field = "gateway4" if outer_source(other) == line.gateway4 else "gateway6"
        yield field, f"is the outer source of line {other.id}, an address of ours; give the next hop's"


def segment_faults(line: Line, others: Iterable[Line]) -> Errors:
    """The kernel has one device for a network identifier and port (of each family; one in all is clearer)."""
    own = line.encapsulation
    if not isinstance(own, Vxlan):
        return []
    for other in others:
        outer = other.encapsulation
        if isinstance(outer, Vxlan) and (outer.vni, outer.port) == (own.vni, own.port):
            message = f"line {other.id} has VXLAN {own.vni} on port {own.port}; a line needs a segment of its own"
            return [("encapsulation.vni", message)]
    return []
