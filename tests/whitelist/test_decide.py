"""The verdict, sentence by sentence, on a published snapshot: which grant permits, or which one reason refuses."""

from pathlib import Path
from typing import Any

import pytest

from tenants.model import Place, Side, TenantState
from tests.whitelist.policies import DAY, NOW, WINDOW, ask, endpoint, grant, published, service, short, tenant
from whitelist.decide import Access, Denial, Permit, denied_address, open_until
from whitelist.entries import Schedule
from whitelist.model import DataGrade, Deny, GrantState, Line, Protocol, Window
from whitelist.reason import Reason
from whitelist.tls_terms import Application, Ech, Nameless, TlsTerms

DOCS = service(
    "docs",
    "docs.example.com",
    endpoint("plain.example.com", 80, protocol=Protocol.HTTP),
    endpoint("db.example.com", 5432, protocol=Protocol.TCP),
)
TREE = service("tree", "*.tree.example.com")
NET = service("net", "203.0.113.0/28", "2001:db8:5::/48")
ALL = (tenant(), DOCS, TREE, NET, grant(), grant("g-tree", thing="service:tree"), grant("g-net", thing="service:net"))


def window(**fields: Any) -> Window:
    """A window about NOW."""
    return Window(**{"valid_from": NOW - DAY, "valid_until": NOW + DAY, **fields})


def case(sentence: str, expected: str, *items: Any, **question: Any) -> Any:
    """A row of the table."""
    return pytest.param(items or ALL, question, expected, id=sentence)


