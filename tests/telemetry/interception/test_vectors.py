"""Rules of others, from the folder that FEIYU_VECTORS names: all load, each fires where lint says so, and as a second
reading of the same rule does for the record and for all that differ from it in one character."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from telemetry.interception.engine import Engine
from telemetry.interception.fields import Place
from telemetry.interception.ruleset import RuleSet, load
from telemetry.interception.where import verdicts
from telemetry.record import Record
from tests.telemetry.interception import oracle
from tests.telemetry.interception.examples import examples

VECTORS = Path(os.environ.get("FEIYU_VECTORS", "/nonexistent")) / "sigma"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="FEIYU_VECTORS names no folder of public vectors")


def files() -> list[Path]:
    return sorted(VECTORS.rglob("*.yml"))


def neighbours(record: Record) -> Iterator[Record]:
    """Records that differ in one character of one text."""
    for name in ("host", "path", "user_agent", "method"):
        text = getattr(record, name)
        for at in range(len(text) + 1):
            for changed in (text[:at] + text[at + 1 :], text[:at] + "~" + text[at + 1 :], text[:at] + "~" + text[at:]):
                yield msgspec.structs.replace(record, **{name: changed})


def test_all_load_together() -> None:
    assert len(load([VECTORS])) == len(files())


@pytest.mark.parametrize("file", files(), ids=lambda file: file.stem)
def test_a_rule_fires_where_lint_says_so_and_not_on_a_near_miss(file: Path) -> None:
    rules: RuleSet = load([file])
    (rule,), (verdict,) = rules.rules.values(), verdicts(rules).values()
    document = yaml.safe_load(file.read_text())
    assert bool(verdict.never) == (not verdict.places)
    missed = 0
    for place in Place:
        made = list(examples(rule, place)) if place is not Place.NODE else []
        assert bool(made) == (place in verdict.places), f"{place}: {verdict}"
        for each in made:
            engine = Engine(rules)
            engine.take(each)
            assert [(hit.head.title, hit.head.author) for hit in engine.hits] == [
                (document["title"], document["author"])
            ]
            if place is not Place.INSPECTED:  # the second reading knows only http
                assert oracle.holds(document, each)
                for near in neighbours(each):
                    expected = oracle.holds(document, near)
                    assert rule.holds(near) == expected, near
                    missed += not expected
    assert missed or verdict.never, "something near is missed"
