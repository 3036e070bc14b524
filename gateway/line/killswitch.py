"""The nft table `inet feiyu` as one text that replaces itself in a single transaction. Pure.

What may leave is listed; the rest is dropped and counted. It holds alone, with every other layer gone: a packet passes
by mark, device, source and next hop together. The next hop matters because for a device-bound IPv4 socket without a
route the kernel takes every destination for on-link. What is different for a line in a tunnel stands in
gateway.line.wrapping, what transparent listeners take in gateway.line.transparent.
"""

import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network

from gateway.line import transparent, wrapping
from gateway.line.model import NodeConfig
from gateway.line.spec import LineSpec

TABLE = "feiyu"
_DROP = 'counter name "{}" drop'
# The kernel's own words on a link; without them IPv6 neighbours are never found (RFC 4861 7.1.1, RFC 3810 5).
_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255"
_LISTENERS = "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } ip6 hoplimit 1"
# They are told by having no socket of a program: whoever has CAP_NET_RAW writes such messages with what he likes in
# them, for anywhere. 48 bytes: 24, a link address (IP over InfiniBand's is the longest: 24 with its head, RFC 4391 9.3)
# or a nonce (RFC 7527 4.1). MLD goes to a group of the link, behind one router alert (RFC 3810 5).
_KERNEL = [
    "meta skuid >= 0 return",
    f"ip6 nexthdr icmpv6 ip6 length <= 48 {_NEIGHBOURS} accept",
    f"ip6 nexthdr 0 ip6 daddr ff02::/16 {_LISTENERS} accept",
]
_FROM_KERNEL = ["meta l4proto icmpv6 jump kernel"]


def _prefixes(prefixes: Iterable[str], key: str) -> list[str]:
    """Matches for IPv4 and IPv6 prefixes, e.g. `ip daddr { 10.0.0.0/24 }`; overlaps merged, since nft refuses them."""
    nets = [ip_network(p, strict=False) for p in prefixes]
    found = []
    for family, version in (("ip", 4), ("ip6", 6)):
        own = sorted((n for n in nets if n.version == version), key=lambda n: (int(n.network_address), n.prefixlen))
        merged: list[IPv4Network | IPv6Network] = []
        for net in own:
            if not merged or int(net.network_address) > int(merged[-1].broadcast_address):
                merged.append(net)
        if merged:
            found.append(f"{family} {key} {{ {', '.join(str(n) for n in merged)} }}")
    return found


def _chain(name: str, rules: list[str]) -> str:
    return f"\tchain {name} {{\n" + "".join(f"\t\t{rule}\n" for rule in rules) + "\t}\n"


def _vmap(key: str, pairs: list[tuple[str, str]]) -> list[str]:
    return [f"{key} vmap {{ {', '.join(f'{k} : {v}' for k, v in pairs)} }}"] if pairs else []


def _line_chain(line: LineSpec) -> str:
    rules = []
    for way in line.ways:
        ip = "ip" if way.version == 4 else "ip6"
        sources = f"{{ {', '.join(way.sources)} }}" if way.others else way.source
        where = f'oifname "{line.device}" {ip} saddr {sources}'
        if way.gateway:
            where += f" rt {ip} nexthop {way.gateway}"
        rules.append(f'{where} counter name "line_{line.index}" accept')
    return _chain(f"line_{line.index}", [*rules, _DROP.format(f"line_{line.index}_dropped")])


def _access(node: NodeConfig) -> dict[str, list[str]]:
    """Prefixes by access device: several rooms may share one."""
    found: dict[str, list[str]] = {}
    for access in node.access:
        found.setdefault(access.interface, []).extend(access.prefixes)
    return found


def _places(node: NodeConfig) -> list[str]:
    """Behind devices with the same prefixes the kernel does not look at sources (rp_filter)."""
    rules = ["type filter hook prerouting priority raw - 10; policy accept;"]
    for device, prefixes in _access(node).items():
        if device in node.alike:
            sources = [match for match in _prefixes(prefixes, "saddr !=") if match.startswith("ip ")]
            rules += [f'iifname "{device}" {match} drop' for match in sources]
    return rules


def _access_chain(number: int, prefixes: list[str], ports: str, *, takes: bool) -> str:
    rules = []
    for match in _prefixes(prefixes, "daddr"):
        if ports:
            rules.append(f"{match} tcp sport {ports} tcp flags & (syn | ack) != syn accept")
        rules.append(f"{match} ct direction reply accept")
        rules += transparent.answers(match) if takes else []
    return _chain(f"access_{number}", rules)


def _output(lines: tuple[LineSpec, ...], node: NodeConfig) -> list[str]:
    rules = ["type filter hook output priority 300; policy drop;"]  # after whatever may still change a packet's route
    rules.append('oifname "lo" accept')
    rules += wrapping.leaving(lines, node.mark_mask)
    rules += _vmap(f"meta mark & {node.mark_mask:#x}", [(f"{ln.mark:#x}", f"goto line_{ln.index}") for ln in lines])
    rules.append(f"meta mark & {node.range_mask:#x} == {node.mark_base:#x} {_DROP.format('marked')}")
    rules += _FROM_KERNEL
    # What carries a line's address without its mark is a reset or ICMP error without a socket, or no packet of ours.
    rules += [f"{match} {_DROP.format('unmarked')}" for match in _sources(lines, "saddr")]
    rules += _vmap("oifname", [(f'"{name}"', f"jump access_{n}") for n, name in enumerate(_access(node))])
    if node.worker_uids:
        rules.append(
            f"meta skuid {{ {', '.join(map(str, sorted(set(node.worker_uids))))} }} {_DROP.format('unmarked')}"
        )
    for control in node.control_traffic:
        for match in _prefixes([control.destination], "daddr"):
            rules.append(f'oifname "{control.interface}" {match} meta skuid {control.uid} accept')
            # The last acknowledgements of a closed socket belong to no user any more.
            rules.append(f'oifname "{control.interface}" {match} ct state established,related accept')
    for management in node.management:
        rules += [f'oifname "{management.interface}" {m} accept' for m in _prefixes(management.prefixes, "daddr")]
    return [*rules, _DROP.format("dropped")]


