"""A firm's bytes and new tunnels: refused when used up, ended when live, with the time at which it is free again."""

import datetime
import itertools
import json
import time
from typing import Any

import pytest

from gateway.usage import day_end, day_of, read
from tenants.model import TenantState
from tests.gateway.kit import Ground, Talk, until
from tests.gateway.node import Node, authorization, replace

pytestmark = pytest.mark.root
_SLOTS = itertools.count(10)


def limit(node: Node, **limits: int) -> None:
    """Other limits for the first firm, with a slot that has no bytes yet."""
    node.put(tenants=replace(node.policy["tenants:acme"], slot=next(_SLOTS), **limits))


def used(node: Node) -> int:
    return read(node.state / "usage" / "bytes", node.policy["tenants:acme"].slot, "acme", time.time()).day


def refusal(talk: Talk) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Status line, fields and problem details of an answer."""
    status, *lines = talk.head().splitlines()
    fields = dict(line.split(": ", 1) for line in lines if line)
    return status, fields, json.loads(talk.exactly(int(fields["Content-Length"])))


def get(ground: Ground, node: Node, host: str) -> Talk:
    request = f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: {authorization('acme')}\r\n\r\n"
    return ground.dial(node.workers["w0.1"].port).say(request)


@pytest.mark.parametrize("quota", ["bytes_per_day", "bytes_per_month"])
def test_a_used_up_quota_ends_live_flows_and_refuses_new_ones(quota: str, own: Node, ground: Ground) -> None:
    limit(own, **{quota: 5_000})
    site = ground.site("tcp")
    worker = own.workers["w0.1"]
    idle = own.tunnel(worker, site.authority)
    site.accept()
    busy = own.tunnel(worker, site.authority)
    there = site.accept()
    busy.say(b"x" * 3_000)
    there.exactly(3_000)
    there.say(b"y" * 3_000)
    busy.exactly(3_000)
    assert idle.was_reset()  # at the next look, within 5 s
    assert own.final(idle)["cause"] == "quota-exhausted"
    assert own.final(busy)["cause"] == "quota-exhausted"
    for talk in (own.connect(worker, site.authority), get(ground, own, ground.site("http").host)):
        status, fields, problem = refusal(talk)
        assert status.startswith("HTTP/1.1 429 Quota exhausted ")
        assert int(fields["Retry-After"]) == problem["retry_after"]
        final = own.final(talk)
        free = datetime.datetime.fromisoformat(final["detail"].rpartition(" ")[2])
        assert abs(free.timestamp() - time.time() - problem["retry_after"]) < 5
        assert final["detail"] == problem["cause"]
        assert final["reason"] == "quota-exhausted"
        if quota == "bytes_per_day":
            assert free.timestamp() == day_end(day_of(time.time()))
    assert used(own) == 6_000
    limit(own, **{quota: 0})
    own.tunnel(worker, site.authority)


def test_plain_exchanges_count_and_a_used_up_quota_refuses_the_next(own: Node, ground: Ground) -> None:
    limit(own, bytes_per_day=100)
    site = ground.site("http")
    talk = get(ground, own, site.host)
    there = site.accept()
    asked = len(there.head()) + 2
    answer = "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + "z" * 200
    there.say(answer)
    talk.head()
    talk.exactly(200)
    until(lambda: used(own) > 0, "the exchange is counted")
    assert used(own) == asked + len(answer)
    assert refusal(get(ground, own, site.host))[0].startswith("HTTP/1.1 429 Quota exhausted ")


def exhaust(node: Node, ground: Ground, count: int) -> None:
    """The first firm moves so many bytes."""
    site = ground.site("tcp")
    talk = node.tunnel(node.workers["w0.1"], site.authority)
    there = site.accept()
    talk.say(b"x" * count)
    there.exactly(count)
    talk.close()
    node.final(talk)


def test_a_firm_that_comes_back_finds_its_bytes_and_another_in_its_slot_does_not(own: Node, ground: Ground) -> None:
    limit(own, bytes_per_month=1_000)
    exhaust(own, ground, 1_000)
    acme, birch = own.policy["tenants:acme"], own.policy["tenants:birch"]
    worker, site = own.workers["w0.1"], ground.site("tcp")

    def answer(firm: str) -> str:
        return own.connect(worker, site.authority, firm).head().partition(" (")[0]

    own.put(tenants=replace(acme, state=TenantState.SUSPENDED))
    assert answer("acme") == "HTTP/1.1 403 Tenant suspended"
    own.put(tenants=acme)
    assert answer("acme") == "HTTP/1.1 429 Quota exhausted"
    own.put(tenants=["acme", replace(birch, slot=acme.slot, bytes_per_month=1_000)])
    assert answer("birch").startswith("HTTP/1.1 200 ")
    assert answer("acme") == "HTTP/1.1 407 Identity unknown"
    own.put(tenants=[acme, birch])
    assert answer("acme") == "HTTP/1.1 429 Quota exhausted", "birch has moved nothing there"


def test_bytes_outlive_a_killed_worker(another: Any, ground: Ground) -> None:
    node: Node = another()
    node.worker()
    limit(node, bytes_per_day=1_000)
    site = ground.site("tcp")
    exhaust(node, ground, 1_000)
    node.workers["w0.1"].kill()
    status, _, _ = refusal(node.connect(node.worker("w0.2"), site.authority))
    assert status.startswith("HTTP/1.1 429 Quota exhausted ")


def test_new_tunnels_beyond_the_rate_are_refused_until_one_is_free(own: Node, ground: Ground) -> None:
    limit(own, tunnels_per_second=3)
    site = ground.site("tcp")
    talks = [own.connect(own.workers["w0.1"], site.authority) for _ in range(12)]
    answers = [talk.head() for talk in talks]
    refused = [n for n, head in enumerate(answers) if head.startswith("HTTP/1.1 429 Rate limited ")]
    assert refused, answers
    assert all("Retry-After: 1\r\n" in answers[n] for n in refused)
    assert own.final(talks[refused[0]])["detail"].startswith("more than 3 new tunnels in a second; free again at ")
    assert len(talks) - len(refused) >= 3
    until(lambda: own.connect(own.workers["w0.1"], site.authority).head().startswith("HTTP/1.1 200 "), "free again")


def test_a_throttle_by_a_rule_limits_new_tunnels_and_names_it(own: Node, ground: Ground) -> None:
    limit(own, tunnels_per_second=0)
    site = ground.site("tcp")
    open_before = own.tunnel(own.workers["w0.1"], site.authority)
    own.hub.say(kind="kill", id="r-1", scope="tenant", value="acme", rule="rule-7", rate=2)
    talks = [own.connect(own.workers["w0.1"], site.authority) for _ in range(12)]
    answers = [talk.head() for talk in talks]
    refused = [n for n, head in enumerate(answers) if head.startswith("HTTP/1.1 429 Rate limited ")]
    assert len(talks) - len(refused) >= 2, answers
    record = own.final(talks[refused[0]])
    assert (record["reason"], record["rule"]) == ("rate-limited", "rule-7")
    open_before.say(b"x")
    site.accept().exactly(1)
    own.hub.say(kind="unkill", id="r-1")
    assert [own.connect(own.workers["w0.1"], site.authority).head()[:12] for _ in range(5)] == ["HTTP/1.1 200"] * 5
