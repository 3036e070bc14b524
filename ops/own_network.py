"""Whether a line would take addresses or devices that the node's own clients and administrators are reached by. Pure.

A rule leads all that leaves from a line's source to the line, answers to clients too: a line whose source is a
listener's address, or lies among clients, cuts them off.
"""

from collections.abc import Iterator
from functools import lru_cache

from gateway.line import own
from ops.settings import Settings
from whitelist.line_claims import outer_source, sources, underlay
from whitelist.line_rules import Errors
from whitelist.model import Line


def faults(line: Line, settings: Settings) -> Errors:
    """Each as (field, message, with the remedy)."""
    return [*_devices(line, settings), *_addresses(line, settings)]


def _devices(line: Line, settings: Settings) -> Iterator[tuple[str, str]]:
    taken = {entry.interface: "management" for entry in settings.management}
    taken |= {entry.interface: "access" for entry in settings.access}
    for field, device in (("device", line.device), ("encapsulation.underlay", underlay(line))):
        if what := taken.get(device):
            yield field, f"{device} is a device of {what}; give the line a device of its own"


def _addresses(line: Line, settings: Settings) -> Iterator[tuple[str, str]]:
    listening = {listener.endpoint[0]: listener.name for listener in settings.listeners}
    addresses = sources(line)
    if outer := outer_source(line):
        addresses.setdefault(outer, "encapsulation.local")
    for address, field in addresses.items():
        if name := listening.get(address):
            message = f"{address} is the address of listener {name}: its answers to clients would leave by the line"
            yield field, f"{message}; give the line an address of its own"
        elif message := own.within(address, _networks(settings)):
            yield field, message


@lru_cache(maxsize=4)
def _networks(settings: Settings) -> own.Networks:
    named = [(prefix, f"access device {entry.interface}") for entry in settings.access for prefix in entry.prefixes]
    named += [
        (prefix, f"management device {entry.interface}") for entry in settings.management for prefix in entry.prefixes
    ]
    return own.networks(named)
