"""Whether a line's encapsulation is right in itself: each fault as (field, message in plain words, with the remedy)."""

from ipaddress import ip_address

from whitelist import line_claims
from whitelist.device import device_fault
from whitelist.line_rules import Errors, machine_fault
from whitelist.model import Line, Srv6, Vxlan

MAX_SEGMENTS = 8
LEAST_MTU, MOST_MTU = 1280, 65_535  # bytes; IPv6 works over no less (RFC 8200 clause 5)


def encapsulation_faults(line: Line) -> Errors:
    """A VXLAN segment or a segment list; neither is right too."""
    match line.encapsulation:
        case Vxlan() as vxlan:
            return _vxlan(line, vxlan) + _mtu(vxlan.mtu)
        case Srv6() as srv6:
            return _srv6(line, srv6) + _mtu(srv6.mtu)
        case _:
            return []


def _vxlan(line: Line, vxlan: Vxlan) -> Errors:
    errors: Errors = []
    if not 0 < vxlan.vni < 1 << 24:
        errors.append(("encapsulation.vni", "needs 1 to 16777215 (RFC 7348)"))
    if not 0 < vxlan.port < 65_536:
        errors.append(("encapsulation.port", "needs 1 to 65535"))
    if fault := device_fault(vxlan.underlay):
        errors.append(("encapsulation.underlay", f"is no device's name: {fault}"))
    elif vxlan.underlay in (line.device, "lo"):
        errors.append(("encapsulation.underlay", "needs the device that leads to the peer, not the line's own or lo"))
    found = _outer("local", vxlan.local) + _outer("peer", vxlan.peer)
    found += _outer("gateway", vxlan.gateway, hop=True) if vxlan.gateway else []
    ends = [text for text in (vxlan.local, vxlan.peer, vxlan.gateway) if text]
    if not found and len({ip_address(text).version for text in ends}) != 1:
        found.append(("encapsulation.peer", "needs the family of local and gateway; give all of one family"))
    if vxlan.local == vxlan.peer:
        found.append(("encapsulation.peer", "is the local address; give the far end's"))
    if vxlan.gateway == vxlan.local:
        found.append(("encapsulation.gateway", "is the local address; give the next hop towards the peer"))
    return errors + found + _inner(line, vxlan.local)


def _inner(line: Line, local: str) -> Errors:
    """A rule leads what comes from a source into the line, itself again; and the next hop's address is not ours."""
    if local and local in line_claims.sources(line):
        return [("encapsulation.local", "is a source within the line too; give an address of the node")]
    if local and local in (line.gateway4, line.gateway6):
        return [("encapsulation.local", "is the line's gateway; give an address of the node")]
    return []


def _srv6(line: Line, srv6: Srv6) -> Errors:
    errors: Errors = []
    if not srv6.segments:
        errors.append(("encapsulation.segments", "is empty; name the segments, the first one first"))
    if len(srv6.segments) > MAX_SEGMENTS:
        message = f"has more than {MAX_SEGMENTS} segments; leave out those that the carrier's network finds itself"
        errors.append(("encapsulation.segments", message))
    for n, segment in enumerate(srv6.segments):
        errors += _outer(f"segments[{n}]", segment, 6)
    errors += _outer("local", srv6.local, 6) + _outer("gateway", srv6.gateway, 6, hop=True)
    if srv6.local in srv6.segments[:1]:
        errors.append(("encapsulation.segments[0]", "is the local address; give the carrier's first segment"))
    if srv6.gateway == srv6.local:
        errors.append(("encapsulation.gateway", "is the local address; give the next hop towards the first segment"))
    return errors + _inner(line, srv6.local)


def _outer(field: str, text: str, family: int = 0, *, hop: bool = False) -> Errors:
    """An address of the outer header, or (hop) of the neighbour that it is handed to."""
    fault = machine_fault(text, family, hop=hop)
    return [(f"encapsulation.{field}", fault)] if fault else []


def _mtu(mtu: int) -> Errors:
    if mtu and not LEAST_MTU <= mtu <= MOST_MTU:
        return [("encapsulation.mtu", f"needs {LEAST_MTU} to {MOST_MTU} bytes, or 0 for what the device leaves")]
    return []
