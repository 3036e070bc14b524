"""A line within packets of another kind (VXLAN, SRv6) on the command line: options that set it, rows that show it."""

from collections.abc import Callable
from typing import Any

import rich_click as click

from ops.cli import values
from ops.cli.errors import usage
from ops.cli.output import Item
from ops.cli.words import t

_VXLAN = {"vxlan": "vni", "underlay": "underlay", "vxlan_peer": "peer", "vxlan_port": "port"}
_SRV6 = {"segments": "segments"}
_BOTH = {"outer_source": "local", "outer_gateway": "gateway", "inner_mtu": "mtu"}
_FIELDS = _VXLAN | _SRV6 | _BOTH


def options[F: Callable[..., Any]](function: F) -> F:
    """The options; encapsulation() makes a field of them."""
    for option in reversed(
        [
            click.option(
                "--vxlan",
                type=click.IntRange(1, (1 << 24) - 1),
                metavar="VNI",
                help=t(
                    "A VXLAN segment with this network identifier; feiyu makes the device: --vxlan 7 --underlay eth1 "
                    "--outer-source 192.0.2.9 --vxlan-peer 192.0.2.10 --on-link."
                ),
            ),
            click.option("--underlay", metavar="DEVICE", help=t("VXLAN: the device that the outer packets leave by.")),
            click.option("--vxlan-peer", type=values.ADDRESS, help=t("VXLAN: the far end of the outer packets.")),
            click.option(
                "--vxlan-port",
                type=click.IntRange(1, 65_535),
                metavar="PORT",
                help=t("VXLAN: UDP port of the far end (default: 4789)."),
            ),
            click.option(
                "--segment",
                "segments",
                multiple=True,
                type=values.ADDRESS,
                help=t(
                    "A segment of an SRv6 list, the first one first; may be repeated: --segment 5f00::1 "
                    "--segment 5f00::2 --outer-source 2001:db8::9 --outer-gateway fe80::1."
                ),
            ),
            click.option("--outer-source", type=values.ADDRESS, help=t("VXLAN, SRv6: source of the outer packets.")),
            click.option("--outer-gateway", type=values.ADDRESS, help=t("VXLAN, SRv6: next hop of the outer packets.")),
            click.option(
                "--on-link", is_flag=True, help=t("VXLAN: the peer is on the underlay's link, without next hop.")
            ),
            click.option(
                "--inner-mtu",
                type=click.IntRange(0, 65_535),
                metavar="BYTES",
                help=t("VXLAN, SRv6: largest inner packet; 0: what the outer headers leave."),
            ),
            click.option("--plain", is_flag=True, help=t("Neither VXLAN nor SRv6: its packets leave as they are.")),
        ]
    ):
        function = option(function)
    return function


def given(options: dict[str, Any]) -> bool:
    """Whether any of the options was; 0 is a value, and equals False."""
    set_ = any(options.get(name) not in (None, ()) for name in _FIELDS)
    return set_ or any(options.get(flag) for flag in ("plain", "on_link"))


def encapsulation(options: dict[str, Any], before: Item | None = None) -> dict[str, Any]:
    """Takes the options out and gives the API's field, as a merge patch (RFC 7396), or nothing where none was given.
    before: the line as it is, None for a new one. Errors: usage, for options that contradict each other or `before`."""
    plain, on_link = options.pop("plain", False), options.pop("on_link", False)
    found = {name: options.pop(name, None) for name in _FIELDS}
    found = {name: list(v) if isinstance(v, tuple) else v for name, v in found.items() if v not in (None, ())}
    if plain:
        if found or on_link:
            raise usage(t("--plain stands alone: leave the options for VXLAN and SRv6 out"))
        return {} if before is None else {"encapsulation": None}
    if on_link and "outer_gateway" in found:
        raise usage(t("--on-link and --outer-gateway contradict each other: give one of them"))
    if not found and not on_link:
        return {}
    kind = _kind(found, before, on_link=on_link)
    body = {_FIELDS[name]: value for name, value in found.items()} | ({"gateway": ""} if on_link else {})
    if before and (before.get("encapsulation") or {}).get("type") not in (None, kind):
        # of the other kind nothing may stay: the patch is merged into what is there
        body = dict.fromkeys(_FIELDS.values()) | body
    return {"encapsulation": {"type": kind, **body}}


def _kind(found: dict[str, Any], before: Item | None, *, on_link: bool) -> str:
    vxlan, srv6 = on_link or bool(_VXLAN.keys() & found), bool(_SRV6.keys() & found)
    if vxlan and srv6:
        raise usage(
            t("a line is a VXLAN segment or a segment list, not both: leave --segment or the VXLAN options out")
        )
    known = str(((before or {}).get("encapsulation") or {}).get("type", ""))
    kind = "vxlan" if vxlan else "srv6" if srv6 else known
    if not kind:
        raise usage(t("the line is neither VXLAN nor SRv6"), t("Say which: --vxlan VNI, or --segment ADDRESS."))
    if kind != known:
        names = {"vxlan": ("--vxlan", "--underlay", "--vxlan-peer", "--outer-source"),
                 "srv6": ("--outer-source", "--outer-gateway")}[kind]  # fmt: skip
        if missing := [name for name in names if name.removeprefix("--").replace("-", "_") not in found]:
            raise usage(t("a {kind} line needs {names} too", kind=kind, names=", ".join(missing)))
    return kind


def left_behind(before: Item, after: Item) -> str:
    """What to say of a line that is no VXLAN segment any more; else nothing."""
    kinds = [(item.get("encapsulation") or {}).get("type") for item in (before, after)]
    if kinds[0] != "vxlan" or kinds[1] == "vxlan" or "device" not in after:
        return ""
    return t(
        "note: the line's device is now {device}, which is no longer made by feiyu: it must exist, "
        "or name another with feiyu line edit {line} --device",
        device=after["device"],
        line=after["id"],
    )


def rows(item: Item) -> list[tuple[str, object]]:
    """What is around a line's packets; nothing for a plain line."""
    outer = item.get("encapsulation") or {}
    kind = outer.get("type")
    if not kind:
        return []
    own = (
        [("VXLAN", outer.get("vni")), ("Underlay", outer.get("underlay")), ("Peer", _peer(outer))]
        if kind == "vxlan"
        else [("SRv6 segments", outer.get("segments"))]
    )
    return [
        *own,
        ("Outer source", outer.get("local")),
        ("Outer next hop", outer.get("gateway") or t("none: the peer is on-link")),
        ("Inner MTU", outer.get("mtu") or ""),
    ]


def _peer(outer: Item) -> str:
    """192.0.2.10:4789, [2001:db8::a]:4789."""
    address = str(outer.get("peer", ""))
    return f"{f'[{address}]' if ':' in address else address}:{outer.get('port')}"
