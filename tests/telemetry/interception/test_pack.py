"""The starter pack: sound, tested, with a runbook for each rule, and silent about an ordinary day."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import configs
from telemetry.interception import ruletest
from telemetry.interception.engine import Engine
from telemetry.interception.ruleset import RuleSet, load
from telemetry.interception.ruletest import START
from telemetry.interception.where import verdicts
from telemetry.record import Record
from tests.telemetry.interception.rule_kit import hits, record

PACK = Path(configs.__file__).parent / "sigma"
NETWORKS = "203.0.113.0/24,64500,HK\n198.51.100.0/24,AS64501,SG\n2001:db8::/32,64500,HK\n"


@pytest.fixture(scope="module")
def pack() -> RuleSet:
    return load([PACK])


def test_each_test_passes(pack: RuleSet) -> None:
    outcomes = ruletest.run(pack)
    assert len(outcomes) > 40
    assert [str(problem) for problem in ruletest.failures(outcomes)] == []


def test_each_rule_that_tells_has_a_test_that_hits_or_is_inactive_and_says_so(pack: RuleSet) -> None:
    never = {id_ for id_, verdict in verdicts(pack).items() if verdict.never}
    for rule in pack.all():
        if rule.output:
            wanted = [test["hits"] for test in rule.head.tests]
            assert 0 in wanted, rule.head.title
            assert max(wanted) > 0 or rule.head.id in never, rule.head.title
    assert sorted(r.head.name for r in pack.all() if r.head.id in never) == ["new_asn", "new_country"]


def test_each_rule_that_tells_names_a_runbook_that_is_there_in_two_languages(pack: RuleSet) -> None:
    books = {rule.head.runbook for rule in pack.all() if rule.output}
    for book in books:
        text = (PACK / book).read_text("utf-8")
        assert text.startswith("# "), book
        assert any("\u4e00" <= character <= "\u9fff" for character in text.splitlines()[-1]), book
    assert {str(path.relative_to(PACK)) for path in PACK.glob("runbooks/*")} == books


def test_with_the_operators_file_new_countries_and_networks_are_told(tmp_path: Path) -> None:
    shutil.copytree(PACK, tmp_path / "rules")
    (tmp_path / "rules" / "networks.csv").write_text(NETWORKS)
    rules = load([tmp_path / "rules"])
    assert not any(verdict.never for verdict in verdicts(rules).values())
    flows = [
        {"address": "203.0.113.9"},
        {"after": "15d", "address": "203.0.113.77"},
        {"after": "1s", "address": "2001:db8::9"},
    ]
    assert hits(Engine(rules), *flows) == []
    told = hits(
        Engine(rules), *flows, {"after": "1s", "address": "198.51.100.1"}, {"after": "1s", "address": "192.0.2.1"}
    )
    assert sorted(told) == ["A country that is new for a firm", "A network that is new for a firm"]


def ordinary(count: int, seed: int = 1) -> Iterator[Record]:
    """A working day of ten firms: people who read, programs that poll and build, uploads, mistakes."""
    rng = random.Random(seed)
    hosts = [f"www{n}.service{n % 40}.example" for n in range(600)]
    weights = [1 / (n + 1) for n in range(600)]
    reasons = ["not-whitelisted"] * 9 + ["port-not-allowed", "name-mismatch", "resolve-failed", "path-not-allowed"]
    agents = [f"Mozilla/5.0 Chrome/{n}.0" for n in range(118, 124)] + [
        "curl/8.5.0",
        "pip/24.0",
        "git/2.45",
        "Go-http-client/1.1",
    ]
    time, flow = START, 0
    step = 9 * 3600 * 1_000_000 // count
    made = 0
    while made < count:
        firm, person = rng.randrange(10), rng.randrange(40)
        host = rng.choices(hosts, weights)[0]
        flow += 1
        fields: dict[str, Any] = {
            "flow": f"O{flow:015}", "tenant": f"firm{firm}", "user": f"u-{firm}-{person}",
                "credential": f"c-{firm}-{person}",
            "client_ip": f"10.{firm}.{person // 30}.{person + 2}", "host": host, "user_agent": rng.choice(agents),
            "service": host.split(".")[1], "address": f"203.0.113.{rng.randrange(250)}", "node": "gw1",
        }  # fmt: skip
        if rng.random() < 0.03:
            yield record(**fields, kind="deny", decision="deny", reason=rng.choice(reasons), time=time)
            made, time = made + 1, time + step
            continue
        yield record(**fields, kind="open", time=time)
        into, out = int(rng.lognormvariate(9.5, 2)), int(rng.lognormvariate(7.5, 1.5))
        if rng.random() < 0.0005:
            out = 2_000_000_000  # a backup, a release
        seconds = rng.expovariate(1 / 40)
        yield record(
            **fields, kind="close", bytes_in=into, bytes_out=out, duration=int(seconds * 1e6), cause="client-closed",
                sni=host,
            ja4="t13d1516h2_8daaf6152771_d8a2da3f94cd", time=time + int(seconds),
        )  # fmt: skip
        made, time = made + 2, time + 2 * step


def test_a_hundred_thousand_ordinary_records_raise_at_most_five_alerts(pack: RuleSet) -> None:
    engine = Engine(pack)
    for each in ordinary(100_000):
        engine.take(each)
    assert len(engine.hits) <= 5, [hit.head.title for hit in engine.hits]