@pytest.mark.parametrize(
    ("items", "question", "expected"),
    [
        case("what is granted is permitted", "g-1"),
        case("what no service has is not whitelisted", "not-whitelisted", host="else.example.com"),
        case("nothing is permitted by an empty policy", "not-whitelisted", tenant()),
        case("a name below an exact host is another host", "not-whitelisted", host="a.docs.example.com"),
        case("a name above an exact host is another host", "not-whitelisted", host="example.com"),
        case("a name that ends alike is another host", "not-whitelisted", host="xdocs.example.com"),
        case("a suffix covers one level below", "g-tree", host="a.tree.example.com"),
        case("a suffix covers any depth below", "g-tree", host="a.b.c.d.tree.example.com"),
        case("a suffix never covers its apex", "not-whitelisted", host="tree.example.com"),
        case("a suffix covers no name that merely ends in it", "not-whitelisted", host="atree.example.com"),
        case("a prefix covers its first address", "g-net", host="203.0.113.0"),
        case("a prefix covers its last address", "g-net", host="203.0.113.15"),
        case("a prefix ends where it ends", "not-whitelisted", host="203.0.113.16"),
        case("an IPv6 prefix covers its addresses", "g-net", host="2001:db8:5:ffff::1"),
        case("an IPv6 prefix ends where it ends", "not-whitelisted", host="2001:db8:6::1"),
        case("another tenant's grant is no grant", "not-whitelisted", tenant("firm-b"), *ALL[1:], name="firm-b"),
        case("a service without a grant is not whitelisted", "not-whitelisted", tenant(), DOCS),
        # Ways of asking.
        case("another port is not allowed", "port-not-allowed", port=8443),
        case("plain HTTP to a TLS endpoint is not allowed", "protocol-not-allowed", access=Access.HTTP),
        case(
            "plain HTTP to an HTTP endpoint is permitted", "g-1", host="plain.example.com", port=80, access=Access.HTTP
        ),
        case("a tunnel to an HTTP endpoint is not allowed", "protocol-not-allowed", host="plain.example.com", port=80),
        case("a tunnel to a TCP endpoint is permitted", "g-1", host="db.example.com", port=5432),
        case(
            "two endpoints for one host add up",
            "g-1",
            tenant(),
            grant(),
            service("docs", "docs.example.com", endpoint("docs.example.com", 80, protocol=Protocol.HTTP)),
            port=80,
            access=Access.HTTP,
        ),
        # The tenant.
        case("a suspended tenant is told so", "tenant-suspended", tenant(state=TenantState.SUSPENDED), *ALL[1:]),
        case("a tenant whose renewal is due goes on", "g-1", tenant(state=TenantState.RENEWAL_DUE), *ALL[1:]),
        case("a revoked tenant has no term", "tenant-expired", tenant(state=TenantState.REVOKED), *ALL[1:]),
        case(
            "an approved tenant that is not active yet has no term",
            "tenant-expired",
            tenant(state=TenantState.APPROVED),
            *ALL[1:],
        ),
        case("a tenant's term ends at its second", "tenant-expired", tenant(valid_until=NOW), *ALL[1:]),
        case("a tenant's term lasts to the second before", "g-1", tenant(valid_until=NOW + 1), *ALL[1:]),
        case("a tenant's term begins at its second", "g-1", tenant(valid_from=NOW), *ALL[1:]),
        case("before its term a tenant is not in force", "tenant-expired", tenant(valid_from=NOW + 1), *ALL[1:]),
        case(
            "suspended and expired is suspended",
            "tenant-suspended",
            tenant(state=TenantState.SUSPENDED, valid_until=NOW),
            *ALL[1:],
        ),
        case(
            "suspended and from elsewhere is suspended",
            "tenant-suspended",
            tenant(state=TenantState.SUSPENDED),
            *ALL[1:],
            source="10.9.9.9",
        ),
        # The place.
        case("another address is not the tenant's", "source-not-allowed", source="10.0.1.0"),
        case("the last address of the prefix is", "g-1", source="10.0.0.255"),
        case("another interface is not the tenant's", "source-not-allowed", interface="acc1"),
        case("an interface the kernel does not tell is not the tenant's", "source-not-allowed", interface=""),
        case("an interface nobody asks about does not count", "g-1", interface=None),
        case("an IPv4 address in IPv6 is another address", "source-not-allowed", source="::ffff:10.0.0.9"),
        case("an unreadable address is not the tenant's", "source-not-allowed", source="10.0.0"),
        case("a tenant without places comes from nowhere", "source-not-allowed", tenant(places=()), *ALL[1:]),
        case(
            "a domestic place cannot go abroad",
            "direction-not-allowed",
            tenant(places=(Place(site="s", room="r", interface="acc0", prefix="10.0.0.0/24", side=Side.DOMESTIC),)),
            *ALL[1:],
        ),
        case(
            "an IPv6 place is a place",
            "g-1",
            tenant(places=(Place(site="s", room="r", interface="acc0", prefix="fd00:1::/64"),)),
            *ALL[1:],
            source="fd00:1::9",
        ),
        # Denies.
        case("a global deny beats the grant", "not-whitelisted", *ALL, Deny(id="d-1", target="docs.example.com")),
        case(
            "a deny of the suffix beats the grant of the host",
            "not-whitelisted",
            *ALL,
            Deny(id="d-1", target="*.example.com"),
        ),
        case("a deny of a public suffix holds", "not-whitelisted", *ALL, Deny(id="d-1", target="*.com")),
        case(
            "a deny of the apex leaves what is below",
            "g-tree",
            *ALL,
            Deny(id="d-1", target="tree.example.com"),
            host="a.tree.example.com",
        ),
        case("a deny of a suffix leaves the apex", "g-1", *ALL, Deny(id="d-1", target="*.docs.example.com")),
        case(
            "a deny of the prefix beats the grant of the address",
            "not-whitelisted",
            *ALL,
            Deny(id="d-1", target="203.0.0.0/16"),
            host="203.0.113.7",
        ),
        case(
            "a deny of other ports leaves this one", "g-1", *ALL, Deny(id="d-1", target="docs.example.com", ports=(80,))
        ),
        case(
            "a deny of this port among others beats the grant",
            "not-whitelisted",
            *ALL,
            Deny(id="d-1", target="docs.example.com", ports=(80, 443)),
        ),
        # Grants.
        case("a suspended grant is none", "not-whitelisted", tenant(), DOCS, grant(state=GrantState.SUSPENDED)),
        case("a revoked grant is none", "not-whitelisted", tenant(), DOCS, grant(state=GrantState.REVOKED)),
        case("an expired grant is told as such", "grant-expired", tenant(), DOCS, grant(state=GrantState.EXPIRED)),
        case("a grant ends at its second", "grant-expired", tenant(), DOCS, grant(window=window(valid_until=NOW))),
        case("a grant lasts to the second before", "g-1", tenant(), DOCS, grant(window=window(valid_until=NOW + 1))),
        case("a grant begins at its second", "g-1", tenant(), DOCS, grant(window=window(valid_from=NOW))),
        case(
            "before it begins it is outside its window",
            "outside-window",
            tenant(),
            DOCS,
            grant(window=window(valid_from=NOW + 1)),
        ),
        case("Friday is among Friday", "g-1", tenant(), DOCS, grant(window=window(weekdays=(4,)))),
        case(
            "Friday is not among the weekend", "outside-window", tenant(), DOCS, grant(window=window(weekdays=(5, 6)))
        ),
        case(
            "four in the afternoon is before five",
            "g-1",
            tenant(),
            DOCS,
            grant(window=window(start_minute=540, end_minute=1020)),
        ),
        case(
            "hours end at their minute",
            "outside-window",
            tenant(),
            DOCS,
            grant(window=window(start_minute=540, end_minute=960)),
        ),
        case("hours begin at their minute", "g-1", tenant(), DOCS, grant(window=window(start_minute=960))),
        case(
            "hours are of the window's own offset",
            "outside-window",
            tenant(),
            DOCS,
            grant(window=window(start_minute=540, end_minute=1020, utc_offset_minutes=0)),
        ),
        case("core data never leaves", "data-grade-forbidden", tenant(), DOCS, grant(data_grade=DataGrade.CORE)),
        case("important data may", "g-1", tenant(), DOCS, grant(data_grade=DataGrade.IMPORTANT)),
        case(
            "a line within the country is no way out", "direction-not-allowed", tenant(), DOCS, grant(lines=("home",))
        ),
        case("a line that nobody knows is no way out", "direction-not-allowed", tenant(), DOCS, grant(lines=("none",))),
        case("no line is no way out", "direction-not-allowed", tenant(), DOCS, grant(lines=())),
        case(
            "a retired line is no way out",
            "direction-not-allowed",
            tenant(),
            DOCS,
            grant(),
            Line(id="hk1", device="l1", index=1, retired=True),
        ),
        case(
            "a retired service is none",
            "not-whitelisted",
            tenant(),
            grant(),
            service("docs", "docs.example.com", retired=True),
        ),
        # Groups and categories.
        case(
            "a grant to the tenant's group is the tenant's",
            "g-1",
            tenant(groups=("x", "y")),
            DOCS,
            grant(subject="group:y"),
        ),
        case(
            "a grant to another group is not", "not-whitelisted", tenant(groups=("x",)), DOCS, grant(subject="group:y")
        ),
        case(
            "a group is no tenant of that name",
            "not-whitelisted",
            tenant(groups=("firm-b",)),
            DOCS,
            grant(subject="tenant:firm-b"),
        ),
        case(
            "a grant of the service's category is of the service",
            "g-1",
            tenant(),
            grant(thing="category:c"),
            service("docs", "docs.example.com", categories=("b", "c")),
        ),
        case(
            "a grant of another category is not",
            "not-whitelisted",
            tenant(),
            grant(thing="category:d"),
            service("docs", "docs.example.com", categories=("c",)),
        ),
        case("a category is no service of that name", "not-whitelisted", tenant(), grant(thing="category:docs"), DOCS),
        case(
            "group and category together",
            "g-1",
            tenant(groups=("x",)),
            grant(subject="group:x", thing="category:c"),
            service("docs", "docs.example.com", categories=("c",)),
        ),
        # Which of several.
        case(
            "an effective grant outweighs an expired one",
            "g-2",
            tenant(),
            DOCS,
            grant("g-1", state=GrantState.EXPIRED),
            grant("g-2"),
        ),
        case(
            "the tenant's own grant goes before the group's",
            "g-own",
            tenant(groups=("x",)),
            DOCS,
            grant("g-group", subject="group:x"),
            grant("g-own"),
        ),
        case(
            "of two alike the one that ends last counts",
            "g-b",
            tenant(),
            DOCS,
            grant("g-a"),
            grant("g-b", window=window(valid_until=NOW + 40 * DAY)),
            grant("g-c", window=window(valid_until=NOW + 2)),
        ),
        case(
            "the exact host's service goes before the suffix's",
            "g-docs",
            tenant(),
            service("s", "*.example.com"),
            DOCS,
            grant("g-all", thing="service:s"),
            grant("g-docs"),
        ),
        case(
            "a suffix permits what the exact host does not",
            "g-all",
            tenant(),
            service("s", endpoint("*.example.com", 8443)),
            DOCS,
            grant("g-all", thing="service:s"),
            grant("g-docs"),
            port=8443,
        ),
        # The closest reason.
        case(
            "hours are closer than the end",
            "outside-window",
            tenant(),
            DOCS,
            grant("g-1", state=GrantState.EXPIRED),
            grant("g-2", window=window(weekdays=(0,))),
        ),
        case(
            "core data is closer than hours",
            "data-grade-forbidden",
            tenant(),
            DOCS,
            grant("g-1", data_grade=DataGrade.CORE),
            grant("g-2", window=window(weekdays=(0,))),
        ),
        case(
            "the end is closer than the protocol",
            "grant-expired",
            tenant(),
            service("docs", endpoint("docs.example.com", protocol=Protocol.HTTP)),
            service("s", "*.example.com"),
            grant("g-1"),
            grant("g-2", thing="service:s", state=GrantState.EXPIRED),
        ),
        case(
            "the protocol is closer than the port",
            "protocol-not-allowed",
            tenant(),
            service("docs", endpoint("docs.example.com", protocol=Protocol.HTTP), endpoint("docs.example.com", 80)),
            grant(),
        ),
        case(
            "a suspended grant says nothing of ports",
            "not-whitelisted",
            tenant(),
            DOCS,
            grant(state=GrantState.SUSPENDED),
            port=80,
        ),
    ],
)
def test_verdict(tmp_path: Path, items: tuple[Any, ...], question: dict[str, Any], expected: str) -> None:
    with published(tmp_path, *items) as snapshot:
        assert short(ask(snapshot, **question)) == expected


