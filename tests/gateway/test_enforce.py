"""What reaches live flows: policy, kills, cuts, lines, the end of a grant; each cuts what it concerns, nothing else."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.enforce import Enforcer
from gateway.reactor import Reactor
from gateway.slices import SLICE
from telemetry.record import CloseCause
from tests.gateway.kit import Ground, Talk, client_hello, until
from tests.gateway.node import FOREVER, Node, Worker, credential, grant, line, replace, service
from whitelist.model import Deny, Window

pytestmark = pytest.mark.root


class Pair:
    """A tunnel and its far end."""

    def __init__(self, node: Node, ground: Ground, kind: str = "tcp", **more: Any) -> None:
        self.node, self.site = node, ground.site(kind)
        self.talk = node.tunnel(node.workers["w0.1"], self.site.authority, **more)
        self.there = self.site.accept()
        self.alive()

    def alive(self) -> None:
        self.talk.say(b"x")
        assert self.there.exactly(1) == b"x"

    def cut(self, cause: str, within: float = 1.0) -> dict[str, Any]:
        """Cut on both sides, by a reset, in time; the closing record."""
        self.talk.sock.settimeout(within)
        assert self.talk.was_reset()
        assert self.there.was_reset()
        close = self.node.final(self.talk)
        assert close["cause"] == cause
        return close


# ---- policy

ENDING: dict[str, Callable[[Node], dict[str, Any]]] = {
    "the grant is revoked": lambda n: {"grants": "g-acme-tcp"},
    "the grant is for another line": lambda n: {"grants": grant("acme", "tcp", lines=("sg1",))},
    "the grant has ended": lambda n: {"grants": grant("acme", "tcp", window=Window(valid_from=0, valid_until=1))},
    "the credential is revoked": lambda n: {"credentials": credential("acme", revoked=1)},
    "the tenant is suspended": lambda n: {"tenants": replace(n.policy["tenants:acme"], state="SUSPENDED")},
    "the tenant has moved": lambda n: {"tenants": replace(n.policy["tenants:acme"], places=())},
    "the service is retired": lambda n: {"services": service("tcp", retired=True)},
    "the service is on another port": lambda n: {
        "services": service("tcp", endpoints=(replace(n.policy["services:tcp"].endpoints[0], ports=(7001,)),))
    },
    "its address is special no longer": lambda n: {"services": service("tcp", special_prefixes=())},
    "a global deny covers the name": lambda n: {"denies": Deny(id="d1", target="*.tcp.example")},
    "a global deny covers the address": lambda n: {"denies": Deny(id="d1", target="203.0.113.0/24")},
    "the line is retired": lambda n: {"lines": line("hk1", retired=True)},
}


@pytest.mark.parametrize("case", ENDING)
def test_a_tunnel_is_cut_when(case: str, own: Node, ground: Ground) -> None:
    changes = ENDING[case](own)
    concerned = Pair(own, ground)
    own.put(**changes)
    concerned.cut("cut-by-policy")


def test_only_the_flows_that_a_change_concerns_are_cut(own: Node, ground: Ground) -> None:
    acme, tls, birch = (Pair(own, ground), Pair(own, ground, number=1),
                        Pair(own, ground, firm="birch"))  # fmt: skip
    own.put(credentials=credential("acme", revoked=1))
    acme.cut("cut-by-policy")
    tls.alive()
    birch.alive()
    own.put(grants="g-acme-tcp")
    tls.cut("cut-by-policy")
    birch.alive()


def test_a_flow_that_another_grant_covers_goes_on(own: Node, ground: Ground) -> None:
    own.put(grants=grant("acme", "tcp", id="g-second"))
    pair = Pair(own, ground)
    for name in ("g-acme-tcp", "g-second"):
        pair.alive()
        own.put(grants=name)
    pair.cut("cut-by-policy")


def test_a_flow_in_the_making_is_refused_when_its_grant_goes(own: Node, ground: Ground) -> None:
    site = ground.site("tcp")
    ground.names.hold(site.host)
    talk = own.connect(own.workers["w0.1"], site.authority)
    until(lambda: ground.names.waiting(site.host) == 2, "both questions")
    own.put(grants="g-acme-tcp")
    ground.names.release(site.host)
    assert talk.head().startswith("HTTP/1.1 403 ")
    assert own.final(talk)["reason"] == "not-whitelisted"
    assert site.quiet()


def test_a_tls_tunnel_that_waits_for_its_hello_is_cut_too(own: Node, ground: Ground) -> None:
    site = ground.site("tls")
    talk = own.tunnel(own.workers["w0.1"], site.authority).say(client_hello(site.host)[:50])
    there = site.accept()
    own.put(grants="g-acme-tls")
    talk.rest()
    there.sock.settimeout(1)
    assert there.was_reset() or not there.ahead
    assert own.final(talk)["cause"] == "cut-by-policy"


# ---- time


def second() -> int:
    """The number of a second that has just begun."""
    until(lambda: time.time() % 1 < 0.2, "the start of a second")
    return int(time.time())


EXPIRING: dict[str, Callable[[Node, int], dict[str, Any]]] = {
    "grant": lambda n, end: {"grants": grant("acme", "tcp", window=Window(valid_from=0, valid_until=end))},
    "credential": lambda n, end: {"credentials": credential("acme", valid_until=end)},
    "tenant's term": lambda n, end: {"tenants": replace(n.policy["tenants:acme"], valid_until=end)},
    "line's contract": lambda n, end: {"lines": line("hk1", valid_until=end)},
}


@pytest.mark.parametrize("case", EXPIRING)
def test_tunnels_end_at_the_second_of_their(case: str, own: Node, ground: Ground) -> None:
    before = Pair(own, ground)
    end = second() + 1
    own.put(**EXPIRING[case](own, end))
    after = Pair(own, ground)
    for pair in (before, after):
        close = pair.cut("expired", 3)
        assert 0 <= close["time"] / 1e6 - end < 0.5


def test_what_has_expired_is_refused_afterwards(own: Node, ground: Ground) -> None:
    end = second() + 1
    own.put(grants=grant("acme", "tcp", window=Window(valid_from=0, valid_until=end)))
    own.put(credentials=credential("acme", 1, valid_until=end))
    pair = Pair(own, ground)
    pair.cut("expired", 3)
    site = ground.site("tcp")
    worker = own.workers["w0.1"]
    for number, reason in ((0, "grant-expired"), (1, "identity-revoked")):
        talk = own.connect(worker, site.authority, number=number)
        talk.head()
        assert own.final(talk)["reason"] == reason


def test_a_grant_that_is_extended_lets_its_tunnel_live_on(own: Node, ground: Ground) -> None:
    end = second() + 1
    own.put(grants=grant("acme", "tcp", window=Window(valid_from=0, valid_until=end)))
    pair = Pair(own, ground)
    own.put(grants=grant("acme", "tcp", window=Window(valid_from=0, valid_until=FOREVER)))
    until(lambda: time.time() > end + 1.2, "the second after")
    pair.alive()


# ---- orders

KILLS: dict[str, tuple[str, Callable[[Pair], str]]] = {
    "all": ("all", lambda p: ""),
    "its firm": ("tenant", lambda p: "acme"),
    "its service": ("service", lambda p: "tcp"),
    "its line": ("line", lambda p: "hk1"),
    "its name": ("destination", lambda p: p.site.host),
    "a name above its name, in capitals": ("destination", lambda p: "*.TCP.Example."),
    "its address": ("destination", lambda p: p.site.address),
}


@pytest.mark.parametrize("case", KILLS)
def test_a_kill_of(case: str, own: Node, ground: Ground) -> None:
    scope, value = KILLS[case]
    pair = Pair(own, ground)
    own.hub.say(kind="kill", id="k1", scope=scope, value=value(pair))
    assert pair.cut("cut-by-kill")["rule"] == "k1"
    worker = own.workers["w0.1"]
    talk = own.connect(worker, pair.site.authority)
    head = talk.head()
    if scope == "line":  # another designated line takes its place
        assert head.startswith("HTTP/1.1 200 ")
        assert pair.site.accept().sock.getpeername()[0] == "198.51.101.2"
        own.hub.say(kind="kill", id="k2", scope="line", value="sg1")
        own.final(talk)
        talk = own.connect(worker, pair.site.authority)
        talk.head()
    record = own.final(talk)
    assert (record["reason"], record["status"]) == ("kill-switch", 403)
    for name in ("k1", "k2"):
        own.hub.say(kind="unkill", id=name)
    own.tunnel(worker, pair.site.authority)


def test_a_kill_of_something_else_cuts_nothing(own: Node, ground: Ground) -> None:
    pair = Pair(own, ground)
    for scope, value in (("tenant", "birch"), ("service", "tls"), ("line", "sg1"), ("destination", "example.tcp"),
                         ("destination", "cp.example"), ("destination", ""), ("tenant", "")):  # fmt: skip
        own.hub.say(kind="kill", id=f"k-{scope}-{value}", scope=scope, value=value)
    pair.alive()
    own.tunnel(own.workers["w0.1"], pair.site.authority)


@pytest.mark.parametrize("scope", ["tenant", "user", "line", "destination"])
def test_a_block_by_a_rule_cuts_and_refuses_as_the_regulators(scope: str, own: Node, ground: Ground) -> None:
    own.put(grants=grant("acme", "tcp", lines=("hk1",)))
    own.put(credentials=credential("acme", user="u-7"))
    pair = Pair(own, ground)
    value = {"tenant": "acme", "user": "acme/u-7", "line": "hk1", "destination": pair.site.host}[scope]
    own.hub.say(kind="kill", id="r-1", scope=scope, value=value, rule="rule-7")
    assert pair.cut("cut-by-rule")["rule"] == "rule-7"
    talk = own.connect(own.workers["w0.1"], pair.site.authority)
    assert talk.head().startswith("HTTP/1.1 451 ")
    record = own.final(talk)
    assert (record["reason"], record["status"], record["rule"]) == ("regulator-rule", 451, "rule-7")
    own.hub.say(kind="unkill", id="r-1")
    own.tunnel(own.workers["w0.1"], pair.site.authority)


def test_a_cut_by_a_rule_names_it(own: Node, ground: Ground) -> None:
    pair = Pair(own, ground)
    own.hub.say(kind="cut", flow=own.of(pair.talk)[0]["flow"], cause="cut-by-rule", rule="rule-7")
    assert pair.cut("cut-by-rule")["rule"] == "rule-7"


def test_a_kill_holds_until_its_second(own: Node, ground: Ground) -> None:
    pair = Pair(own, ground)
    end = second() + 1
    own.hub.say(kind="kill", id="k1", scope="all", until=end)
    pair.cut("cut-by-kill")
    until(lambda: time.time() > end, "its end")
    Pair(own, ground)


@pytest.mark.parametrize("scope", ["line", "destination"])
def test_a_kill_while_the_name_is_being_resolved(scope: str, own: Node, ground: Ground) -> None:
    own.put(grants=grant("acme", "tcp", lines=("hk1",)))
    site = ground.site("tcp")
    ground.names.hold(site.host)
    talk = own.connect(own.workers["w0.1"], site.authority)
    until(lambda: ground.names.waiting(site.host) == 2, "both questions")
    own.hub.say(kind="kill", id="k1", scope=scope, value="hk1" if scope == "line" else site.address)
    ground.names.release(site.host)
    assert talk.head().startswith("HTTP/1.1 403 ")
    record = own.final(talk)
    assert (record["reason"], record["rule"]) == ("kill-switch", "k1")
    assert site.quiet()


def test_one_flow_is_cut_and_its_neighbour_is_not(own: Node, ground: Ground) -> None:
    first, second_pair = Pair(own, ground), Pair(own, ground)
    flow = own.of(first.talk)[0]["flow"]
    own.hub.say(kind="cut", flow=flow, cause="cut-by-rule")
    first.cut("cut-by-rule")
    second_pair.alive()
    own.hub.say(kind="cut", flow=own.of(second_pair.talk)[0]["flow"], cause="no-such-cause")
    second_pair.cut("cut-by-operator")
    own.hub.say(kind="cut", flow="0" * 16, cause="cut-by-rule")


# ---- lines


def test_a_line_that_goes_down_takes_its_flows_with_it(own: Node, ground: Ground) -> None:
    pair = Pair(own, ground)
    own.hub.say(kind="line", line="hk1", state="down")
    assert pair.cut("line-down")["line"] == "hk1"
    talk = own.tunnel(own.workers["w0.1"], pair.site.authority)
    there = pair.site.accept()
    assert there.sock.getpeername()[0] == "198.51.101.2"
    own.hub.say(kind="line", line="sg1", state="down")
    own.final(talk)
    refused = own.connect(own.workers["w0.1"], pair.site.authority)
    assert refused.head().startswith("HTTP/1.1 503 ")
    assert own.final(refused)["reason"] == "line-unavailable"
    own.hub.say(kind="line", line="hk1", state="up")
    Pair(own, ground)


def test_a_draining_line_keeps_its_flows_and_takes_no_more(own: Node, ground: Ground) -> None:
    pair = Pair(own, ground)
    own.hub.say(kind="line", line="hk1", state="draining")
    pair.alive()
    own.tunnel(own.workers["w0.1"], pair.site.authority)
    assert pair.site.accept().sock.getpeername()[0] == "198.51.101.2"


# ---- slices


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


def test_slices_follow_a_connection_from_stage_to_stage_and_spare_what_it_was(reactor: Reactor) -> None:
    """A session that becomes a tunnel between two slices: the tunnel is asked, and the session is not ended, since it
    no longer owns the descriptors."""
    ended: list[str] = []

    class Stage:
        def __init__(self, name: str) -> None:
            self.name = name
            self.flow = SimpleNamespace(permit=object(), record=SimpleNamespace(flow=name))

        def end(self, cause: CloseCause) -> None:
            ended.append(self.name)

    live: dict[int, Stage] = {fd: Stage(f"first-{fd}") for fd in range(4)}
    ctx = SimpleNamespace(live=live, reactor=reactor, report=pytest.fail)

    def question(stage: Stage, _: object) -> CloseCause:
        time.sleep(SLICE)
        return CloseCause.CUT_BY_POLICY

    Enforcer(ctx).every(question)  # type: ignore[arg-type]
    assert ended == ["first-0"]
    live[1] = Stage("second-1")
    del live[2]
    live[9] = Stage("new-9")
    for _ in range(8):
        reactor.turn(0.0)
    assert ended == ["first-0", "second-1", "first-3"]


def test_a_change_that_concerns_all_reaches_each_of_many_tunnels(own: Node, ground: Ground) -> None:
    worker: Worker = own.workers["w0.1"]
    site = ground.site("tcp", backlog=512)
    talks: list[Talk] = []
    for _ in range(300):
        talks.append(own.tunnel(worker, site.authority))
        site.accept()

    def closed() -> int:
        return sum(r["kind"] == "close" for r in own.records())

    before, started = closed(), time.monotonic()
    own.put(services=service("tcp", special_prefixes=()))
    until(lambda: closed() == before + 300, "300 closing records", 3)
    assert time.monotonic() - started < 2
    assert {r["cause"] for talk in talks for r in own.of(talk) if r["kind"] == "close"} == {"cut-by-policy"}
