"""Kernel notifications as a bell: something about links, addresses, neighbours, routes, rules or nft has changed."""

import errno
import socket

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_NETFILTER = 12
# RTNLGRP_LINK, _NEIGH, _TC, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV6_IFADDR, _IPV6_ROUTE, _IPV6_RULE,
# _IPV4_NETCONF, _IPV6_NETCONF (linux/rtnetlink.h)
_RTNETLINK_GROUPS = (1, 3, 4, 5, 7, 8, 9, 11, 19, 24, 25)
_NFNLGRP_NFTABLES = 7  # linux/netfilter/nfnetlink.h


def open_sockets() -> tuple[list[socket.socket], str]:
    """Non-blocking sockets that become readable on a change, and why one is missing: the nftables one needs
    CAP_NET_ADMIN, without which nothing can be put right either, and the sweep says so of each line."""
    route = _open(socket.NETLINK_ROUTE, _RTNETLINK_GROUPS)
    try:
        return [route, _open(_NETLINK_NETFILTER, (_NFNLGRP_NFTABLES,))], ""
    except PermissionError as error:
        remedy = "give the process CAP_NET_ADMIN (feiyu.service does), then restart it"
        return [route], f"changes of the nft table are not notified: {error.strerror}; {remedy}"
    except OSError:
        route.close()
        raise


def _open(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.bind((0, 0))
        for group in groups:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    except OSError:
        sock.close()
        raise
    return sock


def drain(sock: socket.socket) -> None:
    """Throws away what has arrived: the kernel is read as a whole anyway, so a lost notification loses nothing."""
    while True:
        try:
            sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