def test_a_permit_says_all_that_the_way_needs(tmp_path: Path) -> None:
    docs = service("docs", "docs.example.com", special_prefixes=("198.18.0.0/15",))
    with published(tmp_path, tenant(max_tunnels=9), docs, grant(lines=("sg1", "home", "hk1"))) as snapshot:
        assert ask(snapshot) == Permit(
            "firm-a",
            "g-1",
            "docs",
            "docs.example.com",
            Protocol.TLS,
            ("sg1", "hk1"),
            WINDOW.valid_until,
            1,
            ("198.18.0.0/15",),
            9,
            7,
        )


def test_a_permit_carries_the_terms_of_its_grant(tmp_path: Path) -> None:
    docs, strict = service("docs", "docs.example.com"), grant(ech=Ech.REFUSE, application=Application.WEB)
    with published(tmp_path, tenant(), docs, strict) as snapshot:
        verdict = ask(snapshot)
    assert isinstance(verdict, Permit)
    assert verdict.tls == TlsTerms(Nameless.USUAL, Nameless.USUAL, Ech.REFUSE, Application.WEB)


def test_a_denial_names_the_deny_the_grant_and_the_revision(tmp_path: Path) -> None:
    with published(
        tmp_path, tenant(), DOCS, grant(data_grade=DataGrade.CORE), Deny(id="d-1", target="*.net")
    ) as snapshot:
        denied = ask(snapshot, "x.net")
        assert denied == Denial(Reason.NOT_WHITELISTED, 1, "firm-a", "", "d-1", "global deny *.net")
        core = ask(snapshot)
        assert core == Denial(Reason.DATA_GRADE_FORBIDDEN, 1, "firm-a", "g-1", "", "core data never leaves")


