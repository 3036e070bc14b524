"""An explanation shows the verdict's own candidates, and what it says must change does change the verdict."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenants.model import TenantState
from tests.whitelist.policies import NOW, WINDOW, ask, endpoint, grant, published, service, tenant
from whitelist.decide import Access, Permit
from whitelist.explain import Explanation, explain
from whitelist.model import DataGrade, Deny, GrantState, Protocol
from whitelist.snapshot import Snapshot
from whitelist.target import parse_host
from whitelist.tls_terms import Ech, Nameless


def explained(
    snapshot: Snapshot, host: str = "docs.example.com", port: int = 443, *, source: str = "10.0.0.9"
) -> Explanation:
    """The explanation of a question by firm-a."""
    entry = snapshot.tenant("firm-a")
    assert entry is not None
    return explain(snapshot, entry, source, "acc0", parse_host(host, port), Access.TUNNEL, NOW)


DOCS = service("docs", "docs.example.com")
HOW = (
    "service docs gets an endpoint for this way of asking (the endpoint speaks http; ask it in plain requests of an"
    " HTTP proxy (http://), not through CONNECT or SOCKS)"
)
OVER = msgspec.structs.replace(WINDOW, valid_until=NOW)
CLOSED = msgspec.structs.replace(WINDOW, weekdays=(0,))


@pytest.mark.parametrize(
    ("items", "question", "changes"),
    [
        pytest.param((tenant(), DOCS, grant()), {}, [], id="a permit needs no change"),
        pytest.param(
            (tenant(),),
            {},
            ["a service with an endpoint for docs.example.com is added, and granted to firm-a"],
            id="no service",
        ),
        pytest.param((tenant(), DOCS), {}, ["service docs is granted to firm-a"], id="no grant"),
        pytest.param((tenant(), DOCS, grant()), {"port": 80}, ["service docs gets port 80"], id="another port"),
        pytest.param(
            (tenant(), service("docs", endpoint("docs.example.com", protocol=Protocol.HTTP)), grant()),
            {},
            [HOW],
            id="another protocol",
        ),
        pytest.param((tenant(), DOCS, grant(window=OVER)), {}, ["grant g-1 is renewed"], id="an end"),
        pytest.param(
            (tenant(), DOCS, grant(window=CLOSED)),
            {},
            ["the request comes in the hours of grant g-1, or they are extended"],
            id="hours",
        ),
        pytest.param(
            (tenant(), DOCS, grant(lines=("home",))), {}, ["grant g-1 gets a line that leads abroad"], id="a line"
        ),
        pytest.param(
            (tenant(), DOCS, grant(data_grade=DataGrade.CORE)),
            {},
            ["grant g-1 is for data that may leave"],
            id="core data",
        ),
        pytest.param(
            (tenant(), DOCS, grant(state=GrantState.SUSPENDED)),
            {},
            ["grant g-1, now suspended, is resumed"],
            id="a suspension",
        ),
        pytest.param(
            (tenant(), DOCS, grant(), Deny(id="d-1", target="*.example.com")),
            {},
            ["the global deny d-1 (*.example.com) is removed"],
            id="a deny",
        ),
        pytest.param(
            (tenant(state=TenantState.SUSPENDED), DOCS, grant()),
            {},
            ["tenant firm-a is resumed"],
            id="a suspended tenant",
        ),
        pytest.param(
            (tenant(valid_until=NOW), DOCS, grant()),
            {},
            ["tenant firm-a is in force at the time"],
            id="an expired tenant",
        ),
        pytest.param(
            (tenant(), DOCS, grant()),
            {"source": "10.9.9.9"},
            ["the request comes from one of the tenant's places", "the source is added to the tenant's places"],
            id="a source",
        ),
        pytest.param(
            (tenant(), DOCS, grant("g-1", window=OVER), grant("g-2", window=CLOSED)),
            {},
            ["the request comes in the hours of grant g-2, or they are extended"],
            id="only the closest counts",
        ),
    ],
)
def test_what_would_have_to_change(
    tmp_path: Path, items: tuple[Any, ...], question: dict[str, Any], changes: list[str]
) -> None:
    with published(tmp_path, *items) as snapshot:
        found = explained(snapshot, **question)
        assert found.verdict == ask(snapshot, **question)
        assert [words.en for words in found.would_have_to_change] == changes
        assert all(words.zh for words in found.would_have_to_change)


def test_every_candidate_is_shown_with_its_way_and_its_fault(tmp_path: Path) -> None:
    items = (
        tenant(groups=("x",)),
        service("docs", "docs.example.com", categories=("c",)),
        service("other", "*.example.com"),
        grant("g-own", window=OVER),
        grant("g-all", subject="group:x", thing="category:c"),
    )
    with published(tmp_path, *items) as snapshot:
        found = explained(snapshot)
        assert isinstance(found.verdict, Permit)
        assert [(c.service, c.grant, c.via, c.reason) for c in found.candidates] == [
            ("docs", "g-own", "tenant:firm-a → service:docs", "grant-expired"),
            ("docs", "g-all", "group:x → category:c", ""),
            ("other", "", "", "not-whitelisted"),
        ]
        assert found.candidates[1].lines == ("hk1",)


ECH, NAMELESS = "another name hidden by ECH cannot be excluded", "a tunnel without a server name passes"
BY_ADDRESS = service("docs", "203.0.113.0/28")


@pytest.mark.parametrize(
    ("items", "host", "expected"),
    [
        pytest.param((DOCS, grant()), "docs.example.com", [ECH], id="the usual terms"),
        pytest.param((DOCS, grant(ech=Ech.REFUSE)), "docs.example.com", [], id="ECH refused"),
        pytest.param((DOCS, grant(no_sni=Nameless.ALLOW)), "docs.example.com", [ECH, NAMELESS], id="no name asked for"),
        pytest.param((BY_ADDRESS, grant()), "203.0.113.7", [ECH, NAMELESS], id="by address"),
        pytest.param(
            (BY_ADDRESS, grant(no_sni=Nameless.REFUSE, ech=Ech.REFUSE)), "203.0.113.7", [], id="by address, strictly"
        ),
        pytest.param((DOCS,), "docs.example.com", [], id="a refusal leaves nothing open"),
        pytest.param(
            (service("docs", endpoint("docs.example.com", protocol=Protocol.TCP)), grant()),
            "docs.example.com",
            [],
            id="no TLS, no hello",
        ),
    ],
)
def test_what_a_permit_leaves_open(tmp_path: Path, items: tuple[Any, ...], host: str, expected: list[str]) -> None:
    with published(tmp_path, tenant(), *items) as snapshot:
        found = explained(snapshot, host).left_open
    assert [words.en.partition(":")[0].split(" under ")[0] for words in found] == expected
    assert all(words.zh for words in found)
