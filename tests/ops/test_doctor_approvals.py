"""The doctor says who checks approvals, and never that somebody does who does not."""

from pathlib import Path

import pytest

from ops.doctor import approvals
from ops.doctor.finding import Level
from ops.settings import Settings

ONE, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("pinned", "configured", "level", "words"),
    [
        pytest.param("", "", Level.OK, "no accounts", id="a node of one person"),
        pytest.param(ONE, "", Level.WARN, "control alone", id="accounts, and no notary"),
        pytest.param(ONE, ONE, Level.OK, "the notary checks", id="accounts and a notary"),
        pytest.param(ONE, OTHER, Level.WARN, "another zone", id="a notary of another zone"),
        pytest.param("", ONE, Level.OK, "the notary checks", id="a notary before control first ran"),
    ],
)
def test_who_checks_approvals(tmp_path: Path, pinned: str, configured: str, level: Level, words: str) -> None:
    if pinned:
        (tmp_path / "zone").write_text(f"{pinned}\n")
    settings = Settings(node="gw1", listeners=(), state_dir=str(tmp_path), zone=configured)
    found = approvals.examine(settings)
    assert (found.level, words in found.seen) == (level, True), found
    if pinned and not configured:
        assert f"zone: {ONE}" in found.remedy
