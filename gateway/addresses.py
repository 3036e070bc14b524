"""The host's own addresses, read from /proc: none of them may ever be dialled."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path


def own_addresses(proc: Path = Path("/proc/net")) -> frozenset[str]:
    """Canonical text of every local address, IPv4 and IPv6. Raises OSError where /proc cannot be read."""
    found: set[str] = set()
    last = ""
    for line in (proc / "fib_trie").read_text().splitlines():
        word = line.split()
        if len(word) >= 2 and word[0] == "|--":
            last = word[1]
        elif "/32 host LOCAL" in line:
            found.add(str(IPv4Address(last)))
    inet6 = proc / "if_inet6"
    if inet6.exists():
        for line in inet6.read_text().splitlines():
            found.add(str(IPv6Address(bytes.fromhex(line.split()[0]))))
    return frozenset(found)
