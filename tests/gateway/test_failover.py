"""Which line and which address a new flow takes when one will not do, and what is said and counted of those tried."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import pytest

from gateway.figures import LineFigures, read
from gateway.line.model import class_of
from tests.gateway.kit import LINES, LINES6, PATIENCE, Ground, Site, Talk, until
from tests.gateway.nameserver import Asked
from tests.gateway.node import Node, Worker, authorization, grant, line
from whitelist.model import LineShare

pytestmark = pytest.mark.root
SILENT6 = "2001:db8:a::99"  # dropped without a word
SILENT6_TOO = "2001:db8:a::98"


@pytest.fixture(autouse=True)
def silent(ground: Ground) -> Iterator[None]:
    """What is sent to these addresses is dropped abroad."""
    addresses = (SILENT6, SILENT6_TOO)
    ground.abroad.ip([f"route add blackhole {address}/128" for address in addresses])
    yield
    ground.abroad.ip([f"route del blackhole {address}/128" for address in addresses])


def figures(node: Node, index: int) -> LineFigures:
    return read(node.run / "figures").get(index, LineFigures())


@pytest.fixture
def few_ports(ground: Ground) -> Iterator[None]:
    """Two local ports in the gateway's namespace."""
    with ground.gateway.inside():
        path = Path("/proc/sys/net/ipv4/ip_local_port_range")
        before = path.read_text()
        path.write_text("40000 40001")
    yield
    with ground.gateway.inside():
        path.write_text(before)


LINE_STATES: dict[str, tuple[dict[str, str], str]] = {
    "the first, where both are up": ({}, "hk1"),
    "the one that is up, where the first is degraded": ({"hk1": "degraded"}, "sg1"),
    "the first degraded one, where none is up": ({"hk1": "degraded", "sg1": "degraded"}, "hk1"),
    "the degraded one, where the first is down": ({"hk1": "down", "sg1": "degraded"}, "sg1"),
}


@pytest.mark.parametrize("case", LINE_STATES)
def test_a_new_flow_takes(case: str, own: Node, ground: Ground) -> None:
    states, expected = LINE_STATES[case]
    for name, state in states.items():
        own.hub.say(kind="line", line=name, state=state)
    site = ground.site("tcp")
    talk = own.tunnel(own.workers["w0.1"], site.authority)
    assert site.accept().sock.getpeername()[0] == LINES[expected][1]
    talk.reset()
    assert own.final(talk)["line"] == expected


