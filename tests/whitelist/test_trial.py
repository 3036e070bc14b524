"""A trial is the policy that would be published, key for key; and what changes mean for those who ask."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ops.api.policy_wishes import cut
from tenants.change import Changed
from tests.whitelist.policies import (
    DAY,
    KEY,
    LINES,
    NOW,
    WINDOW,
    GrantState,
    added,
    edited,
    endpoint,
    grant,
    policy,
    published,
    removed,
    service,
    tenant,
)
from whitelist.effect import effects
from whitelist.model import Deny, Protocol
from whitelist.publisher import Publisher
from whitelist.trial import Trial

DOCS, G1, FIRM = service("docs", "docs.example.com"), grant("g-1"), tenant()
DENY = Deny(id="d-1", target="*.bad.example")
NET = service("net", endpoint("203.0.113.0/28", 22, protocol=Protocol.TCP))
CHANGES = [
    pytest.param([added(NET), added(Deny(id="d-2", target="2001:db8::/48"))], id="prefixes of new lengths"),
    pytest.param([edited(G1, state=GrantState.REVOKED), removed(DENY)], id="what is gone"),
    pytest.param([edited(LINES[0], retired=True)], id="a line that is out of use"),
    pytest.param([edited(FIRM, groups=("lab",)), added(grant("g-2", "group:lab"))], id="a group"),
    pytest.param([added(service("other", "docs.example.com"))], id="a second service at the same host"),
]


@pytest.mark.parametrize("changes", CHANGES)
def test_a_trial_is_what_would_be_published(tmp_path: Path, changes: list[Changed]) -> None:
    with Publisher(tmp_path, KEY) as publisher:
        publisher.publish_all(policy(FIRM, DOCS, G1, DENY), 1)
        assert publisher.snapshot is not None
        trial = Trial.over(publisher.snapshot, changes)
        before = dict(publisher.snapshot.items())
        after = {key: trial.get(key) for key in before}
        abroad, lengths = trial.abroad, trial.prefix_lengths
        publisher.publish(changes, 2)
        snapshot = publisher.snapshot
        assert {key: snapshot.get(key) for key in before} == after
        assert all(trial.get(key) == value for key, value in snapshot.items())
        assert (abroad, lengths) == (snapshot.abroad, snapshot.prefix_lengths)


def test_live_tunnels_that_a_policy_would_end_are_counted_by_firm(tmp_path: Path) -> None:
    flow = {"tenant": "firm-a", "host": "docs.example.com", "port": 443, "client_ip": "10.0.0.9", "interface": "acc0"}
    flows: list[dict[str, Any]] = [flow, {**flow, "host": "203.0.113.1", "port": 22}, {**flow, "tenant": "gone"}]
    with published(tmp_path, FIRM, DOCS, NET, G1, grant("g-2", thing="service:net")) as snapshot:
        assert cut(Trial.over(snapshot, []), flows, NOW) == {"open": 3, "cut": 1, "tenants": {"gone": 1}}
        trial = Trial.over(snapshot, [edited(G1, state=GrantState.SUSPENDED)])
        assert cut(trial, flows[:2], NOW) == {"open": 2, "cut": 1, "tenants": {"firm-a": 1}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(added(G1), ["gains tenant:firm-a service:docs"], id="a new grant"),
        pytest.param(edited(G1, state=GrantState.REVOKED), ["loses tenant:firm-a service:docs"], id="a revoked one"),
        pytest.param(
            edited(G1, state=GrantState.SUSPENDED), ["loses tenant:firm-a service:docs"], id="a suspended one"
        ),
        pytest.param(
            edited(G1, window=replace(WINDOW, valid_until=NOW + 90 * DAY)),
            ["gains tenant:firm-a service:docs"],
            id="a longer term",
        ),
        pytest.param(
            edited(G1, window=replace(WINDOW, valid_from=NOW, valid_until=NOW + 90 * DAY)),
            ["loses tenant:firm-a service:docs", "gains tenant:firm-a service:docs"],
            id="a term that moves does both",
        ),
        pytest.param(edited(G1, window=replace(WINDOW, weekdays=(0,))), ["changes tenant:firm-a hours"], id="hours"),
        pytest.param(edited(G1, lines=("sg1",)), ["changes tenant:firm-a lines"], id="lines"),
        pytest.param(edited(G1, purpose="trade"), ["changes tenant:firm-a purpose"], id="a purpose"),
        pytest.param(
            edited(DOCS, endpoints=(endpoint("a.example", 443, 8443),)),
            [
                "loses service:docs tls://docs.example.com:443",
                "gains service:docs tls://a.example:443",
                "gains service:docs tls://a.example:8443",
            ],
            id="endpoints",
        ),
        pytest.param(
            edited(DOCS, retired=True), ["loses service:docs tls://docs.example.com:443"], id="a retired service"
        ),
        pytest.param(edited(DOCS, categories=("news",)), ["gains service:docs category:news"], id="a category"),
        pytest.param(edited(DOCS, name="D"), [], id="a name is nothing to anybody"),
        pytest.param(added(DENY), ["loses all *.bad.example"], id="a deny takes from all"),
        pytest.param(removed(DENY), ["gains all *.bad.example"], id="and gives back"),
        pytest.param(edited(FIRM, groups=("lab",)), ["gains tenant:firm-a group:lab"], id="a group joined"),
        pytest.param(edited(FIRM, places=()), ["loses tenant:firm-a 10.0.0.0/24 on acc0"], id="a place left"),
        pytest.param(edited(FIRM, max_tunnels=5), ["changes tenant:firm-a max_tunnels"], id="a limit"),
    ],
)
def test_an_effect_has_a_direction(change: Changed, expected: list[str]) -> None:
    assert [f"{effect.way} {effect.who} {effect.what}" for effect in effects([change])] == expected
