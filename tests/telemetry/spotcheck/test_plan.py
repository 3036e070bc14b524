"""Plans that could not be drawn from are refused, with the reason."""

from typing import Any

import pytest

from telemetry.record import Record
from telemetry.spotcheck import plan
from telemetry.spotcheck.error import SpotcheckError

GOOD: dict[str, Any] = {
    "since": 1000,
    "until": 2000,
    "after": 3000,
    "source": "drand quicknet, round 9000000",
    "strata": [{"name": "transfers", "size": 299, "kind": "close"}, {"name": "all", "size": 9}],
}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no time": ({"until": 1000}, "is no span"),
    "a value from before": ({"after": 1999}, "the value may appear before the time"),
    "no strata": ({"strata": []}, "has 0 strata"),
    "one name twice": ({"strata": [{"name": "a", "size": 1}, {"name": "a", "size": 2}]}, "have one name"),
    "an odd name": ({"strata": [{"name": "A\n", "size": 1}]}, "a stratum's name needs"),
    "a size of nothing": ({"strata": [{"name": "a", "size": 0}]}, "size needs to be 1"),
    "no source": ({"source": " "}, "does not say which value"),
    "a commitment of one side": ({"commitments": {"regulator": "0" * 64}}, "commitments need one SHA-256"),
    "a commitment that is none": ({"commitments": {"regulator": "0", "operator": "0" * 64}}, "commitments need"),
    "an unknown field": ({"seed": "1"}, "the plan cannot be read"),
    "a wrong type": ({"since": "yesterday"}, "the plan cannot be read"),
}


@pytest.mark.parametrize(("change", "why"), FAULTS.values(), ids=FAULTS)
def test_faults(change: dict[str, Any], why: str) -> None:
    with pytest.raises(SpotcheckError, match=why):
        plan.convert({**GOOD, **change})


def test_a_plan_has_one_text() -> None:
    made = plan.convert(GOOD)
    assert plan.parse(plan.encode(made)) == made
    assert plan.encode(plan.convert(dict(reversed(GOOD.items())))) == plan.encode(made)


def record(**fields: Any) -> Record:
    return Record(
        **{"node": "n", "boot": "b", "worker": "w", "seq": 1, "time": 1_500_000_000, "kind": "close", **fields}
    )


BELONGS = {
    "a transfer": ({}, "transfers"),
    "what only the later stratum fits": ({"kind": "deny"}, "all"),
    "before the time": ({"time": 999_999_999}, None),
    "at the time's first microsecond": ({"time": 1_000_000_000}, "transfers"),
    "at the time's end": ({"time": 2_000_000_000}, None),
}


@pytest.mark.parametrize(("fields", "name"), BELONGS.values(), ids=BELONGS)
def test_a_record_belongs_to_the_first_stratum_that_fits(fields: dict[str, Any], name: str | None) -> None:
    found = plan.convert(GOOD).stratum_of(record(**fields))
    assert (found.name if found else None) == name


def test_strata_by_service_and_grant() -> None:
    by = plan.Stratum(name="s", size=1, service="docs", grant="g-1")
    assert by.fits(record(service="docs", grant="g-1"))
    assert not by.fits(record(service="docs", grant="g-2"))
    assert not by.fits(record(service="mail", grant="g-1"))
