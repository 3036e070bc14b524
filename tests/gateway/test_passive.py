"""Real flows of a real worker over a line that loses packets, and what they say of it."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from gateway.config import Health
from gateway.figures import LineFigures, read
from gateway.line.passive import Passive
from tests.gateway.kit import Ground
from tests.gateway.node import Node

pytestmark = pytest.mark.root
RULES = Health(degraded_services=10)
UPLOAD = b"x" * 30_000


@contextlib.contextmanager
def lossy(ground: Ground, to: str) -> Iterator[None]:
    """Every third packet with data to these addresses is lost on the line: at its far end, for what is dropped at home
    the kernel does not count as sent."""
    rules = (
        "add table inet loss; add chain inet loss in { type filter hook input priority 0; };"
        f'add rule inet loss in iifname "far-hk1" ip daddr {to} tcp dport 7000 ip length > 100'
        " numgen inc mod 3 == 0 drop"
    )
    with ground.abroad.inside():
        subprocess.run(["nft", rules], check=True)
    try:
        yield
    finally:
        with ground.abroad.inside():
            subprocess.run(["nft", "delete table inet loss"], check=True)


def uploads(node: Node, ground: Ground, count: int, to: int) -> None:
    """`count` flows, to so many services in turn; each uploads a little and ends."""
    sites = [ground.site("tcp") for _ in range(to)]
    talks = []
    for number in range(count):
        site = sites[number % to]
        talk = node.tunnel(node.workers["w0.1"], site.authority)
        talks.append((talk, site.accept()))
        talk.say(UPLOAD)
    for talk, there in talks:
        there.exactly(len(UPLOAD))
        talk.reset()
        node.final(talk)


def figures(node: Node) -> LineFigures:
    return read(node.run / "figures").get(1, LineFigures())


def test_losses_to_all_services_are_the_line_s_and_losses_to_one_are_not(own: Node, ground: Ground) -> None:
    sound, one, all_ = (Passive(RULES) for _ in range(3))
    sound.take(figures(own))
    uploads(own, ground, 12, to=12)
    assert sound.take(figures(own)) == ""
    assert sound.rtt_us is not None
    assert 0 < sound.rtt_us < 1_000_000
    assert sound.retransmits_ppm == 0

    one.take(figures(own))
    site = ground.site("tcp")  # the next one has the next address
    number = int(site.address.rpartition(".")[2]) + 1
    with lossy(ground, f"203.0.113.{number}"):
        uploads(own, ground, 12, to=1)  # all of them to one host
        uploads(own, ground, 12, to=12)
    assert one.take(figures(own)) == ""
    assert one.retransmits_ppm, "packets were really lost"

    all_.take(figures(own))
    with lossy(ground, "203.0.113.0/24"):
        said = ""
        for _ in range(3):  # a look at all tunnels may have asked some before they lost anything
            uploads(own, ground, 12, to=12)
            said = all_.take(figures(own)) or said
            if said:
                break
    assert "% of the segments are sent again, to " in said
