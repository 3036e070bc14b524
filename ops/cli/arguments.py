"""From the places, endpoints, prefixes and ports people type to the API's form of them. Pure."""

import ipaddress
import re

from ops.cli.times import ArgumentError
from whitelist.model import Protocol

SCHEMES = tuple(p.value for p in Protocol)
DEFAULT_PORT = {"tls": 443, "http": 80}
SIDES = ("offshore", "domestic", "abroad")

_HOST = re.compile(r"(?:\*\.)?[^\s/:@*\[\]?#]+\Z")


def parse_place(text: str) -> dict[str, str]:
    """SITE/ROOM/INTERFACE/PREFIX, optionally with ",side=domestic": the API's form of a place."""
    body, *options = text.split(",")
    parts = body.split("/", 3)
    if len(parts) != 4 or not all(part.strip() for part in parts):
        raise ArgumentError(
            "{text!r} is not a place; expected SITE/ROOM/INTERFACE/PREFIX, as in lingang-a/r1/acc0/10.1.0.0/24",
            text=text,
        )
    side = "offshore"
    for option in options:
        key, _, value = option.partition("=")
        if key != "side" or value not in SIDES:
            raise ArgumentError(
                "{option!r} is not an option of a place; expected side=offshore, side=domestic or side=abroad",
                option=option,
            )
        side = value
    site, room, interface, prefix = (part.strip() for part in parts)
    return {"site": site, "room": room, "interface": interface, "prefix": parse_prefix(prefix), "side": side}


def parse_prefix(text: str) -> str:
    """An IPv4 or IPv6 prefix in its canonical form; an address alone is itself; brackets are allowed around IPv6."""
    bare = re.sub(r"\A\[([^\[\]]*)\]\Z", r"\1", text)
    try:
        return str(ipaddress.ip_network(bare))
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(bare, strict=False)
    except ValueError:
        raise ArgumentError(
            "{text!r} is not an IP prefix; expected for example 10.1.0.0/24 or 2001:db8::/48", text=text
        ) from None
    host = bare.partition("/")[0]
    raise ArgumentError(
        "{text!r} has bits set behind the prefix; expected {loose} (the network) or {host} (one address)",
        text=text,
        loose=loose,
        host=host,
    )


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """One IPv4 or IPv6 address, brackets allowed around IPv6."""
    try:
        return ipaddress.ip_address(re.sub(r"\A\[([^\[\]]*)\]\Z", r"\1", text))
    except ValueError:
        raise ArgumentError(
            "{text!r} is not an IP address; expected for example 192.0.2.1 or 2001:db8::1", text=text
        ) from None


def parse_ports(text: str) -> list[int]:
    """Port numbers divided by commas, in the order written, each once."""
    ports: list[int] = []
    for part in text.split(","):
        if not re.fullmatch(r"[0-9]{1,5}", part.strip()) or not 1 <= int(part) <= 65535:
            raise ArgumentError(
                "{part!r} is not a port; expected numbers from 1 to 65535, divided by commas", part=part
            )
        if int(part) not in ports:
            ports.append(int(part))
    return ports


def parse_target(text: str) -> str:
    """A host name, "*." and a suffix, or an IP prefix, as an endpoint or a deny names it. The server makes it
    canonical."""
    if "/" in text or ":" in text or text.startswith("[") or re.fullmatch(r"[0-9.]+", text):
        return parse_prefix(text)
    if not _HOST.match(text):
        raise ArgumentError(
            "{text!r} is not a host; expected api.example.com, *.example.com or a prefix like 203.0.113.0/28", text=text
        )
    return text


def parse_endpoint(text: str) -> dict[str, object]:
    """SCHEME://TARGET[:PORT[,PORT]] with scheme tls, http or tcp; an IPv6 prefix stands in brackets. The API's form."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        meant = {"https": "tls", "wss": "tls", "ws": "http"}.get(scheme, "tls")
        hint = f"{meant}://{rest if separator else text}".rstrip("/")
        raise ArgumentError(
            "{text!r} is not an endpoint; expected tls://, http:// or tcp:// before the host, as in {hint}",
            text=text,
            hint=hint,
        )
    bracketed = re.fullmatch(r"\[([^\[\]]+)\](?::([^:]*))?", rest)
    if bracketed:
        target, ports = parse_prefix(bracketed[1]), bracketed[2]
    elif rest.count(":") > 1:
        raise ArgumentError(
            "{text!r}: write an IPv6 address or prefix in brackets, as in {scheme}://[2001:db8::/48]:443",
            text=text,
            scheme=scheme,
        )
    else:
        name, _, ports = rest.partition(":")
        if not _HOST.match(name.partition("/")[0]) or (name.count("/") and not re.fullmatch(r"[0-9./]+", name)):
            raise ArgumentError(
                "{text!r} names no host; an endpoint has no path, expected for example {scheme}://api.example.com:443",
                text=text,
                scheme=scheme,
            )
        target = parse_target(name)
    if not ports and scheme not in DEFAULT_PORT:
        raise ArgumentError(
            "{text!r} has no port; tcp endpoints name theirs, as in tcp://{rest}:22", text=text, rest=rest.rstrip(":")
        )
    return {"target": target, "ports": parse_ports(ports) if ports else [DEFAULT_PORT[scheme]], "protocol": scheme}
