"""Three readings of one register, and one answer: the naive one below, written from the words of the model; Casbin's
enforce() over configs/casbin/model.conf; and decide() over the compiled snapshot. They share no code."""

import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tenants.model import Place, Side, Tenant, TenantState
from tests.whitelist.policies import DAY, KEY, NOW, PUBLIC
from whitelist.casbin_model import enforcer
from whitelist.decide import Access, Permit, decide
from whitelist.document import Document
from whitelist.model import DataGrade, Deny, Endpoint, Grant, GrantState, Line, Protocol, Service, Window
from whitelist.publisher import Publisher
from whitelist.snapshot import Snapshot
from whitelist.target import Target
from whitelist.tls_terms import Application, Ech, Nameless, TlsTerms

HOSTS = ["example.com", "a.example.com", "b.a.example.com", "c.b.a.example.com", "xa.example.com", "example.net", "com"]
ADDRESSES = [
    "203.0.113.0",
    "203.0.113.15",
    "203.0.113.16",
    "198.51.100.9",
    "2001:db8:5::1",
    "2001:db8:5:1::",
    "2001:db8:6::",
]
TARGETS = [
    *HOSTS[:6],
    "*.com",
    "*.example.com",
    "*.a.example.com",
    "*.b.a.example.com",
    "203.0.113.0/28",
    "203.0.113.0/24",
    "203.0.113.15/32",
    "2001:db8:5::/48",
    "2001:db8:5::/64",
    "2001:db8::/32",
]
SOURCES = ["10.0.0.1", "10.0.0.200", "10.0.1.1", "fd00:1::1", "fd00:2::1"]
PREFIXES = ["10.0.0.0/24", "10.0.0.0/25", "10.0.1.0/24", "fd00:1::/64", "fd00::/16"]
PORTS = [80, 443, 8443]
TENANTS, GROUPS = ["t1", "t2"], ["g1", "g2"]
SERVICES, CATEGORIES = ["s1", "s2", "s3"], ["c1", "c2"]
LINES = ["hk1", "home", "old"]
TIMES = [NOW + hours * 3600 + seconds for hours in (-30, -1, 0, 1, 8, 9, 40) for seconds in (-1, 0)]
FIRST, LAST = NOW - 10 * DAY, NOW + 10 * DAY

times = st.sampled_from(TIMES)
some_ports = st.lists(st.sampled_from(PORTS), unique=True, max_size=2).map(tuple)


def few[T](values: list[T], least: int = 0, most: int = 2) -> st.SearchStrategy[tuple[T, ...]]:
    """A few of the values, each once."""
    return st.lists(st.sampled_from(values), unique=True, min_size=least, max_size=most).map(tuple)


