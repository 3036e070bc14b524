"""What only shows when the listeners of a configuration are seen together, and with the rest of it. Pure."""

import ipaddress
from collections.abc import Iterator
from itertools import combinations

from gateway.line.model import is_lines, overlapping
from ops import settings as s


def listener_faults(settings: s.Settings) -> Iterator[tuple[str, str, str]]:
    """Each fault: the key of the configuration, what is wrong, what is expected."""
    for listener in settings.listeners:
        if "prefix" not in listener.demands:  # the direction of the traffic hangs on the place
            yield "listeners", f"{listener.name} does not demand the prefix", "[token, prefix], or [prefix]"
        if fault := _tls_fault(listener):
            yield "listeners", f"{listener.name}: {fault[0]}", fault[1]
    for wrong in _unbound(settings):
        yield "listeners", wrong, "interface: that behind which its clients are"
    for wrong, expected in _transparent(settings):
        yield "line_base" if "mark" in expected else "listeners", wrong, expected


def _unbound(settings: s.Settings) -> Iterator[str]:
    """Listeners whose answers to equal addresses behind two interfaces would all leave by one of them."""
    pairs = [(a, b) for a, b in combinations(settings.access, 2) if a.interface != b.interface]
    for listener in settings.listeners:
        address = ipaddress.ip_address(listener.endpoint[0])
        for one, other in pairs if not listener.interface and not address.is_loopback else ():
            if overlapping(one.prefixes, other.prefixes, address.version):
                names = f"{one.interface} and {other.interface}"
                yield f"{listener.name} is for all interfaces, and {names} have the same addresses behind them"
                break


def _tls_fault(listener: s.Listener) -> tuple[str, str] | None:
    """What is wrong with how a listener speaks TLS, and what is expected."""
    tls = listener.tls
    if tls is None:
        fault = "demands a certificate without tls", "kind: http and tls, or demands without certificate"
        return fault if "certificate" in listener.demands else None
    if listener.kind != "http":
        return f"is of kind {listener.kind} and has tls", "kind: http for a proxy over TLS"
    if bool(tls.client_ca) != ("certificate" in listener.demands):
        return "client_ca and demands do not belong together", "client_ca where demands has certificate, and only there"
    return None


def _transparent(settings: s.Settings) -> Iterator[tuple[str, str]]:
    """What is wrong with transparent listeners, and what is expected."""
    devices = {access.interface for access in settings.access}
    taken: dict[tuple[str, int], str] = {}
    for listener in settings.listeners:
        if not listener.is_transparent:
            continue
        name, address = listener.name, ipaddress.ip_address(listener.endpoint[0])
        if listener.interface not in devices:
            yield f"{name} is transparent and its interface {listener.interface!r} is none under access", "one of them"
        if address.is_unspecified:
            yield f"{name} is transparent and listens on {address}", "one address of its interface"
        if listener.demands != ("prefix",):
            yield f"{name} is transparent: its clients know of no proxy, and show no token", "demands: [prefix]"
        if listener.proxy_protocol:
            yield f"{name} is transparent: its clients send no PROXY header", "no proxy_protocol"
        other = taken.setdefault((listener.interface, address.version), name)
        if other != name:
            yield (
                f"{other} and {name} are both transparent for {listener.interface} in IPv{address.version}",
                "one for each interface and family",
            )
    base = settings.line_base
    if taken and is_lines(base.transparent_mark, base.mark, base.mark_mask):
        own = f"{base.mark:#010x} under {base.mark_mask:#010x}"
        yield (
            f"transparent_mark {base.transparent_mark:#010x} could be a line's, which are {own}",
            "a mark outside those",
        )
