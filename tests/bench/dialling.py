"""What holding a socket on its line costs: python -m tests.bench.dialling [ROUNDS]

CPU (user + system) per connection made and closed over a line, in turns in one run: a plain socket; one that is marked,
bound and read back as the gateway does it (gateway.line.dial); the same with a traffic class. Needs root.
"""

import os
import resource
import socket
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from gateway.line import dial
from gateway.line.model import Egress, LineHandle, class_of, handle_of
from tests.netns.bench import configured, line_of, node_of
from tests.netns.kit import ABROAD, PORT, Zone
from whitelist.address import check
from whitelist.decide import Permit
from whitelist.model import Protocol

BATCH = 500  # connections in a turn

Dial = Callable[[], socket.SocketType]


def spent(make: Dial) -> float:
    """µs of CPU per connection over one batch."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(BATCH):
        make().close()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / BATCH * 1e6


def plain() -> socket.SocketType:
    """No mark, no device, no source."""
    sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    sock.connect_ex((ABROAD[4], PORT))
    return sock


def held(line: LineHandle) -> Dial:
    """As the gateway does it."""
    permit = Permit(
        tenant="t", grant="g", service="s", endpoint="e", protocol=Protocol.TLS, lines=(line.id,), not_after=0,
        revision=1, special_prefixes=("203.0.113.0/24",), max_tunnels=1, slot=0,
    )  # fmt: skip
    address = check(ABROAD[4], permit.special_prefixes, frozenset())
    return lambda: dial.connect(permit, address, PORT, line)


def main(rounds: int) -> int:
    """Prints the medians and the differences."""
    if os.geteuid() != 0:
        sys.stderr.write("network namespaces need root\n")
        return 1
    figures: dict[str, list[float]] = {"plain": [], "held": [], "held, classed": []}
    with Zone() as zone, zone.gateway.inside(), ExitStack() as stack:
        zone.run("sysctl -qw net.ipv4.tcp_tw_reuse=1", "sysctl -qw net.ipv4.tcp_max_tw_buckets=1024")
        zone.run("ip route replace default via 198.51.100.1")  # the plain socket takes the same wire
        entry = line_of(zone, 1, "iplc1")
        line = handle_of(entry)
        common = Egress(line.source4, line.source6, class_of(1, 1))
        makers = {"plain": plain, "held": held(line), "held, classed": held(replace(line, common=common))}
        stack.enter_context(configured(node_of(zone), [entry]))
        zone.run("nft delete table inet feiyu")  # it would drop the plain ones; its own cost is in `make bench`
        for turn in range(rounds * len(makers)):
            # Each turn begins with another one: what one leaves in the kernel must not always fall to the same next.
            for name in [*makers][turn % 3 :] + [*makers][: turn % 3]:
                spent(makers[name])
                figures[name].append(spent(makers[name]))
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, value in medians.items():
        print(f"{name:16}{value:8.1f} µs   {value - medians['plain']:+6.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9))
