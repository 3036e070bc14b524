"""Network devices as rtnetlink shows them, and the VXLAN devices that the gateway makes itself."""

import errno
from ipaddress import ip_address
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from gateway.line.messages import FULL
from gateway.line.overlay import Device
from gateway.line.reconcile import Link
from gateway.line.steps import AddAddress, AddDevice, DeleteAddress, DeleteDevice, DeviceStep, SetMtu, SetUp

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


def index_of(ip: IPRoute, name: str) -> int:
    """Raises NetlinkError (ENODEV) where there is no such device."""
    found = ip.link_lookup(ifname=name)
    if not found:
        raise NetlinkError(errno.ENODEV, f"no device {name}")
    return int(found[0])


def take(ip: IPRoute, step: DeviceStep) -> None:
    """Takes one step on a device of ours. Raises NetlinkError."""
    if isinstance(step, AddDevice):
        _make(ip, step.device)
        return
    index = index_of(ip, step.name)
    match step:
        case DeleteDevice():
            ip.link("del", index=index)
        case AddAddress(_, address):
            ip.addr("add", **_address_words(index, address))
        case DeleteAddress(_, address):
            ip.addr("del", **_address_words(index, address))
        case SetMtu(_, mtu):
            ip.link("set", index=index, mtu=mtu)
        case SetUp():
            ip.link("set", index=index, state="up")


def _make(ip: IPRoute, device: Device) -> None:
    """Makes the device, down; a device that could not be named ours is taken away again."""
    outer = device.outer
    suffix = "" if outer.version == 4 else "6"
    ip.link(
        "add",
        ifname=device.name,
        kind="vxlan",
        address=device.mac,
        vxlan_id=outer.vni,
        vxlan_link=index_of(ip, outer.device),
        vxlan_port=outer.port,
        vxlan_learning=0,  # all that is sent goes to the one peer
        **{f"vxlan_local{suffix}": outer.local, f"vxlan_group{suffix}": outer.peer},
    )
    index = index_of(ip, device.name)
    try:
        ip.link("set", index=index, IFLA_IFALIAS=device.alias)
    except BaseException:
        ip.link("del", index=index)
        raise


def _address_words(index: int, address: str) -> dict[str, Any]:
    """The request for an address, alone in its prefix, on the device."""
    version = ip_address(address).version
    words: dict[str, Any] = {"index": index, "address": address, "prefixlen": FULL[version]}
    return words | ({"flags": _NODAD} if version == 6 else {})
