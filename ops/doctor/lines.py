"""What the machine's own network must be for lines to work: addresses and gateways of their devices, and who else would
change rules and routes."""

import configparser
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import msgspec

from ops import own_network
from ops.doctor.finding import Finding, fail, ok, warn
from ops.settings import Settings
from whitelist.model import Line

NETWORKD = ("/etc/systemd/networkd.conf", "/run/systemd/networkd.conf", "/usr/lib/systemd/networkd.conf")
NETWORKD_RUNS = Path("/run/systemd/netif")
_NO = ("no", "false", "0", "off", "n", "f")


def contradictions(lines: Iterable[Mapping[str, Any]], settings: Settings) -> Iterator[Finding]:
    """Lines that the lines process would leave out: not whole, in the way of the node's own network, or two with one
    device, number or source."""
    # loaded only here: it brings the lines' code, and netlink, with it
    from gateway.line.plan import sort_out
    from ops.lines import lines_config

    entries = []
    for line in lines:
        try:
            entries.append(msgspec.convert(line, Line))
        except msgspec.ValidationError as error:
            yield fail(f"line {line['id']}", f"its entry cannot be read: {error}", "restore register.db from a backup")
    found = {line.id: own_network.faults(line, settings) for line in entries}
    for name, told in found.items():
        for field, message in told:
            seen, _, remedy = message.partition("; ")
            yield fail(f"line {name}", f"{seen} ({field})", f"{remedy}: feiyu line edit {name}")
    for name, problem in sorted(sort_out(entries, lines_config(settings).node)[1].items()):
        if found.get(name):  # told already, with the field
            continue
        seen, _, remedy = problem.removeprefix(f"line {name}: ").partition("; ")
        yield fail(f"line {name}", seen, f"{remedy or 'correct it'}: feiyu line edit {name}")


def addresses(lines: Iterable[Mapping[str, Any]], found: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Whether each line's sources stand on its device, and its gateways are within a prefix of theirs. lines: as the
    register has them; found: addresses with prefix length by device. A point-to-point source (/32, /128) takes any
    gateway: the route is on-link."""
    for line in lines:
        device, name = str(line["device"]), f"line {line['id']}"
        yield from _outer(line, found)
        if device not in found:
            continue
        here = [ip_interface(text) for text in found[device]]
        for family in (4, 6):
            for source in _sources(line, family):
                if ip_address(source) not in {one.ip for one in here}:
                    yield fail(name, f"{source} is not on {device}", f"ip addr add {source}/LENGTH dev {device}")
            gateway = line.get(f"gateway{family}")
            if not gateway or ip_address(gateway).is_link_local:
                continue
            nets = [one.network for one in here if str(one.ip) == line.get(f"source{family}")]
            if nets and all(net.num_addresses > 1 and ip_address(gateway) not in net for net in nets):
                seen = f"gateway {gateway} is outside {', '.join(map(str, nets))}"
                yield fail(name, seen, f"correct it: feiyu line edit {line['id']} --gateway, or the device's address")


def outer_device(line: Mapping[str, Any]) -> str:
    """The device that the line's packets leave the machine by, which must be there before the node starts: of a VXLAN
    segment the underlay, for its own device is made."""
    outer = line.get("encapsulation") or {}
    return str(outer["underlay"] if outer.get("type") == "vxlan" else line["device"])


def _outer(line: Mapping[str, Any], found: Mapping[str, list[str]]) -> Iterator[Finding]:
    """The outer source must stand on the device, and the outer next hop within its prefix. A segment list's source may
    stand on any device, for all lists of a node have the same one; then no prefix says where the next hop is."""
    outer, device, name = line.get("encapsulation") or {}, outer_device(line), f"line {line['id']}"
    if not outer or device not in found:
        return
    here = [one for text in found[device] if str((one := ip_interface(text)).ip) == outer["local"]]
    if not here:
        anywhere = {str(ip_interface(text).ip) for texts in found.values() for text in texts}
        if outer.get("type") != "srv6":
            yield fail(
                name, f"{outer['local']} is not on {device}", f"ip addr add {outer['local']}/LENGTH dev {device}"
            )
        elif outer["local"] not in anywhere:
            yield fail(name, f"{outer['local']} is on no device", f"ip addr add {outer['local']}/128 dev lo")
        return
    hop = str(outer.get("gateway") or outer.get("peer"))
    nets = [one.network for one in here]
    if ip_address(hop).is_link_local or any(net.num_addresses == 1 or ip_address(hop) in net for net in nets):
        return
    what = "outer next hop" if outer.get("gateway") else "peer"
    seen = f"{what} {hop} is outside {', '.join(map(str, nets))}"
    yield fail(name, seen, f"correct it: feiyu line edit {line['id']} --outer-gateway, or the device's address")


def _sources(line: Mapping[str, Any], family: int) -> list[str]:
    own = [line, *(line.get("shares") or [])]
    return [str(text) for one in own if (text := one.get(f"source{family}"))]


def networkd(paths: Iterable[Path], *, runs: bool) -> Finding:
    """Whether systemd-networkd, where it runs, leaves foreign rules and routes alone. paths: its configuration files,
    the strongest last (networkd.conf(5); by default it removes them when it starts)."""
    if not runs:
        return ok("systemd-networkd", "does not run")
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    try:
        parser.read(path for path in paths if path.is_file())
    except (configparser.Error, UnicodeDecodeError) as error:
        return warn("systemd-networkd", f"its configuration cannot be read: {error}", "see networkd.conf(5)")
    keys = ("ManageForeignRoutingPolicyRules", "ManageForeignRoutes")
    managed = [key for key in keys if parser.get("Network", key, fallback="yes").strip().lower() not in _NO]
    if not managed:
        return ok("systemd-networkd", "leaves foreign rules and routes alone")
    remedy = f"in /etc/systemd/networkd.conf.d/feiyu.conf: [Network] {' '.join(f'{key}=no' for key in managed)}"
    return warn("systemd-networkd", "removes rules and routes that it did not make, the lines' too", remedy)


def networkd_files() -> list[Path]:
    """Its configuration files on this machine, the strongest last."""
    bases = [Path(name) for name in reversed(NETWORKD)]
    dropins = [file for base in bases for file in Path(f"{base}.d").glob("*.conf")]
    main = [base for base in bases if base.is_file()][-1:]
    return [*main, *sorted(dropins, key=lambda file: file.name)]