@pytest.mark.parametrize(
    ("fields", "limits", "expected"),
    [
        pytest.param({"valid_until": NOW + 5}, {}, NOW + 5, id="the tenant's term, where it ends first"),
        pytest.param({}, {"valid_until": NOW + 6}, NOW + 6, id="the grant's, where that does"),
        pytest.param({}, {"end_minute": 1020}, NOW + 3600, id="today's hours, where they do"),
        pytest.param({}, {"weekdays": (4,)}, NOW + 8 * 3600, id="midnight, where tomorrow is no day of it"),
        pytest.param({}, {"weekdays": (4, 5)}, NOW + 32 * 3600, id="the midnight after, where tomorrow is"),
        pytest.param(
            {}, {"weekdays": (4, 5), "end_minute": 1439}, NOW + 8 * 3600 - 60, id="the minute before midnight is an end"
        ),
    ],
)
def test_a_permit_ends_with_the_first_of(tmp_path: Path, fields: Any, limits: Any, expected: int) -> None:
    limits = {"valid_until": NOW + 30 * DAY, **limits}
    with published(tmp_path, tenant(**fields), DOCS, grant(window=window(**limits))) as snapshot:
        verdict = ask(snapshot)
        assert isinstance(verdict, Permit)
        assert verdict.not_after == expected
        after = ask(snapshot, now=expected)
        assert isinstance(after, Denial)
        assert after.reason in {Reason.TENANT_EXPIRED, Reason.GRANT_EXPIRED, Reason.OUTSIDE_WINDOW}