def mostly[T](usual: T, others: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Nine times in ten the usual: what is refused for one cause must not hide all others."""
    return st.integers(0, 9).flatmap(lambda n: st.just(usual) if n else others)


@st.composite
def windows(draw: Any) -> Window:
    """From some time to a later one, with or without hours."""
    begin, end = draw(mostly((FIRST, LAST), st.tuples(times, times).map(lambda two: (min(two), max(two) + 1))))
    start, stop = draw(mostly((0, 1440), st.sampled_from([(0, 960), (540, 1020), (960, 1440)])))
    offset = draw(mostly(480, st.sampled_from([0, -300])))
    days = draw(mostly((), few([3, 4, 5, 6], most=3)))
    return Window(
        valid_from=begin, valid_until=end, weekdays=days, start_minute=start, end_minute=stop, utc_offset_minutes=offset
    )


places = st.builds(
    Place,
    site=st.just("s"),
    room=st.just("r"),
    interface=mostly("acc0", st.just("acc1")),
    prefix=mostly("10.0.0.0/24", st.sampled_from(PREFIXES)),
    side=mostly(Side.OFFSHORE, st.just(Side.DOMESTIC)),
)
endpoints = st.builds(
    Endpoint,
    target=st.sampled_from([t for t in TARGETS if t != "*.com"]),
    ports=mostly((443,), some_ports),
    protocol=mostly(Protocol.TLS, st.sampled_from(Protocol)),
)
states = mostly(
    TenantState.ACTIVE, st.sampled_from([TenantState.RENEWAL_DUE, TenantState.SUSPENDED, TenantState.APPROVED])
)


@st.composite
def documents(draw: Any) -> Document:
    """Small registers in which things often meet."""
    tenants = [
        Tenant(
            id=name,
            name=name,
            state=draw(states),
            valid_from=draw(mostly(FIRST, times)),
            valid_until=draw(mostly(LAST, times)),
            groups=draw(few(GROUPS)),
            places=draw(st.lists(places, min_size=1, max_size=2).map(tuple)),
            slot=1,
        )
        for name in TENANTS
    ]
    services = [
        Service(
            id=name,
            name=name,
            endpoints=draw(st.lists(endpoints, min_size=1, max_size=3).map(tuple)),
            categories=draw(few(CATEGORIES)),
            retired=draw(mostly(False, st.booleans())),
        )
        for name in SERVICES
    ]
    subjects = [f"tenant:{name}" for name in TENANTS] + [f"group:{name}" for name in GROUPS]
    objects = [f"service:{name}" for name in SERVICES] + [f"category:{name}" for name in CATEGORIES]
    over = [draw(mostly(("hk1",), few(LINES, least=1))) for _ in range(draw(st.integers(1, 6)))]
    grants = [
        Grant(
            id=f"g-{n}",
            subject=draw(st.sampled_from(subjects)),
            object=draw(st.sampled_from(objects)),
            window=draw(windows()),
            lines=lines,
            line_weights=draw(st.sampled_from([(), tuple(range(7, 7 + len(lines)))])),
            state=draw(mostly(GrantState.EFFECTIVE, st.sampled_from(GrantState))),
            no_sni=draw(mostly(Nameless.USUAL, st.sampled_from(Nameless))),
            ip_sni=draw(mostly(Nameless.USUAL, st.sampled_from(Nameless))),
            ech=draw(mostly(Ech.NOTE, st.sampled_from(Ech))),
            application=draw(mostly(Application.ANY, st.sampled_from(Application))),
            data_grade=draw(mostly(DataGrade.GENERAL, st.sampled_from(DataGrade))),
        )
        for n, lines in enumerate(over)
    ]
    denies = [
        Deny(id=f"d-{n}", target=draw(st.sampled_from(TARGETS)), ports=draw(some_ports))
        for n in range(draw(st.integers(0, 2)))
    ]
    lines = [
        Line(id="hk1", device="l1", index=1),
        Line(id="home", device="l2", index=2, side=Side.DOMESTIC),
        Line(id="old", device="l3", index=3, retired=draw(st.booleans())),
    ]
    return Document(tenants=tenants, services=services, grants=grants, denies=denies, lines=lines)


@st.composite
def cases(draw: Any) -> tuple[Document, list[Any]]:
    """A register, and questions near to what it grants: some dimension is off now and then."""
    document = draw(documents())
    aims = [
        (tenant.id, way)
        for grant in document.grants
        for tenant in document.tenants
        if grant.subject == f"tenant:{tenant.id}" or grant.subject[6:] in tenant.groups
        for service in document.services
        if grant.object == f"service:{service.id}" or grant.object[9:] in service.categories
        for way in service.endpoints
    ] or [(name, way) for name in TENANTS for service in document.services for way in service.endpoints]
    asked = []
    for _ in range(15):
        tenant, way = draw(st.sampled_from(aims))
        near = draw(st.sampled_from([host for host in HOSTS + ADDRESSES if named(way.target, host)]))
        access = Access.HTTP if way.protocol is Protocol.HTTP else Access.TUNNEL
        asked.append(
            (
                draw(mostly(tenant, st.sampled_from(TENANTS))),
                draw(mostly("10.0.0.1", st.sampled_from(SOURCES))),
                draw(mostly("acc0", st.just("acc1"))),
                draw(mostly(near, st.sampled_from(HOSTS + ADDRESSES))),
                draw(mostly(443, st.sampled_from(PORTS))),
                draw(mostly(access, st.sampled_from(Access))),
                draw(mostly(NOW, times)),
            )
        )
    return document, asked


SEEN: Counter[bool] = Counter()
PERMITTED = Document(
    tenants=[
        Tenant(
            id="t1",
            name="t1",
            valid_from=0,
            valid_until=TIMES[-1],
            slot=1,
            groups=("g1",),
            places=(Place(site="s", room="r", interface="acc0", prefix="10.0.0.0/24"),),
        )
    ],
    services=[Service(id="s1", name="s1", endpoints=(Endpoint(target="*.example.com"),), categories=("c1",))],
    grants=[
        Grant(
            id="g-1",
            subject="group:g1",
            object="category:c1",
            lines=("hk1",),
            window=Window(valid_from=0, valid_until=TIMES[-1], weekdays=(4,), end_minute=1020),
        )
    ],
    lines=[Line(id="hk1", device="l1", index=1)],
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
@example(
    (
        PERMITTED,
        [
            ("t1", "10.0.0.1", "acc0", "a.example.com", 443, Access.TUNNEL, NOW),
            ("t1", "10.0.0.1", "acc0", "a.example.com", 443, Access.TUNNEL, NOW + 3600),
        ],
    )
)
def readings_agree(case: tuple[Document, list[Any]]) -> None:
    """One register, all its questions."""
    document, asked = case
    casbin = enforcer(document)
    with tempfile.TemporaryDirectory() as directory:
        with Publisher(Path(directory), KEY) as publisher:
            publisher.publish_all(document, 1)
        snapshot = Snapshot.open(Path(directory), PUBLIC)
        for question in asked:
            tenant, source, interface, host, port, access, now = question
            readings = {
                "naive": naive(document, *question),
                "casbin": casbin.enforce(f"tenant:{tenant}", f"{interface} {source}", f"{access} {host} {port}", now),
                "compiled": compiled(snapshot, *question),
            }
            assert len(set(readings.values())) == 1, (readings, question)
            details_agree(document, snapshot, question)
            SEEN[readings["naive"]] += 1
        snapshot.close()


def test_naive_casbin_and_compiled_agree() -> None:
    SEEN.clear()
    readings_agree()
    # A comparison of refusals with refusals would prove little.
    assert SEEN[True] > 150, SEEN
    assert SEEN[False] > 150, SEEN


def compiled(
    snapshot: Snapshot, name: str, source: str, interface: str, host: str, port: int, access: Access, now: int
) -> bool:
    """The worker's reading."""
    entry = snapshot.tenant(name)
    assert entry is not None
    target = Target(host, port, is_ip=host in ADDRESSES)
    return isinstance(decide(snapshot, entry, source, interface, target, access, now), Permit)


def details_agree(document: Document, snapshot: Snapshot, question: Any) -> None:
    """A permit has the grant's lines that lead abroad, in its order, each with the weight it was given, and its terms
    for TLS."""
    name, source, interface, host, port, access, now = question
    entry = snapshot.tenant(name)
    assert entry is not None
    target = Target(host, port, is_ip=host in ADDRESSES)
    permit = decide(snapshot, entry, source, interface, target, access, now)
    if not isinstance(permit, Permit):
        return
    grant = next(one for one in document.grants if one.id == permit.grant)
    abroad = {line.id for line in document.lines if line.side.value == "abroad" and not line.retired}
    kept = [n for n, line in enumerate(grant.lines) if line in abroad]
    assert permit.lines == tuple(grant.lines[n] for n in kept)
    terms = permit.tls or TlsTerms()
    assert (terms.no_sni, terms.ip_sni, terms.ech, terms.application) == (
        grant.no_sni, grant.ip_sni, grant.ech, grant.application,
    )  # fmt: skip
    assert permit.weights == (tuple(grant.line_weights[n] for n in kept) if grant.line_weights else ())


def naive(
    document: Document, name: str, source: str, interface: str, host: str, port: int, access: Access, now: int
) -> bool:
    """The words of the model, read one after the other."""
    tenant = next(one for one in document.tenants if one.id == name)
    if tenant.state.value not in ("ACTIVE", "RENEWAL_DUE") or now < tenant.valid_from or now >= tenant.valid_until:
        return False
    if not any(
        place.interface == interface
        and place.side.value == "offshore"
        and ip_address(source) in ip_network(place.prefix)
        for place in tenant.places
    ):
        return False
    if any(named(deny.target, host) and (deny.ports == () or port in deny.ports) for deny in document.denies):
        return False
    for service in document.services:
        ways = [
            way
            for way in service.endpoints
            if named(way.target, host)
            and port in way.ports
            and (way.protocol.value == "http") == (access.value == "http")
        ]
        if service.retired or not ways:
            continue
        for grant in document.grants:
            mine = grant.subject == f"tenant:{name}" or grant.subject.removeprefix("group:") in tenant.groups
            its = (
                grant.object == f"service:{service.id}" or grant.object.removeprefix("category:") in service.categories
            )
            usable = [
                line
                for line in document.lines
                if line.id in grant.lines and line.side.value == "abroad" and not line.retired
            ]
            if (
                mine
                and its
                and usable
                and grant.state.value == "EFFECTIVE"
                and grant.data_grade.value != "core"
                and open_at(grant.window, now)
            ):
                return True
    return False


def named(target: str, host: str) -> bool:
    """Whether a target is about a host."""
    if "/" in target:
        return host in ADDRESSES and ip_address(host) in ip_network(target)
    labels, wanted = host.split("."), target.split(".")
    if wanted[0] == "*":
        return host not in ADDRESSES and len(labels) >= len(wanted) and labels[1 - len(wanted) :] == wanted[1:]
    return labels == wanted


def open_at(window: Window, now: int) -> bool:
    """Whether a window is open at a Unix second, by the calendar."""
    local = datetime.fromtimestamp(now, UTC).astimezone(timezone(timedelta(minutes=window.utc_offset_minutes)))
    minutes = local.hour * 60 + local.minute
    on_day = window.weekdays == () or local.weekday() in window.weekdays
    return (
        window.valid_from <= now < window.valid_until and on_day and window.start_minute <= minutes < window.end_minute
    )
