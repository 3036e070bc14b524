"""The industry packs are policy files in the one layout: without a warning, with tests that pass, and disjoint."""

import re
from collections import Counter
from pathlib import Path

import pytest

import configs
from ops.policyfile.layout import formatted
from ops.policyfile.lint import lint
from ops.policyfile.read import read_files
from whitelist import suite
from whitelist.offline import document_of
from whitelist.store import KINDS
from whitelist.trial import Trial

PACKS = sorted((Path(configs.__file__).parent / "packs").glob("*.yaml"))
NOW = 1_796_000_000  # when they were written; what ends is renewed with a new version


def test_there_is_one_for_each_industry() -> None:
    assert [path.stem for path in PACKS] == ["automotive", "finance", "logistics", "trade"]


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_a_pack_is_sound_and_its_tests_pass_and_show_denials_too(path: Path) -> None:
    assert formatted(path.name, path.read_text()) == path.read_text()
    read = read_files([path])
    assert lint(read, NOW) == []
    document, _ = document_of(read.proposal, KINDS)
    results = suite.run(Trial.of(document), read.proposal.tests, NOW)
    assert [result.fault for result in results if not result.passed] == []
    verdicts = Counter(test.verdict for test in read.proposal.tests)
    assert verdicts["permit"] >= 2
    assert verdicts["deny"] >= 3
    assert re.search(r"^version: [0-9]+\.[0-9]+\.[0-9]+$", path.read_text(), re.MULTILINE)


def test_the_example_is_sound_and_its_tests_pass() -> None:
    path = PACKS[0].parents[1] / "zone" / "policy.yaml"
    assert formatted(path.name, path.read_text()) == path.read_text()
    read = read_files([path])
    assert lint(read, NOW) == []
    results = suite.run(Trial.of(document_of(read.proposal, KINDS)[0]), read.proposal.tests, NOW)
    assert [result.fault for result in results if not result.passed] == []


def test_the_packs_can_all_be_applied_together() -> None:
    assert [finding for finding in lint(read_files(PACKS), NOW) if not finding.warning] == []