def test_hours_that_never_close_are_bounded() -> None:
    assert open_until(Schedule(0b1111111, 0, 1440, 480), NOW) == NOW + 8 * 3600 + 7 * DAY


def test_an_address_behind_a_name_can_be_denied(tmp_path: Path) -> None:
    denies = (Deny(id="d-1", target="203.0.113.0/28", ports=(443,)), Deny(id="d-2", target="2001:db8:5::/48"))
    with published(tmp_path, *ALL, *denies) as snapshot:
        asked = [("203.0.113.7", 443), ("203.0.113.7", 80), ("203.0.113.16", 443), ("2001:db8:5::7", 80)]
        assert [denied_address(snapshot, address, port) for address, port in asked] == ["d-1", "", "", "d-2"]


@pytest.mark.parametrize(
    ("lines", "weights", "expected"),
    [
        pytest.param(("hk1", "sg1"), (70, 30), (("hk1", "sg1"), (70, 30)), id="all lead abroad"),
        pytest.param(("sg1", "hk1"), (30, 70), (("sg1", "hk1"), (30, 70)), id="in the grant's order"),
        pytest.param(("hk1", "home", "sg1"), (5, 90, 7), (("hk1", "sg1"), (5, 7)), id="a line at home takes its own"),
        pytest.param(("home", "sg1"), (), (("sg1",), ()), id="no weights stay none"),
    ],
)
def test_weights_stay_with_their_lines(
    tmp_path: Path, lines: tuple[str, ...], weights: tuple[int, ...], expected: tuple[Any, Any]
) -> None:
    held = grant(lines=lines, line_weights=weights)
    with published(tmp_path, tenant(), service("docs", "docs.example.com"), held) as snapshot:
        verdict = ask(snapshot)
    assert isinstance(verdict, Permit)
    assert (verdict.lines, verdict.weights) == expected
