"""What the egress test tries to reach: documentation addresses, one for each attempt, or a target that was named."""

import socket
import threading
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from gateway.line.model import NodeConfig
from whitelist.line_rules import machine_fault
from whitelist.name import TargetError, canonical_name

NET4, NET6 = "203.0.113", "2001:db8:ffff:ffff:"  # for documentation, routed nowhere (RFC 5737, RFC 3849)
NUMBERS = 254  # addresses of NET4
PORT = 46_000  # and the attempt's number: what tells its packets from others
NAMED_PORT = 443
PATIENCE = 5.0  # seconds for the machine's resolver


class AimError(Exception):
    """The target cannot be tried; the text says why, remedy what to name instead."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Named:
    """A target that was named: an address of each family that it has, and the port of TCP and UDP."""

    addresses: dict[int, str]
    port: int


@dataclass(frozen=True, slots=True)
class Aim:
    """Where one attempt's packets go. own: a number of the attempt's own. named: all attempts go to this address and
    port, so that the port they come from tells them apart; else both are its own."""

    address: str
    port: int
    own: int
    named: bool = False


def documentation(version: int, number: int) -> str:
    """The documentation address of the attempt with this number."""
    return f"{NET4}.{number % NUMBERS + 1}" if version == 4 else f"{NET6}:{number % NUMBERS + 1:x}"


def aim_of(version: int, number: int, named: Named | None) -> Aim:
    """Where the attempt with this number goes."""
    own = PORT + number
    if named is None:
        return Aim(documentation(version, number), own, own)
    return Aim(named.addresses[version], named.port, own, named=True)


def parse(text: str) -> tuple[str, int]:
    """Host and port of HOST[:PORT], ADDRESS[:PORT] or [ADDRESS6][:PORT]. Raises AimError."""
    remedy = "name HOST[:PORT], as in example.com:443, 192.0.2.1 or [2001:db8::1]:443"
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise AimError(f"{text!r} is no target", remedy)
        port = rest[1:] if rest else ""
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if (text.endswith(":") and text.count(":") == 1) or (port and not (port.isascii() and port.isdecimal())):
        raise AimError(f"{text!r} has no right port", remedy)
    number = int(port[:6]) if port else NAMED_PORT
    if not 0 < number < 65_536:
        raise AimError(f"{text!r} has no right port", remedy)
    try:
        ip_address(host)
    except ValueError:
        try:
            host = canonical_name(host)
        except TargetError as error:
            raise AimError(f"{text!r} is no target: {error.detail}", remedy) from None
    return host, number


def look_up(host: str, patience: float = PATIENCE) -> list[str]:
    """Its addresses, as this machine's resolver has them. Raises AimError; also where it does not answer in time: on a
    whole node it may not be allowed to ask."""
    found: list[str] = []
    failed: list[str] = []

    def ask() -> None:
        try:
            found.extend(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error.strerror or str(error))

    asking = threading.Thread(target=ask, daemon=True)  # getaddrinfo(3) cannot be given a time
    asking.start()
    asking.join(patience)
    if not found:
        why = failed[0] if failed else f"no answer in {patience:g} s"
        raise AimError(f"{host} cannot be resolved here: {why}", "name an address: --target ADDRESS[:PORT]")
    return found


def named(text: str, node: NodeConfig, hops: Collection[str] = ()) -> Named:
    """The target of --target. hops: gateways of lines. Raises AimError: it is none, has no address, or may be reached
    by the node as it is."""
    host, port = parse(text)
    addresses: dict[int, str] = {}
    for found in look_up(host):
        address = ip_address(found.partition("%")[0])
        addresses.setdefault(address.version, str(address))
    for found in addresses.values():
        if found in hops:
            raise AimError(f"{found} is the gateway of a line", "name a host behind it")
        _refuse(ip_address(found), node)
    return Named(addresses, port)


def _refuse(address: IPv4Address | IPv6Address, node: NodeConfig) -> None:
    remedy = "name a host abroad"
    if fault := machine_fault(str(address)):
        raise AimError(f"{address} {fault.partition('; ')[0]}", remedy)
    allowed = [prefix for entry in node.management for prefix in entry.prefixes]
    allowed += [prefix for entry in node.access for prefix in entry.prefixes]
    allowed += [entry.destination for entry in node.control_traffic]
    for prefix in allowed:
        network = ip_network(prefix, strict=False)
        if address.version == network.version and address in network:
            raise AimError(f"{address} is in {prefix}, which the node may reach by its own configuration", remedy)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return
    raise AimError(f"{address} is an address of this machine", remedy)