def test_a_live_flow_goes_on_over_a_degraded_line(own: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    talk = own.tunnel(own.workers["w0.1"], site.authority)
    there = site.accept()
    own.hub.say(kind="line", line="hk1", state="degraded")
    assert talk.say(b"x") and there.exactly(1) == b"x"
    talk.reset()
    assert own.final(talk)["cause"] == "reset"


def test_of_all_lines_it_is_said_why_none_was_taken(own: Node, ground: Ground) -> None:
    own.hub.say(kind="line", line="hk1", state="down")
    own.put(lines=line("sg1", device="gone0"))
    refused = own.connect(own.workers["w0.1"], ground.site("literal", port=7000).address + ":7000")
    assert refused.head().startswith("HTTP/1.1 503 Line unavailable ")
    assert own.final(refused)["detail"] == (
        "hk1: down, sg1: bind to device: No such device; see that device gone0 exists"
    )


def test_a_line_that_fails_in_dialling_is_followed_by_the_next(own: Node, ground: Ground) -> None:
    own.put(lines=line("hk1", device="gone0"))
    site = ground.site("tcp")
    talk = own.tunnel(own.workers["w0.1"], site.address + ":7000")
    assert site.accept().sock.getpeername()[0] == LINES["sg1"][1]
    talk.reset()
    assert own.final(talk)["line"] == "sg1"


ADDRESSES: dict[str, Callable[[str], tuple[str, ...]]] = {
    "IPv6 is silent and IPv4 answers": lambda good: (SILENT6, good),
    "two of IPv6 are silent": lambda good: (SILENT6, SILENT6_TOO, good),
    "the last of several": lambda good: (SILENT6, "203.0.113.250", SILENT6_TOO, good),
}


@pytest.mark.parametrize("case", ADDRESSES)
@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_an_address_that_answers_is_taken_before_the_dial_timeout_where(
    case: str, kind: str, node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site(kind)
    ground.names.know(site.host, *ADDRESSES[case](site.address))
    if kind == "tcp":
        talk = node.tunnel(worker, site.authority)
        there = site.accept(1.5)  # the dial timeout is 3 s
    else:
        talk = ground.dial(worker.port)
        who = f"Proxy-Authorization: {authorization('acme')}"
        talk.say(f"GET http://{site.host}/ HTTP/1.1\r\nHost: {site.host}\r\n{who}\r\n\r\n")
        there = site.accept(1.5)
        there.head()
        there.say("HTTP/1.1 204 No Content\r\n\r\n")
        assert talk.head().startswith("HTTP/1.1 204 ")
    talk.reset()
    there.close()
    final = node.final(talk)
    assert (final["address"], final["decision"]) == (site.address, "permit")


def begun(node: Node, site: Site) -> Talk:
    """A tunnel to the site that was begun to be dialled on hk1."""
    before = figures(node, 1).dialled
    talk = node.connect(node.workers["w0.1"], site.authority)
    until(lambda: figures(node, 1).dialled > before, "nothing is dialled on hk1")
    return talk


def test_the_earlier_attempt_is_taken_when_it_answers_and_the_later_is_refused(own: Node, ground: Ground) -> None:
    own.put(grants=grant("acme", "tcp", lines=("hk1",)))  # no other line takes the flow over, however late it is
    site = ground.site("tcp", v6=True, port=7001)
    ground.names.know(site.host, SILENT6, "203.0.113.251")  # the second answers with a reset at once
    talk = begun(own, site)
    ground.abroad.ip([f"route del blackhole {SILENT6}/128", f"addr add {SILENT6}/128 dev lo nodad"])
    try:
        with ground.abroad.inside():
            late = socket.create_server((SILENT6, 7001), family=socket.AF_INET6)
        with late:
            late.settimeout(3)
            found, peer = late.accept()  # the repeated SYN, a second after the first
            found.close()
    finally:
        ground.abroad.ip([f"addr del {SILENT6}/128 dev lo", f"route add blackhole {SILENT6}/128"])
    assert peer[0] == LINES6["hk1"][0]
    assert talk.head().startswith("HTTP/1.1 200 ")
    talk.reset()
    assert own.final(talk)["address"] == SILENT6


@contextlib.contextmanager
def over_hk1(ground: Ground, what: str, verdict: str) -> Iterator[None]:
    """What arrives abroad over hk1 and matches these words of nft is dropped, or rejected."""
    with ground.abroad.inside():
        chain = f'chain arriving {{ type filter hook input priority 0; iifname "far-hk1" {what} {verdict}\n }}'
        subprocess.run(["nft", "-f", "-"], input=f"table inet lost {{ {chain}\n }}", text=True, check=True, timeout=10)
    try:
        yield
    finally:
        with ground.abroad.inside():
            subprocess.run(["nft", "delete", "table", "inet", "lost"], check=True, timeout=10)


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_silence_on_a_line_is_followed_by_the_next_line_within_the_dial_timeout(
    kind: str, own: Node, ground: Ground
) -> None:
    site = ground.site(kind)
    before = figures(own, 1)
    worker = own.workers["w0.1"]
    with over_hk1(ground, f"ip daddr {site.address}", "drop"):
        if kind == "tcp":
            talk = own.tunnel(worker, site.authority)
            there = site.accept()
        else:
            talk = ground.dial(worker.port)
            who = f"Proxy-Authorization: {authorization('acme')}"
            talk.say(f"GET http://{site.host}/ HTTP/1.1\r\nHost: {site.host}\r\n{who}\r\n\r\n")
            there = site.accept()
            there.head()
            there.say("HTTP/1.1 204 No Content\r\n\r\n")
            assert talk.head().startswith("HTTP/1.1 204 ")
    assert there.sock.getpeername()[0] == LINES["sg1"][1]
    talk.reset()
    there.close()
    final = own.final(talk)
    assert (final["decision"], final["line"], final["egress_ip"]) == ("permit", "sg1", LINES["sg1"][1])
    now = figures(own, 1)
    assert (now.dialled - before.dialled, now.failed - before.failed) == (1, 1)


def test_after_such_silence_the_line_comes_last_for_that_host_and_for_no_other(own: Node, ground: Ground) -> None:
    worker = own.workers["w0.1"]
    silent, other = ground.site("tcp"), ground.site("tcp")
    before = figures(own, 1).dialled
    with over_hk1(ground, f"ip daddr {silent.address}", "drop"):
        talks = [own.tunnel(worker, site.authority) for site in (silent, silent, silent, other)]
        for talk in talks:
            talk.reset()
    assert [own.final(talk)["line"] for talk in talks] == ["sg1", "sg1", "sg1", "hk1"]
    assert figures(own, 1).dialled - before == 2, "one waited for hk1"
    own.put(grants=grant("acme", "tcp", lines=("hk1",)))
    talk = own.tunnel(worker, silent.authority)
    talk.reset()
    assert own.final(talk)["line"] == "hk1", "in doubt, and the only one"


def test_a_service_that_is_silent_over_every_line_is_refused_with_each_of_them(own: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    ground.names.know(site.host, SILENT6, SILENT6_TOO)
    refused = own.connect(own.workers["w0.1"], site.authority)
    assert refused.head().startswith("HTTP/1.1 502 Dial failed ")
    assert own.final(refused)["detail"] == (
        "hk1: the service did not answer in time, sg1: the service did not answer in time"
    )


def test_a_service_that_refuses_over_one_line_is_not_asked_over_another(own: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    before = figures(own, 2).dialled
    with over_hk1(ground, f"ip daddr {site.address} meta l4proto tcp", "reject with tcp reset"):
        refused = own.connect(own.workers["w0.1"], site.authority)
        assert refused.head().startswith("HTTP/1.1 502 Dial failed ")
    final = own.final(refused)
    assert (final["detail"], final["line"]) == ("line hk1: Connection refused", "hk1")
    assert figures(own, 2).dialled == before
    assert site.quiet()


def test_silent_resolvers_of_a_line_are_followed_by_the_next_line_within_the_dial_timeout(
    another: Callable[..., Node], ground: Ground
) -> None:
    node = another(timeouts={"dial": 6})
    site = ground.site("tcp")
    with over_hk1(ground, "udp dport 53", "drop"):
        talk = node.tunnel(node.worker(), site.authority)
    assert site.accept().sock.getpeername()[0] == LINES["sg1"][1]
    talk.reset()
    assert node.final(talk)["line"] == "sg1"


def test_when_its_line_goes_down_a_flow_that_waits_for_the_service_goes_on_over_the_next(
    own: Node, ground: Ground
) -> None:
    site = ground.site("tcp")
    with over_hk1(ground, f"ip daddr {site.address}", "drop"):
        talk = begun(own, site)
        own.hub.say(kind="line", line="hk1", state="down")
        assert site.accept().sock.getpeername()[0] == LINES["sg1"][1]
    assert talk.head().startswith("HTTP/1.1 200 ")
    talk.reset()
    assert own.final(talk)["line"] == "sg1"


def test_when_its_line_goes_down_a_flow_that_waits_for_a_resolver_goes_on_over_the_next(
    own: Node, ground: Ground
) -> None:
    site = ground.site("tcp")
    honest, asked = ground.names.answers[site.host], threading.Event()

    def answer(query: dns.message.Message, by: Asked) -> list[bytes]:
        if by.peer != LINES["hk1"][1]:
            return honest(query, by)
        asked.set()
        return []

    ground.names.answers[site.host] = answer
    talk = own.connect(own.workers["w0.1"], site.authority)
    assert asked.wait(PATIENCE)
    own.hub.say(kind="line", line="hk1", state="down")
    assert site.accept().sock.getpeername()[0] == LINES["sg1"][1]
    assert talk.head().startswith("HTTP/1.1 200 ")
    talk.reset()
    assert own.final(talk)["line"] == "sg1"


NO_OTHER: dict[str, Callable[[Node], None]] = {
    "down": lambda node: node.hub.say(kind="line", line="sg1", state="down"),
    "draining": lambda node: node.hub.say(kind="line", line="sg1", state="draining"),
    "no longer designated": lambda node: node.put(grants=grant("acme", "tcp", lines=("hk1",))),
    "drained": lambda node: node.put(lines=line("sg1", drained=True)),
}


@pytest.mark.parametrize("why", NO_OTHER)
def test_when_its_line_goes_down_a_flow_is_refused_where_the_next_is(why: str, own: Node, ground: Ground) -> None:
    """What could have been taken when the flow began counts no more."""
    site = ground.site("tcp")
    before = figures(own, 2).dialled
    with over_hk1(ground, f"ip daddr {site.address}", "drop"):
        refused = begun(own, site)
        NO_OTHER[why](own)
        own.hub.say(kind="line", line="hk1", state="down")
        assert refused.head().startswith("HTTP/1.1 503 Line unavailable ")
    assert own.final(refused)["detail"] == f"hk1: the line went down, sg1: {why}"
    assert figures(own, 2).dialled == before
    assert site.quiet()


def test_connections_are_counted_by_line_open_ones_until_they_end(own: Node, ground: Ground) -> None:
    before = figures(own, 1)
    site = ground.site("tcp")
    talk = own.tunnel(own.workers["w0.1"], site.authority)
    there = site.accept()
    now = figures(own, 1)
    assert (now.dialled - before.dialled, now.open - before.open) == (1, 1)
    talk.say(b"x" * 100)
    there.exactly(100)
    talk.reset()
    own.final(talk)
    now = figures(own, 1)
    assert (now.open - before.open, now.samples - before.samples) == (0, 1)
    assert now.segments > before.segments
    assert now.rtt_us_sum > before.rtt_us_sum
    assert now.failed == before.failed


def test_a_dial_without_an_answer_is_a_failure_of_the_line(hasty: Node, ground: Ground) -> None:
    before = figures(hasty, 1)
    site = ground.site("tcp")
    ground.names.know(site.host, SILENT6, SILENT6_TOO)
    refused = hasty.connect(hasty.workers["w0.1"], site.authority)
    assert refused.head().startswith("HTTP/1.1 502 Dial failed ")
    now = figures(hasty, 1)
    assert (now.dialled - before.dialled, now.failed - before.failed, now.open - before.open) == (2, 2, 0)


@pytest.mark.usefixtures("few_ports")
def test_without_a_free_port_the_next_line_is_taken_and_then_it_is_said(own: Node, ground: Ground) -> None:
    site = ground.site("literal", port=7000)
    worker, to = own.workers["w0.1"], f"{site.address}:7000"
    before = figures(own, 1).exhausted
    talks = [own.tunnel(worker, to) for _ in range(4)]
    from_ = sorted(site.accept().sock.getpeername()[0] for _ in talks)
    assert from_ == [LINES["hk1"][1]] * 2 + [LINES["sg1"][1]] * 2
    refused = own.connect(worker, to)
    assert refused.head().startswith("HTTP/1.1 503 Overloaded ")
    assert own.final(refused)["detail"] == (
        f"hk1: no free port of {LINES['hk1'][1]} towards {to}, sg1: no free port of {LINES['sg1'][1]} towards {to}"
    )
    assert figures(own, 1).exhausted - before == 3
    own.put(grants=grant("acme", "literal", lines=("hk1",)))
    alone = own.connect(worker, to)
    assert alone.head().startswith("HTTP/1.1 503 Overloaded ")
    assert own.final(alone)["detail"] == f"line hk1: no free port of {LINES['hk1'][1]} towards {to}"


def test_a_firm_leaves_by_its_own_address(own: Node, ground: Ground) -> None:
    ground.gateway.ip(["addr add 198.51.100.77/24 dev iplc1"])
    share = LineShare(tenant="acme", number=9, source4="198.51.100.77")
    own.put(lines=line("hk1", rate_up=100_000, rate_down=100_000, shares=(share,)))
    peers = {}
    for firm in ("acme", "birch"):
        site = ground.site("tcp")
        talk = own.tunnel(own.workers["w0.1"], site.authority, firm)
        peers[firm] = site.accept().sock.getpeername()[0]
        talk.reset()
        assert own.final(talk)["egress_ip"] == peers[firm]
    ground.gateway.ip(["addr del 198.51.100.77/24 dev iplc1"])
    assert peers == {"acme": "198.51.100.77", "birch": LINES["hk1"][1]}
    assert class_of(1, 9) == 0x46000109
