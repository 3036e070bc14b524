"""The clause map claims nothing that no test shows, and leaves no clause of the domain out."""

import ast
from functools import cache
from pathlib import Path

import pytest

from ops.cli.main import run
from ops.compliance import Clause, Met, clauses

ROOT = Path(__file__).parents[2]
BY_ID = {one.id: one for one in clauses()}
# What the zone's rules name: MLPS level 3 by its numbers, GB/T 39786 level 3 by its subjects.
NAMED = {
    "8.1.3.2": 2, "8.1.3.3": 1, "8.1.3.5": 1, "8.1.4.1": 1, "8.1.4.2": 1, "8.1.4.3": 1, "8.1.5.1–8.1.5.3": 1,
    "网络边界访问控制信息的完整性": 1, "日志记录的完整性": 1, "访问控制信息的完整性": 1, "不可否认性": 1,
    "密码算法、技术、产品与服务": 1,
}  # fmt: skip


@cache
def functions_of(path: str) -> frozenset[str]:
    """The names of a file's tests."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, kinds))


@pytest.mark.parametrize("one", clauses(), ids=lambda one: one.id)
def test_a_clause_names_tests_that_there_are(one: Clause) -> None:
    for name in one.tests:
        path, _, function = name.partition("::")
        assert path.startswith("tests/")
        assert function.startswith("test_")
        assert function in functions_of(path), name
    assert bool(one.tests) is (one.state is not Met.MISSING), "what is missing is shown by nothing, all else by a test"


@pytest.mark.parametrize("one", clauses(), ids=lambda one: one.id)
def test_a_clause_is_said_whole_in_both_languages(one: Clause) -> None:
    for words in (one.requirement, one.feature, one.operator):
        assert words.zh.strip()
        assert words.en.strip()
        assert any("\u4e00" <= char <= "\u9fff" for char in words.zh)
        assert not any("\u4e00" <= char <= "\u9fff" for char in words.en)
    if one.state is not Met.MET:
        unmet = any(word in one.feature.en for word in ("yet", "Not ", "not "))
        assert unmet, "what is not met says what is missing"


def test_no_clause_of_the_domain_is_left_out_and_none_stands_twice() -> None:
    assert len(BY_ID) == len(clauses())
    for clause, count in NAMED.items():
        assert sum(one.clause == clause for one in clauses()) == count, clause


def test_the_report_says_all_and_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "compliance", "--lang", "en"]) == 0
    shown = capsys.readouterr()
    assert all(name in shown.out for name in BY_ID)
    assert "Software is no certificate." in shown.err
    for language, word in (("en", "default deny"), ("zh", "边界默认拒绝")):
        assert run(["report", "compliance", "mlps-8.1.3.2-deny", "--lang", language]) == 0
        out = capsys.readouterr().out
        assert word in out
        assert "tests/netns/test_leaks.py::test_no_packet_leaves_elsewhere_without" in out
    assert run(["report", "compliance", "mlps-9", "--lang", "en"]) == 1
    assert "there is no clause mlps-9" in capsys.readouterr().err
