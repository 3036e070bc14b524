"""Replay: recorded decisions with another policy. Each row is one decision, what the proposal does to it, and how that
is counted."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from telemetry.decisions import Decision, decisions, size
from telemetry.record import Record, encode
from telemetry.segments import segment_name
from tests.whitelist.policies import DAY, NOW, WINDOW, added, edited, grant, published, removed, service, tenant
from whitelist.model import Deny, Window
from whitelist.replay import Replay, Report, backdated
from whitelist.trial import Trial

DOCS, MAIL = service("docs", "docs.example.com"), service("mail", "mail.example.com")
G1 = grant("g-1")
TO_MAIL = grant("g-2", thing="service:mail")
FIRM = tenant()
BEFORE = (FIRM, DOCS, MAIL, G1)


def decision(host: str = "docs.example.com", passed: bool = True, **fields: Any) -> Decision:
    """A decision an hour ago."""
    whole = {
        "kind": "open" if passed else "deny",
        "time": (NOW - 3600) * 1_000_000,
        "tenant": "firm-a",
        "interface": "acc0",
        "client_ip": "10.0.0.9",
        "method": "CONNECT",
        "host": host,
        "port": 443,
        "service": host.partition(".")[0] if passed else "",
        "decision": "permit" if passed else "deny",
        "reason": "" if passed else "not-whitelisted",
    }
    return Decision(**{**whole, **fields})


def replayed(directory: Path, changes: list[Any], *found: Decision) -> Report:
    with published(directory, *BEFORE) as snapshot:
        fold = Replay(Trial.over(snapshot, backdated(changes, NOW - 7 * DAY, NOW)), snapshot)
        fold.take(found)
        return fold.report()


def short(report: Report) -> dict[str, Any]:
    """Only what is not empty."""
    told: dict[str, Any] = {
        "allow": [(g.tenant, g.service, g.count, g.reasons) for g in report.deny_to_allow],
        "deny": [(g.tenant, g.service, g.count, g.reasons) for g in report.allow_to_deny],
        "same": report.same,
        "since": report.since,
        "unknown": report.unknown,
        "unseen": report.unseen,
    }
    return {name: value for name, value in told.items() if value}


@pytest.mark.parametrize(
    ("changes", "found", "expected"),
    [
        pytest.param([], decision(), {"same": 1}, id="nothing proposed changes nothing"),
        pytest.param(
            [added(TO_MAIL)],
            decision("mail.example.com", False),
            {"allow": [("firm-a", "mail", 1, {"not-whitelisted": 1})], "unseen": 1},
            id="a new grant lets pass what was refused; its address nobody has seen",
        ),
        pytest.param(
            [added(replace(TO_MAIL, window=Window(valid_from=NOW - 60, valid_until=NOW + DAY)))],
            decision("mail.example.com", False),
            {"allow": [("firm-a", "mail", 1, {"not-whitelisted": 1})], "unseen": 1},
            id="also where it began only now",
        ),
        pytest.param(
            [added(replace(TO_MAIL, window=Window(valid_from=NOW + 60, valid_until=NOW + DAY)))],
            decision("mail.example.com", False),
            {"same": 1},
            id="but not where it begins later",
        ),
        pytest.param(
            [edited(G1, state="REVOKED")],
            decision(),
            {"deny": [("firm-a", "docs", 1, {"not-whitelisted": 1})]},
            id="a revoked grant refuses what passed",
        ),
        pytest.param(
            [edited(G1, window=replace(WINDOW, weekdays=(5, 6)))],
            decision(),
            {"deny": [("firm-a", "docs", 1, {"outside-window": 1})]},
            id="hours are those of the request, a Friday",
        ),
        pytest.param(
            [added(Deny(id="d-1", target="docs.example.com"))],
            decision(),
            {"deny": [("firm-a", "docs", 1, {"not-whitelisted": 1})]},
            id="a deny refuses what passed",
        ),
        pytest.param(
            [added(Deny(id="d-1", target="203.0.113.0/24"))],
            decision(address="203.0.113.7"),
            {"deny": [("firm-a", "docs", 1, {"not-whitelisted": 1})]},
            id="a deny of the address that was dialled does too",
        ),
        pytest.param(
            [edited(FIRM, places=())],
            decision(),
            {"deny": [("firm-a", "docs", 1, {"source-not-allowed": 1})]},
            id="a firm without its place is refused",
        ),
        pytest.param(
            [removed(FIRM)], decision(), {"deny": [("firm-a", "docs", 1, {"identity-unknown": 1})]}, id="or gone"
        ),
        pytest.param(
            [],
            decision("mail.example.com"),
            {"since": {"allow to deny": 1}},
            id="what today's policy refuses already is not the proposal's doing",
        ),
        pytest.param([], decision(passed=False), {"since": {"deny to allow": 1}}, id="nor what it lets pass already"),
        pytest.param(
            [added(TO_MAIL)],
            decision("mail.example.com", False, reason="resolve-failed"),
            {"unknown": {"resolve-failed": 1}},
            id="a name that was not found is no matter of policy",
        ),
        pytest.param(
            [added(TO_MAIL)],
            decision("mail.example.com", False, tenant="", reason="identity-unknown", count=7),
            {"unknown": {"identity-unknown": 7}},
            id="nor are strangers, counted together",
        ),
        pytest.param(
            [],
            decision(client_ip=""),
            {"unknown": {"no tenant, host or source in the record": 1}},
            id="a record that lacks what a decision needs",
        ),
        pytest.param(
            [],
            decision(method="GET", passed=False, port=80, reason="port-not-allowed"),
            {"same": 1},
            id="plain HTTP is asked as such",
        ),
        pytest.param([], decision("198.51.100.7", False), {"same": 1}, id="an address is asked as one"),
        pytest.param([], decision("a.b7", False), {"same": 1}, id="a name that ends in a digit is a name"),
    ],
)
def test_one_decision(tmp_path: Path, changes: list[Any], found: Decision, expected: dict[str, Any]) -> None:
    assert short(replayed(tmp_path, changes, found)) == expected


def test_groups_are_by_tenant_and_service_the_largest_first_with_their_span(tmp_path: Path) -> None:
    later = (NOW - 60) * 1_000_000
    found = [decision("mail.example.com", False, reason="not-whitelisted") for _ in range(3)]
    found += [decision("mail.example.com", False, time=later), decision("other.example", False)]
    report = replayed(tmp_path, [added(TO_MAIL)], *found)
    assert [(g.service, g.count, g.first, g.last, g.hosts) for g in report.deny_to_allow] == [
        ("mail", 4, NOW - 3600, NOW - 60, {"mail.example.com": 4})
    ]
    assert (report.decisions, report.same) == (5, 1)


def test_decisions_are_read_from_the_log_as_it_stands(tmp_path: Path) -> None:
    """Kinds that decide nothing, other times, damage and a line that is being written are left out, damage counted."""
    base = {"node": "n", "boot": "b", "worker": "w0", "seq": 1}
    lines = [
        encode(Record(**base, kind="open", time=10, tenant="a", host="x.example", decision="permit")),
        encode(Record(**base, kind="close", time=11, tenant="a")),
        encode(Record(**base, kind="deny", time=12, tenant="b", user_agent='"kind":"open"')),
        b'{"v":1,"kind":"open","time":"no"}',
        encode(Record(**base, kind="deny", time=99)),
        encode(Record(**base, kind="action", time=13, detail='"kind":"open"')),
    ]
    (tmp_path / segment_name(0)).write_bytes(b"\n".join(lines) + b"\n" + lines[0][:40])
    read = list(decisions(tmp_path, 10, 50))
    assert [(one.tenant, one.kind) for _, batch, _ in read for one in batch] == [("a", "open"), ("b", "deny")]
    assert sum(bad for *_, bad in read) == 1
    assert sum(count for count, *_ in read) < size(tmp_path, 10)
    assert list(decisions(tmp_path, 1 << 60, 1 << 61)) == []
