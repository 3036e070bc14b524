"""One client connection, from its first byte to its last, over real sockets."""

import pytest

from tests.gateway.kit import Ground, client_hello
from tests.gateway.node import Node, Worker

pytestmark = pytest.mark.root


def test_a_tunnel_carries_bytes_both_ways_and_leaves_two_records(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tls")
    talk = node.tunnel(worker, site.authority)
    hello = client_hello(site.host)
    talk.say(hello)
    there = site.accept()
    assert there.exactly(len(hello)) == hello
    there.say(b"answer")
    assert talk.exactly(6) == b"answer"
    talk.close()
    assert there.rest() == b""
    there.close()
    close = node.final(talk)
    assert (close["cause"], close["bytes_out"], close["bytes_in"]) == ("client-closed", len(hello), 6)
