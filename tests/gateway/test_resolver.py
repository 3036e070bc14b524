"""Names over the line: whose answers count, which addresses may be dialled, and what happens without an answer."""

import itertools
import struct
from collections.abc import Callable

import dns.message
import pytest

from tests.gateway.kit import LINES, RESOLVERS, Ground, Talk, until
from tests.gateway.nameserver import Answer, Asked, reply
from tests.gateway.node import Node, Worker, line, service

pytestmark = pytest.mark.root
_numbers = itertools.count(1)


def ask(node: Node, worker: Worker, ground: Ground, answer: Answer, kind: str = "tcp") -> tuple[Talk, str]:
    """A CONNECT to a new name with these answers; the client and the name."""
    host = f"r{next(_numbers)}.{kind}.example"
    ground.names.answers[host] = answer
    return node.connect(worker, f"{host}:7000"), host


def outcome(node: Node, talk: Talk) -> tuple[str, str]:
    """Reason and detail of a refusal."""
    talk.head()
    talk.close()
    record = node.final(talk)
    assert record["kind"] == "deny"
    assert "line" not in record or not record["line"], "nothing was dialled"
    return record["reason"], record.get("detail", "")


def gives(*addresses: str, ttl: int = 30) -> Answer:
    def answer(query: dns.message.Message, asked: Asked) -> list[bytes]:
        return [
            reply(query, *(("", asked.kind, a) for a in addresses if (":" in a) == (asked.kind == "AAAA")), ttl=ttl)
        ]

    return answer


# ---- where questions go


