"""Reads and changes qdiscs and HTB classes by rtnetlink. Acts in the network namespace of the thread that opened it."""

import errno
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from gateway.line.shaping import HANDLE, AddQdisc, Class, DeleteClass, DeleteQdisc, SetClass, Step, Tree

_ROOT = 0xFFFFFFFF  # TC_H_ROOT
_BURST_PART = 250  # bursts are 4 ms of the rate and one frame: at 10 Gbit/s the timer is too coarse for less
_FRAME = 1_600
_LEAVES = ("fq_codel", "sfq")  # the best that the kernel has; else its own first in, first out


class TrafficControl:
    """One rtnetlink connection. Methods raise OSError when the kernel refuses."""

    def __init__(self) -> None:
        self._ip = IPRoute()
        self._leaves = list(_LEAVES)

    def close(self) -> None:
        """Closes the connection; everything in the kernel stays."""
        self._ip.close()

    def read(self) -> tuple[dict[str, int], dict[str, Tree | None]]:
        """Interface index by device, and what stands at the root of each: ours with its classes, a foreign one, or None
        for the kernel's default."""
        try:
            names = {link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in self._ip.get_links()}
            found: dict[str, Tree | None] = dict.fromkeys(names.values())
            for qdisc in self._ip.get_qdiscs():
                device = names.get(qdisc["index"], "")
                if qdisc["parent"] == _ROOT and qdisc["handle"] and device:
                    found[device] = self._tree(qdisc)
        except NetlinkError as error:
            raise OSError(error.code, str(error)) from error
        return {device: index for index, device in names.items()}, found

    def _tree(self, qdisc: Any) -> Tree:
        kind, handle = qdisc.get_attr("TCA_KIND"), qdisc["handle"]
        if (kind, handle) != ("htb", HANDLE):
            return Tree(foreign=f"{kind} {handle >> 16:x}:")
        default = qdisc.get_attr("TCA_OPTIONS").get_attr("TCA_HTB_INIT")["defcls"]
        classes = [_class_of(item) for item in self._ip.get_classes(index=qdisc["index"]) if _is_htb(item)]
        return Tree(default, {one.minor: one for one in classes})

    def apply(self, step: Step, index: int) -> None:
        """Takes one step on the device with this interface index; one that is already taken is not an error."""
        try:
            match step:
                case AddQdisc(_, default, _):
                    self._ip.tc("replace", "htb", index, HANDLE, parent=_ROOT, default=default)
                case DeleteQdisc():
                    self._ip.tc("del", index=index, handle=HANDLE, parent=_ROOT)
                case SetClass(_, one, new):
                    self._ip.tc("add-class" if new else "change-class", "htb", index, HANDLE | one.minor, **_words(one))
                    if new and one.parent:
                        self._leaf(index, HANDLE | one.minor)
                case DeleteClass(_, minor):
                    self._ip.tc("del-class", index=index, handle=HANDLE | minor)
        except NetlinkError as error:
            if error.code not in (errno.EEXIST, errno.ENODEV):
                raise OSError(error.code, str(error)) from error

    def _leaf(self, index: int, classid: int) -> None:
        """Keeps one flow of the class from holding up its others, where the kernel can."""
        while self._leaves:
            try:
                self._ip.tc("add", self._leaves[0], index, 0, parent=classid)
            except NetlinkError as error:
                if error.code != errno.ENOENT:
                    raise
                del self._leaves[0]  # not in this kernel
            else:
                return


def _is_htb(item: Any) -> bool:
    return bool(item.get_attr("TCA_KIND") == "htb" and item["handle"] >> 16 == HANDLE >> 16)


def _class_of(item: Any) -> Class:
    options = item.get_attr("TCA_OPTIONS")
    parms = options.get_attr("TCA_HTB_PARMS")
    rate = options.get_attr("TCA_HTB_RATE64") or parms["rate"]
    ceil = options.get_attr("TCA_HTB_CEIL64") or parms["ceil"]
    parent = 0 if item["parent"] == _ROOT else item["parent"] & 0xFFFF
    return Class(item["handle"] & 0xFFFF, parent, rate, ceil, parms["quantum"])


def _words(one: Class) -> dict[str, Any]:
    """The request's fields. pyroute2 sends rates above 32 bits in TCA_HTB_RATE64 by itself."""
    return {
        "parent": HANDLE | one.parent,
        "rate": one.rate,
        "ceil": one.ceil,
        "burst": one.rate // _BURST_PART + _FRAME,
        "cburst": one.ceil // _BURST_PART + _FRAME,
        "quantum": one.quantum,
    }
