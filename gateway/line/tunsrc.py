"""The node's SRv6 source address (`ip sr tunsrc`, ip-sr(8)): one for all segment lists, of the thread's namespace."""

from ipaddress import IPv6Address
from typing import Any

from pyroute2 import NetlinkError
from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.generic import GenericNetlinkSocket

_FAMILY, _VERSION = "SEG6", 1  # include/uapi/linux/seg6_genl.h
_SET, _GET = 3, 4  # SEG6_CMD_SET_TUNSRC, SEG6_CMD_GET_TUNSRC


class _Message(genlmsg):  # type: ignore[misc]  # pyroute2 has no types
    nla_map = (("SEG6_ATTR_UNSPEC", "none"), ("SEG6_ATTR_DST", "ip6addr"))


def read() -> str:
    """The address, empty when there is none. Raises OSError where the kernel knows no SRv6."""
    for answer in _ask(_GET, NLM_F_REQUEST):
        found = IPv6Address(answer.get_attr("SEG6_ATTR_DST"))
        return "" if found.is_unspecified else str(found)
    return ""


def write(address: str) -> None:
    """Sets it. Raises OSError."""
    _ask(_SET, NLM_F_REQUEST | NLM_F_ACK, address)


def _ask(command: int, flags: int, address: str = "") -> list[Any]:
    message = _Message()
    message["cmd"], message["version"] = command, _VERSION
    if address:
        message["attrs"] = [("SEG6_ATTR_DST", address)]
    sock = GenericNetlinkSocket()
    try:
        sock.bind(_FAMILY, _Message)
        return list(sock.nlm_request(message, msg_type=sock.prid, msg_flags=flags))
    except NetlinkError as error:
        raise OSError(error.code, f"SRv6 source address: {error}") from error
    finally:
        sock.close()
