"""The tests that are said to try an attack are there."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.attacks import ATTACKS, OPEN

TESTS = Path(__file__).parent


@cache
def functions(path: str) -> frozenset[str]:
    """The tests of a file."""
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def texts(path: str) -> frozenset[str]:
    """Every text constant of a file, among them the cases of its tables."""
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    return frozenset(
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str
    )


@pytest.mark.parametrize("kind", ATTACKS)
def test_every_attack_of_a_class_has_its_tests(kind: str) -> None:
    for attack, tests in ATTACKS[kind].items():
        assert tests, attack
        for test in tests:
            path, _, rest = test.partition("::")
            function, _, case = rest.removesuffix("]").partition("[")
            assert function in functions(path), f"{attack}: no {function} in {path}"
            assert not case or case in texts(path), f"{attack}: no case {case!r} in {path}"


def test_what_is_open_is_not_claimed() -> None:
    claimed = {attack for tests in ATTACKS.values() for attack in tests}
    assert not claimed & set(OPEN)
