"""Which rows of the policy are about a target: exact host, then each level of suffix, or each covering IP prefix."""

from typing import Protocol

from whitelist.entries import DenyEntry, EndpointEntry, LineEntry, decode_rows
from whitelist.ip_text import parse_v4, parse_v6
from whitelist.target import Target


class Policy(Protocol):
    """What a verdict is made from; whitelist.snapshot.Snapshot is one."""

    @property
    def revision(self) -> int:
        """The register's revision."""

    @property
    def abroad(self) -> frozenset[str]:
        """The lines in use that lead abroad."""

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


def keys(policy: Policy, host: str, *, is_ip: bool) -> list[bytes]:
    """All keys under which rows about the host can stand, the most specific first. `*.suffix` never is the suffix."""
    if is_ip:
        family, value = (6, parse_v6(host)) if ":" in host else (4, parse_v4(host))
        if value is None:
            raise ValueError(f"not an IP address: {host[:64]!r}")
        return [prefix_key(family, value, length) for length in policy.prefix_lengths[family]]
    name = host.encode("ascii")
    found = [b"h" + name]
    dot = name.find(b".")
    while dot >= 0:
        found.append(b"w" + name[dot + 1 :])
        dot = name.find(b".", dot + 1)
    return found


def rows(policy: Policy, target: Target) -> tuple[list[DenyEntry], list[EndpointEntry]]:
    """The denies and endpoints whose target covers this one's host, whatever the port, the most specific first."""
    denies: list[DenyEntry] = []
    endpoints: list[EndpointEntry] = []
    get = policy.get
    for key in keys(policy, target.host, is_ip=target.is_ip):
        value = get(key)
        if value is not None:
            for row in decode_rows(value):
                if type(row) is EndpointEntry:
                    endpoints.append(row)
                else:
                    denies.append(row)  # type: ignore[arg-type]  # the union has no third member
    return denies, endpoints
