"""Network devices as rtnetlink shows them, and the VXLAN devices that the gateway makes itself."""

from ipaddress import ip_address
from typing import Any

from pyroute2 import IPRoute

from gateway.line.overlay import Device
from gateway.line.reconcile import Link

_IFF_UP, _IFF_LOWER_UP = 1, 0x10000
_NODAD = 0x02  # IFA_F_NODAD: the far end is one peer, and an address must be usable at once


def link_of(item: Any, names: dict[int, str]) -> Link:
    """The device that a message shows; names: of devices by index."""
    flags, info = item["flags"], item.get_attr("IFLA_LINKINFO")
    vxlan = None
    if info is not None and info.get_attr("IFLA_INFO_KIND") == "vxlan":
        data = info.get_attr("IFLA_INFO_DATA")
        vxlan = (
            names.get(data.get_attr("IFLA_VXLAN_LINK") or 0, ""),
            data.get_attr("IFLA_VXLAN_ID"),
            data.get_attr("IFLA_VXLAN_LOCAL") or data.get_attr("IFLA_VXLAN_LOCAL6"),
            data.get_attr("IFLA_VXLAN_GROUP") or data.get_attr("IFLA_VXLAN_GROUP6"),
            data.get_attr("IFLA_VXLAN_PORT"),
            item.get_attr("IFLA_ADDRESS"),
        )
    alias = item.get_attr("IFLA_IFALIAS") or ""
    mtu = item.get_attr("IFLA_MTU") or 0
    return Link(item["index"], bool(flags & _IFF_UP), bool(flags & _IFF_LOWER_UP), vxlan, alias, mtu)


def make(ip: IPRoute, device: Device) -> None:
    """Makes the device, down; the kernel takes the MTU from the one under it. Raises NetlinkError; a device that could
    not be named ours is taken away again."""
    suffix = "6" if ":" in device.local else ""
    under = ip.link_lookup(ifname=device.underlay)
    outer = {f"vxlan_local{suffix}": device.local, f"vxlan_group{suffix}": device.peer}
    ip.link(
        "add",
        ifname=device.name,
        kind="vxlan",
        address=device.mac,
        vxlan_id=device.vni,
        vxlan_link=under[0] if under else 0,
        vxlan_port=device.port,
        vxlan_learning=0,  # all that is sent goes to the one peer
        **outer,
    )
    index = ip.link_lookup(ifname=device.name)[0]
    try:
        ip.link("set", index=index, IFLA_IFALIAS=device.alias)
    except BaseException:
        ip.link("del", index=index)
        raise


def address_words(index: int, address: str) -> dict[str, Any]:
    """The request that puts an address, alone in its prefix, on the device."""
    version = ip_address(address).version
    words: dict[str, Any] = {"index": index, "address": address, "prefixlen": 32 if version == 4 else 128}
    return words | ({"flags": _NODAD} if version == 6 else {})