def test_questions_go_from_the_lines_address_to_the_lines_resolver_only(
    node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site("tcp")
    node.tunnel(worker, site.authority)
    asked = [a for a in ground.names.asked if a.host == site.host]
    assert {(a.peer, a.resolver) for a in asked} == {(LINES["hk1"][1], RESOLVERS[0])}
    assert sorted(a.kind for a in asked) == ["A", "AAAA"]


def test_a_name_is_asked_for_once_for_many_who_want_it(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    ground.names.hold(site.host)
    talks = [node.connect(worker, site.authority) for _ in range(10)]
    until(lambda: ground.names.waiting(site.host) == 2, "both questions")
    ground.names.release(site.host)
    for talk in talks:
        assert talk.head().startswith("HTTP/1.1 200 ")
    assert ground.names.count(site.host) == 2
    node.tunnel(worker, site.authority)
    assert ground.names.count(site.host) == 2, "kept for its time"


# ---- which addresses may be dialled

FORBIDDEN = (
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "168.63.129.16",
    "100.64.0.1", "100.100.100.200", "198.18.0.1", "240.0.0.1", "192.0.0.1", "224.0.0.1", "255.255.255.255",
    "198.51.100.2", "::", "::1", "::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "::7f00:1", "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fec0::1", "fe80::1", "ff02::1", "fd00:ec2::254",
    "fd00::1", "2001:db8:1::2",
)  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_name_that_leads_to(address: str, node: Node, worker: Worker, ground: Ground) -> None:
    talk, _ = ask(node, worker, ground, gives(address))
    reason, detail = outcome(node, talk)
    assert reason == "address-forbidden"
    assert detail.startswith(f"{address} (") or "(" in detail


def test_a_special_prefix_counts_only_for_the_service_that_names_it(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("open")
    talk = node.connect(worker, site.authority)
    assert outcome(node, talk)[0] == "address-forbidden"
    assert site.quiet()


@pytest.mark.parametrize("bad", ["10.0.0.1", "127.0.0.1", "::1", "fd00::1"])
def test_of_a_mixed_answer_only_what_was_checked_is_dialled(
    bad: str, node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site("tcp")
    ground.names.know(site.host, bad, site.address)
    talk = node.tunnel(worker, site.authority)
    site.accept().close()
    talk.close()
    assert node.final(talk)["address"] == site.address


def test_a_clean_a_with_a_dirty_aaaa_goes_to_the_clean_one_even_if_the_dirty_one_is_first(
    node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site("tcp")
    clean = ground.names.answers[site.host]

    def answer(query: dns.message.Message, asked: Asked) -> list[bytes]:
        if asked.kind == "AAAA":
            return [reply(query, ("", "AAAA", "::ffff:10.0.0.1"))]
        return clean(query, asked)

    ground.names.answers[site.host] = answer
    node.tunnel(worker, site.authority)
    site.accept()


def test_an_address_that_does_not_answer_gives_way_to_the_next(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    ground.names.know(site.host, "203.0.113.2", site.address)  # nobody listens on the first
    talk = node.tunnel(worker, site.authority)
    site.accept().close()
    talk.close()
    assert node.final(talk)["address"] == site.address


def test_rebinding_between_two_tunnels_is_refused_though_the_ttl_is_zero(
    node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site("tcp")
    ground.names.know(site.host, site.address, ttl=0)
    node.tunnel(worker, site.authority)
    site.accept()
    ground.names.know(site.host, "10.0.0.1", ttl=0)
    talk = node.tunnel(worker, site.authority)
    assert site.accept(), "kept a few seconds: what is dialled is what was checked"
    talk.close()
    for state in ("draining", "up"):  # what was learnt over a line is forgotten with a change of it
        node.hub.say(kind="line", line="hk1", state=state)
    assert outcome(node, node.connect(worker, site.authority))[0] == "address-forbidden"


def test_an_ip_literal_is_not_resolved_but_checked(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    asked = len(ground.names.asked)
    node.tunnel(worker, f"{site.address}:7000")
    site.accept()
    assert len(ground.names.asked) == asked


def test_ipv6_services_are_reached_over_the_lines_ipv6(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp", v6=True)
    talk = node.tunnel(worker, site.authority)
    there = site.accept()
    assert there.sock.getpeername()[0] == "2001:db8:1::2"
    talk.close()
    there.close()
    record = node.final(talk)
    assert (record["address"], record["egress_ip"]) == (site.address, "2001:db8:1::2")


# ---- aliases

ALIASES: dict[str, tuple[Answer, str]] = {
    "into the inside": (lambda q, a: [reply(q, ("", "CNAME", "in.side."), ("in.side", "A", "10.0.0.1"))]
                        if a.kind == "A" else [reply(q)], "address-forbidden"),
    "in a circle": (lambda q, a: [reply(q, ("", "CNAME", "b.example."), ("b.example", "CNAME", f"{a.host}."))],
                    "resolve-failed"),
    "to nothing": (lambda q, a: [reply(q, ("", "CNAME", "b.example."))], "resolve-failed"),
    "with an address of another name beside it": (lambda q, a: [reply(q, ("other.example", a.kind, "203.0.113.60"
                                                  if a.kind == "A" else "2001:db8:a::10"))], "resolve-failed"),
}  # fmt: skip


@pytest.mark.parametrize("case", ALIASES)
def test_an_alias(case: str, node: Node, worker: Worker, ground: Ground) -> None:
    answer, reason = ALIASES[case]
    talk, _ = ask(node, worker, ground, answer)
    assert outcome(node, talk)[0] == reason


def test_an_alias_to_a_good_address_is_followed(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    ground.names.answers[site.host] = lambda q, a: [
        reply(q, ("", "CNAME", "b.example."), ("b.example", "A", site.address)) if a.kind == "A" else reply(q)
    ]
    node.tunnel(worker, site.authority)
    site.accept()


# ---- answers that are none


def _other_id(query: dns.message.Message, asked: Asked) -> bytes:
    wire = reply(query, ("", asked.kind, "203.0.113.2" if asked.kind == "A" else "2001:db8:a::2"))
    return struct.pack("!H", (query.id + 1) & 0xFFFF) + wire[2:]


def _other_name(query: dns.message.Message, asked: Asked) -> bytes:
    other = dns.message.make_query("other.tcp.example", asked.kind, id=query.id)
    return reply(other, ("", asked.kind, "203.0.113.2" if asked.kind == "A" else "2001:db8:a::2"))


def _a_question(query: dns.message.Message, asked: Asked) -> bytes:
    return query.to_wire()


STRAY: dict[str, Callable[[dns.message.Message, Asked], bytes]] = {
    "another id": _other_id,
    "another name": _other_name,
    "a question": _a_question,
    "rubbish": lambda q, a: b"\0" * 5,
    "nothing": lambda q, a: b"",
}


@pytest.mark.parametrize("case", STRAY)
def test_what_is_no_answer_to_the_question_is_passed_over(
    case: str, node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site("tcp")
    honest = ground.names.answers[site.host]
    ground.names.answers[site.host] = lambda q, a: [STRAY[case](q, a)] * 3 + honest(q, a)
    talk = node.tunnel(worker, site.authority)
    site.accept().close()
    talk.close()
    assert node.final(talk)["address"] == site.address


def test_an_answer_that_is_cut_short_is_asked_for_over_tcp(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    honest = ground.names.answers[site.host]

    def answer(query: dns.message.Message, asked: Asked) -> list[bytes]:
        if asked.over == "tcp":
            return honest(query, asked)
        wire = bytearray(reply(query))
        wire[2] |= 0x02
        return [bytes(wire)]

    ground.names.answers[site.host] = answer
    node.tunnel(worker, site.authority)
    asked = [a for a in ground.names.asked if a.host == site.host]
    assert sorted(a.over for a in asked) == ["tcp", "tcp", "udp", "udp"]
    assert {a.peer for a in asked} == {LINES["hk1"][1]}


@pytest.mark.parametrize("over", ["closes", "answers something else"])
def test_a_resolver_that_over_tcp(over: str, node: Node, worker: Worker, ground: Ground) -> None:
    def answer(query: dns.message.Message, asked: Asked) -> list[bytes]:
        if asked.over == "tcp":
            return [] if over == "closes" else [_other_id(query, asked)]
        wire = bytearray(reply(query))
        wire[2] |= 0x02
        return [bytes(wire)]

    talk, _ = ask(node, worker, ground, answer)
    assert outcome(node, talk)[0] == "resolve-failed"


def test_a_name_that_does_not_exist_is_not_asked_for_again_at_once(node: Node, worker: Worker, ground: Ground) -> None:
    talk, host = ask(node, worker, ground, lambda q, a: [reply(q, rcode=3)])
    assert outcome(node, talk) == ("resolve-failed", "over line hk1: the name has no address")
    assert outcome(node, node.connect(worker, f"{host}:7000"))[0] == "resolve-failed"
    assert ground.names.count(host) == 2, "one line has answered; no other is asked"


def test_a_resolver_that_cannot_say_gives_way_to_the_next(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    honest = ground.names.answers[site.host]
    ground.names.answers[site.host] = lambda q, a: [reply(q, rcode=2)] if a.resolver == RESOLVERS[0] else honest(q, a)
    node.tunnel(worker, site.authority)
    assert {a.resolver for a in ground.names.asked if a.host == site.host} == set(RESOLVERS)


def test_a_resolver_that_is_silent_gives_way_to_the_next(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    honest = ground.names.answers[site.host]
    ground.names.answers[site.host] = lambda q, a: [] if a.resolver == RESOLVERS[0] else honest(q, a)
    node.tunnel(worker, site.authority)


def test_when_no_resolver_answers_in_time_the_flow_is_refused_and_nothing_is_left(
    node: Node, worker: Worker, ground: Ground
) -> None:
    before = worker.descriptors()
    talk, host = ask(node, worker, ground, lambda q, a: [])
    assert outcome(node, talk) == ("resolve-failed", "no answer of a resolver in time")
    until(lambda: worker.descriptors() <= before + 2, "nothing left but the questions of the two families")
    assert {a.resolver for a in ground.names.asked if a.host == host} == set(RESOLVERS)


def test_a_slow_aaaa_does_not_hold_up_an_a(node: Node, worker: Worker, ground: Ground) -> None:
    site = ground.site("tcp")
    honest = ground.names.answers[site.host]
    ground.names.answers[site.host] = lambda q, a: [] if a.kind == "AAAA" else honest(q, a)
    talk = node.tunnel(worker, site.authority)
    site.accept().close()
    talk.close()
    assert node.final(talk)["duration"] < 1_000_000


# ---- lines and resolvers


def test_a_line_without_resolvers_or_whose_resolvers_fail_gives_way_to_the_next_designated(
    own: Node, ground: Ground
) -> None:
    node, worker = own, own.workers["w0.1"]
    for change in ({"resolvers": ()}, {"source4": "", "source6": "", "resolvers": RESOLVERS}):
        node.put(lines=line("hk1", **change))
        site = ground.site("tcp")
        talk = node.tunnel(worker, site.authority)
        there = site.accept()
        assert there.sock.getpeername()[0] == LINES["sg1"][1]
        talk.close()
        there.close()
        assert node.final(talk)["line"] == "sg1"


def test_what_a_policy_no_longer_covers_is_not_taken_from_memory(own: Node, ground: Ground) -> None:
    node, worker = own, own.workers["w0.1"]
    site = ground.site("tcp")
    node.tunnel(worker, site.authority)
    site.accept()
    node.put(services=service("tcp", special_prefixes=()))
    talk = node.connect(worker, site.authority)
    assert outcome(node, talk)[0] == "address-forbidden"


def test_a_dead_aaaa_is_tried_at_once_and_gives_way_to_an_a_that_comes_later(
    node: Node, worker: Worker, ground: Ground
) -> None:
    site = ground.site("tcp")

    def answer(query: dns.message.Message, asked: Asked) -> list[bytes]:
        if asked.kind == "AAAA":
            return [reply(query, ("", "AAAA", "2001:db8:a::10"))]  # nobody listens there
        return [] if asked.resolver == RESOLVERS[0] else [reply(query, ("", "A", site.address))]

    ground.names.answers[site.host] = answer
    talk = node.tunnel(worker, site.authority)
    site.accept().close()
    talk.close()
    assert node.final(talk)["address"] == site.address
