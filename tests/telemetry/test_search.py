"""Search against a naive reading of the whole log, over segment and window borders."""

import random
from pathlib import Path

import pytest

from telemetry import search as module
from telemetry.record import Record, decode
from telemetry.search import Filter, Place, parse_filter, parse_place, search
from telemetry.segments import Segments
from tests.telemetry.spool_kit import line

COUNT = 600


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Segments:
    chance = random.Random(7)
    segments = Segments(tmp_path_factory.mktemp("log"), 20_000)
    for seq in range(1, COUNT + 1):
        data = line(
            "w0.1",
            seq,
            chance.choice(["open", "close", "deny"]),
            flow=f"F{seq // 2}",
            ref=f"F{seq // 2}" if seq % 5 == 0 else "",
            tenant=chance.choice(["acme", "globex", "open"]),
            host=chance.choice(["api.example.com", "cdn.example.com", "example.com", "203.0.113.7"]),
            client_ip=f"10.0.0.{chance.randrange(9)}",
            reason=chance.choice(["", "not-whitelisted", "kill-switch"]),
            decision=chance.choice(["", "permit", "deny"]),
            detail="x" * chance.randrange(400) + chance.choice(["", "acme", '"F7"']),
            time=1_000_000 * seq,
        )
        segments.append(data + b"\n", 1)
        if seq % 10 == 0:
            segments.sync()
    segments.sync()
    return segments


def durable(log: Segments) -> Place:
    return Place(*log.durable)


def everything(log: Segments) -> list[Record]:
    files = sorted(log.directory.glob("*.jsonl"))
    assert len(files) > 5
    return [decode(text) for path in files for text in path.read_bytes().splitlines()][::-1]


WANTED = [
    ("everything", Filter(), lambda r: True),
    ("one flow", Filter(flow="F7"), lambda r: r.flow == "F7"),
    ("a reference or its flow", Filter(ref="F10"), lambda r: r.flow == "F10"),
    ("a tenant named as a kind is", Filter(tenant="open"), lambda r: r.tenant == "open"),
    ("a decision, whatever the kind", Filter(decision="deny"), lambda r: r.decision == "deny"),
    ("an exact host", Filter(host="example.com"), lambda r: r.host == "example.com"),
    ("a host suffix", Filter(host="*.example.com"), lambda r: r.host.endswith(".example.com")),
    (
        "a source and a kind",
        Filter(source="10.0.0.3", kind="deny"),
        lambda r: (r.client_ip, r.kind) == ("10.0.0.3", "deny"),
    ),
    ("a reason", Filter(reason="kill-switch"), lambda r: r.reason == "kill-switch"),
    ("a span of time", Filter(since=100_000_000, until=200_000_000), lambda r: 100_000_000 <= r.time < 200_000_000),
    ("nothing", Filter(tenant="nobody"), lambda r: False),
]


@pytest.mark.parametrize("window", [1 << 20, 500, 2000], ids=["one window", "small windows", "windows"])
@pytest.mark.parametrize(("wanted", "naive"), [row[1:] for row in WANTED], ids=[row[0] for row in WANTED])
def test_finds_what_a_naive_reading_finds(log: Segments, wanted, naive, window, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "_WINDOW", window)
    found = search(log.directory, wanted, COUNT + 1, durable(log))
    assert [decode(text).seq for text in found.lines] == [r.seq for r in everything(log) if naive(r)]
    assert found.next is None


@pytest.mark.parametrize("most", [1 << 30, 3000], ids=["pages by limit", "pages by work"])
def test_pages_follow_each_other_without_loss_or_repeat(
    log: Segments, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WINDOW", 1000)
    wanted, seen, before = Filter(tenant="acme"), [], None
    for _ in range(COUNT):
        page = search(log.directory, wanted, 7, durable(log), before, most)
        seen += [decode(text).seq for text in page.lines]
        if page.next is None:
            break
        before = parse_place(str(page.next))
    assert seen == [r.seq for r in everything(log) if r.tenant == "acme"]


def test_what_is_not_durable_is_not_found(log: Segments, tmp_path: Path) -> None:
    segments = Segments(tmp_path, 1 << 20)
    segments.append(line("w0.1", 1, flow="A") + b"\n", 1)
    segments.sync()
    segments.append(line("w0.1", 2, flow="B") + b"\n", 1)
    page = search(tmp_path, Filter(), 10, Place(*segments.durable))
    assert [decode(text).flow for text in page.lines] == ["A"]


@pytest.mark.parametrize("place", [Place(1 << 60, 0), Place(0, 3), Place(0, 1 << 40), Place(7, 7)])
def test_odd_places_find_whole_records_or_nothing(log: Segments, place: Place) -> None:
    for text in search(log.directory, Filter(), 5, durable(log), place).lines:
        assert decode(text).worker == "w0.1"


BAD = [
    ({"since": "-1"}, "since"),
    ({"until": "abc"}, "until"),
    ({"since": "٣"}, "since"),
    ({"host": "x" * 301}, "host"),
]


@pytest.mark.parametrize(("parameters", "named"), BAD)
def test_bad_parameters_are_named(parameters: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_filter(parameters)


@pytest.mark.parametrize("text", ["", "1", "a:b", "1:2:3", ":"])
def test_bad_places_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="before"):
        parse_place(text)
