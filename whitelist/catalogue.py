"""Which rows of the policy are about a target: exact host, then each level of suffix, or each covering IP prefix."""

from typing import Protocol

from whitelist.entries import DenyEntry, EndpointEntry, LineEntry, decode_rows
from whitelist.ip_text import parse_v4, parse_v6
from whitelist.target import Target

MAX_KNOWN = 16_384  # keys, some 500 bytes each

_SUFFIX = ord("w")
HostRows = list[DenyEntry | EndpointEntry]


class Policy(Protocol):
    """What a verdict is made from; whitelist.snapshot.Snapshot is one."""

    @property
    def revision(self) -> int:
        """The register's revision."""

    @property
    def abroad(self) -> frozenset[str]:
        """The lines in use that lead abroad."""

    @property
    def known(self) -> dict[bytes, HostRows | None]:
        """What rows() found of late, for it to keep; empty at each new revision."""

    @property
    def prefix_lengths(self) -> dict[int, tuple[int, ...]]:
        """By family (4, 6): the lengths of all prefixes in the policy, longest first."""

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a key."""

    def line(self, name: str) -> LineEntry | None:
        """A line."""


def prefix_key(family: int, value: int, length: int) -> bytes:
    """The key of the prefix of this length around an address (as integer)."""
    bits = 32 if family == 4 else 128
    return b"%d%03d/%x" % (family, length, value >> (bits - length))


def place_key(interface: str, family: int, value: int, length: int) -> bytes:
    """The key of the places behind an interface with the prefix of this length around an address."""
    return b"p%b/%b" % (prefix_key(family, value, length), interface.encode())


def rows(policy: Policy, target: Target) -> tuple[list[DenyEntry], list[EndpointEntry]]:
    """The denies and endpoints whose target covers this one's host, whatever the port, the most specific first.
    `*.suffix` never covers the suffix itself. Raises ValueError for a host that is no address where it must be.

    Services are few and everybody's, so what is found is kept decoded, and with it that there is nothing for com. Of
    hosts that nobody knows nothing is kept: how many of them are asked for is in the clients' hands."""
    denies: list[DenyEntry] = []
    endpoints: list[EndpointEntry] = []
    known = policy.known
    fresh: dict[bytes, HostRows | None] = {}
    for key in _prefixes(policy, target.host) if target.is_ip else _names(target.host):
        if key in known:
            found = known[key]
        else:
            value = policy.get(key)
            found = fresh[key] = None if value is None else decode_rows(value)
        if found is not None:
            for row in found:
                if type(row) is EndpointEntry:
                    endpoints.append(row)
                else:
                    denies.append(row)  # type: ignore[arg-type]  # the union has no third member
    if fresh and (endpoints or denies):
        if len(known) >= MAX_KNOWN:
            known.clear()
        # Below a wildcard there is no end of names: that there is no row for the host itself is not kept.
        known |= {key: found for key, found in fresh.items() if found is not None or key[0] == _SUFFIX}
    return denies, endpoints


def _names(host: str) -> list[bytes]:
    name = host.encode("ascii")
    keys = [b"h" + name]
    dot = name.find(b".") + 1
    while dot:
        keys.append(b"w" + name[dot:])
        dot = name.find(b".", dot) + 1
    return keys


def _prefixes(policy: Policy, host: str) -> list[bytes]:
    family, value = (6, parse_v6(host)) if ":" in host else (4, parse_v4(host))
    if value is None:
        raise ValueError("not an IP address")
    return [prefix_key(family, value, length) for length in policy.prefix_lengths[family]]
