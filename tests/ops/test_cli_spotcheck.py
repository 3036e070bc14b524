"""feiyu spotcheck from the plan to its end: a real control, a real recorder, and files that anybody can check."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli.main import run
from tests.ops.recorded_node import CONFIG, recorded
from tests.telemetry import spool_kit

Output = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """The configuration of a node with some records."""
    with recorded(tmp_path) as made:
        now = int(time.time() * 1e6)
        for number in range(40):
            kind = "close" if number % 2 else "deny"
            spool_kit.put(made.writer, kind, flow=f"F{number}", tenant="acme", time=now - 60_000_000 + number)
        made.writer.flush()
        spool_kit.until(lambda: len(made.node.lines()) >= 40, "the records")
        yield made.config


@pytest.fixture
def feiyu(config: Path, capsys: Output) -> Any:
    """Runs a command that must end with `code`; its JSON, or what it said on stderr."""

    def call(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        why = [] if arguments[1] in ("verify", "show", "commit") else ["--reason", "order 7"]
        status = run([*arguments, *why, "-o", "json", "--config", str(config), "--no-input", "--lang", "en"])
        out, err = capsys.readouterr()
        assert status == code, (arguments, out, err)
        return json.loads(out) if code == 0 else err

    return call


def until(moment: float) -> None:
    spool_kit.until(lambda: time.time() >= moment, "the value's time")


def test_a_spot_check_from_plan_to_end(feiyu: Any, config: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "check.json")
    after = int(time.time()) + 3
    stratum = ["--stratum", "transfers kind=close size=4", "--stratum", "refusals kind=deny size=50"]
    source = ["--source", "round 9000000", "--after", f"@{after}"]
    planned = feiyu("spotcheck", "plan", "--since", "1h", *source, *stratum, "--out", file)
    ref = planned["id"]
    assert planned["state"] == "PLANNED"
    key = ["--key", str(tmp_path / "state/evidence/flows.vkey")]
    told = feiyu("spotcheck", "verify", file, *key)
    assert (told["state"], told["seed"]) == ("PLANNED", "")
    assert "has not appeared yet" in feiyu("spotcheck", "draw", file, "--value", "0badc0de", code=1)
    until(after)
    assert feiyu("spotcheck", "draw", file, "--value", "0badc0de")["state"] == "SAMPLED"
    log = ["--log", str(tmp_path / "state/evidence/flows")]
    told = feiyu("spotcheck", "verify", file, *key, *log)
    assert (told["counts"], told["counts_checked"]) == ({"transfers": 20, "refusals": 20}, True)
    assert [len(found) for found in told["samples"].values()] == [4, 20], "all where there are no more than wanted"
    assert told["plans_without_a_draw"] == {}
    assert "takes no draw; it takes review" in feiyu("spotcheck", "draw", file, "--value", "1", code=1)

    indexes = [str(index) for found in told["samples"].values() for index in found]
    for index in indexes[1:]:
        answer = feiyu("spotcheck", "find", ref, index, "--nothing")
    assert (answer["state"], answer["seen"], answer["sampled"]) == ("IN_REVIEW", 23, 24)
    assert "1 records of the sample have no result yet" in feiyu("spotcheck", "close", ref, code=1)
    assert "record 0 is not in the sample" in feiyu("spotcheck", "find", ref, "0", code=1)
    assert "has its result already" in feiyu("spotcheck", "find", ref, indexes[1], code=1)
    assert feiyu("spotcheck", "find", ref, indexes[0])["state"] == "FINDING"
    assert "that is FINDING takes no close; it takes" in feiyu("spotcheck", "close", ref, code=1)
    assert "cannot be escalated" in feiyu("spotcheck", "close", ref, "--escalate", code=1)
    assert feiyu("spotcheck", "rectify", ref)["state"] == "RECTIFYING"
    assert feiyu("spotcheck", "close", ref)["state"] == "VERIFIED"
    shown = feiyu("spotcheck", "show", ref)
    assert (shown["state"], shown["findings"], shown["steps"][0]["detail"]) == ("VERIFIED", 1, "plan")
    assert [item["id"] for item in feiyu("spotcheck", "show")] == [ref]
    assert "there is no spot check 0000000000000000" in feiyu("spotcheck", "show", "0000000000000000", code=1)
    assert run(["evidence", "verify", "--config", str(config)]) == 0, "its steps are leaves as all others"


def test_two_sides_that_do_not_trust_each_other_draw_together(feiyu: Any, tmp_path: Path, capsys: Output) -> None:
    commitments = []
    for role in ("regulator", "operator"):
        capsys.readouterr()
        assert run(["spotcheck", "commit", "--role", role, "--out", str(tmp_path / role)]) == 0
        commitments.append(capsys.readouterr().out.strip())
        assert (tmp_path / role).stat().st_mode & 0o777 == 0o600
    file, after = str(tmp_path / "check.json"), int(time.time()) + 2
    commit = ["--commit", *commitments, "--after", f"@{after}"]
    feiyu("spotcheck", "plan", "--since", "1h", *commit, "--confidence", "90", "--rate", "10", "--out", file)
    until(after)
    reveal = ["--reveal", "regulator", str(tmp_path / "regulator")]
    assert "the secret of the operator is missing" in feiyu("spotcheck", "draw", file, *reveal, code=2)
    swapped = ["--reveal", "regulator", str(tmp_path / "operator"), "--reveal", "operator", str(tmp_path / "regulator")]
    assert "is not the one that the plan holds" in feiyu("spotcheck", "draw", file, *swapped, code=2)
    feiyu("spotcheck", "draw", file, *reveal, "--reveal", "operator", str(tmp_path / "operator"))
    told = feiyu("spotcheck", "verify", file)
    assert [len(found) for found in told["samples"].values()] == [20, 20]


PLANS = {
    "no value": (["--after", "1h"], 2, "say with which value"),
    "two values": (["--after", "1h", "--source", "x", "--commit", "0" * 64, "0" * 64], 2, "say with which value"),
    "a value from before": (["--after", "@1", "--source", "x"], 2, "the value may appear before the time"),
    "no percentage": (["--after", "1h", "--source", "x", "--rate", "all"], 2, "'all' is not a percentage"),
    "no such field": (["--after", "1h", "--source", "x", "--stratum", "a user=x"], 2, "'user=x' is none of"),
    "a bad commitment": (["--after", "1h", "--commit", "0", "1"], 2, "commitments need one SHA-256"),
}


@pytest.mark.parametrize(("options", "code", "why"), PLANS.values(), ids=PLANS)
def test_plans_that_cannot_be(options: list[str], code: int, why: str, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "feiyu.yaml"
    path.write_text(CONFIG.format(tmp_path))
    assert run(["init", "--config", str(path)]) == 0
    out = str(tmp_path / "check.json")
    call = ["spotcheck", "plan", "--since", "1h", "--out", out, "--reason", "x", "--config", str(path), "--lang", "en"]
    assert run([*call, *options]) == code
    assert why in capsys.readouterr().err
    assert not Path(out).exists()