def _sources(lines: Iterable[LineSpec], key: str) -> list[str]:
    return _prefixes([address for line in lines for address in line.addresses], key)


def _line_input() -> list[str]:
    return [
        f"icmp type redirect {_DROP.format('line_input')}",
        "ct state established,related accept",
        f"{_NEIGHBOURS} accept",
        "icmp type destination-unreachable icmp code frag-needed accept",
        "icmpv6 type packet-too-big accept",
        _DROP.format("line_input"),
    ]


def counters_of(lines: Iterable[LineSpec]) -> list[str]:
    """The names of the table's counters."""
    lines = tuple(lines)
    per_line = [f"line_{line.index}{suffix}" for line in lines for suffix in ("", "_dropped")]
    per_line += [f"line_{line.index}_outer" for line in lines if line.tunnel is not None]
    return [*per_line, "marked", "unmarked", "dropped", "forwarded", "line_input"]


def _taken(node: NodeConfig) -> str:
    """What transparent listeners take, device by device."""
    body, chains = "", []
    for number, (device, prefixes) in enumerate(_access(node).items()):
        if found := [entry for entry in node.transparent if entry.interface == device]:
            sources = {(4 if match.startswith("ip ") else 6): match for match in _prefixes(prefixes, "saddr")}
            body += _chain(f"transparent_{number}", transparent.taken(found, sources, node.transparent_mark))
            chains.append((f'"{device}"', f"goto transparent_{number}"))
    hook = "type filter hook prerouting priority mangle; policy accept;"
    return body + _chain("transparent", [hook, *_vmap("iifname", chains)]) if chains else ""


def render(lines: Iterable[LineSpec], node: NodeConfig, counts: Mapping[str, tuple[int, int]] | None = None) -> str:
    """The text for `nft -f -`. counts: packets and bytes at which counters go on (a reload need not forget them)."""
    lines = tuple(lines)
    ports = f"{{ {', '.join(str(p) for p in sorted(set(node.listener_ports)))} }}" if node.listener_ports else ""
    body = ""
    for line in lines:
        body += _line_chain(line)
    taking = {entry.interface for entry in node.transparent}
    for number, (device, prefixes) in enumerate(_access(node).items()):
        body += _access_chain(number, prefixes, ports, takes=device in taking)
    if node.alike:
        body += _chain("places", _places(node))
    body += _taken(node)
    body += _chain("kernel", _KERNEL)
    body += _chain("output", _output(lines, node))
    body += _chain("forward", ["type filter hook forward priority 300; policy drop;", _DROP.format("forwarded")])
    body += _chain("line_input", _line_input())
    ends = {line.device: "line_input" for line in lines}
    for line in lines:
        if answers := wrapping.answers(line, node.mark_mask):
            ends[line.device] = f"answers_{line.index}"
            body += _chain(ends[line.device], [*answers, "goto line_input"])
    ends |= {device: "line_input" for line in lines for device in line.devices[1:]}
    to_lines = _vmap("iifname", [(f'"{device}"', f"goto {chain}") for device, chain in ends.items()])
    # A line's address is spoken to on its line only (the kernel would take it on any device).
    elsewhere = [f'{match} iifname != "lo" {_DROP.format("line_input")}' for match in _sources(lines, "daddr")]
    hook = "type filter hook input priority 0; policy accept;"
    body += _chain("input", [hook, *wrapping.entering(lines), *to_lines, *elsewhere])
    if last := [(line, rules) for line in lines if (rules := wrapping.last_hop(line))]:
        for line, rules in last:
            drop = _DROP.format(f"line_{line.index}_dropped")
            body += _chain(f"last_hop_{line.index}", [*rules, *_FROM_KERNEL, drop])
        to_last = _vmap("oifname", [(f'"{line.device}"', f"goto last_hop_{line.index}") for line, _ in last])
        body += _chain("last_hop", ["type filter hook postrouting priority 300; policy accept;", *to_last])
    if node.access and (ports or taking):
        # Half-open clients must not be able to fill the connection table that the lines need.
        listened = [(list(_access(node)), ports)] if ports else []
        listened += [([name for name in _access(node) if name in taking], transparent.PORTS)] if taking else []
        ways = [(f"{{ {', '.join(f'"{name}"' for name in names)} }}", there) for names, there in listened]
        hook = "type filter hook {} priority raw; policy accept;"
        into = [f"iifname {devices} tcp dport {there} notrack" for devices, there in ways]
        back = [f"oifname {devices} tcp sport {there} notrack" for devices, there in ways]
        body += _chain("access_in", [hook.format("prerouting"), *into])
        body += _chain("access_out", [hook.format("output"), *back])
    kept = counts or {}
    counters = ""
    for name in counters_of(lines):
        packets, octets = kept.get(name, (0, 0))
        counters += f"\tcounter {name} {{ packets {packets} bytes {octets} }}\n"
    digest = hashlib.sha256(body.encode()).hexdigest()[:32]
    head = f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n"
    return f'{head}\tcomment "{digest}"\n{counters}{body}}}\n'
