"""feiyu rule, from files: what it says and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli import main

ROOT = Path(main.__file__).parents[2]
RULE = """title: {title}
id: 6c1c9c1a-6f0b-4a52-8a86-00000000000{n}
level: high
author: an author
logsource: {{category: proxy}}
detection: {{selection: {{{selection}}}, condition: selection}}
{more}
"""
TESTS = (
    "tests: [{name: one, records: [{host: a.example}], hits: %d}, {name: none, records: [{host: b.example}], hits: 0}]"
)


def feiyu(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "ops.cli.main", "rule", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def rule(n: int = 1, title: str = "a rule", selection: str = "cs-host: a.example", more: str = "") -> str:
    return RULE.format(n=n, title=title, selection=selection, more=more)


def test_lint_says_where_a_rule_can_fire(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(rule())
    (tmp_path / "b.yml").write_text(rule(2, "another", "c-uri-query: x"))
    (tmp_path / "c.yaml").write_text(rule(3, "a third", "cs-uri-stem: /x"))
    done = feiyu("lint", tmp_path, "-o", "json")
    assert done.returncode == 0, done.stderr
    found = [(item["title"], item["fires"], item["never"]) for item in json.loads(done.stdout)]
    assert found == [
        ("a rule", ["tunnel", "plain HTTP", "inspected"], ""),
        ("another", [], "c-uri-query not recorded"),
        ("a third", ["plain HTTP", "inspected"], ""),
    ]
    assert "3 rules are sound; 1 of them can never fire here" in done.stderr


def test_lint_refuses_with_file_line_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(rule(selection="cs-hots: a.example") + "levell: x\n")
    done = feiyu("lint", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"{tmp_path}/a.yml:6: unknown field 'cs-hots'; did you mean cs-host" in done.stderr
    assert f"{tmp_path}/a.yml:8: unknown key 'levell'; did you mean level?" in done.stderr
    assert "Nothing was changed" in done.stderr


@pytest.mark.parametrize("command", ["list", "lint", "test"])
def test_a_file_that_is_not_there(command: str, tmp_path: Path) -> None:
    done = feiyu(command, tmp_path / "none.yml")
    assert done.returncode == 1
    assert "none.yml:1: cannot be read: No such file or directory; correct the path" in done.stderr


def test_what_a_rule_says_of_itself_drives_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(rule(title='"\\e[2J\\u202eevil"'))
    done = feiyu("list", tmp_path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "\\x1b[2J\\u202eevil" in done.stdout


def test_list_shows_what_a_rule_does(tmp_path: Path) -> None:
    response = "response: {type: feiyu, action: block, scope: tenant, for: 2h, simulate: true}"
    (tmp_path / "a.yml").write_text(rule(more=response))
    done = feiyu("list", tmp_path)
    assert "block tenant 7200 s (simulated)" in done.stdout


def test_tests_pass_and_fail(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(rule(more=TESTS % 1))
    assert feiyu("test", tmp_path).returncode == 0
    (tmp_path / "a.yml").write_text(rule(more=TESTS % 2))
    done = feiyu("test", tmp_path)
    assert done.returncode == 1
    assert "test 'one': 1 hits instead of 2" in done.stderr
    (tmp_path / "a.yml").write_text(rule(more="tests: [{name: odd, records: [{hots: x}], hits: 1}]"))
    done = feiyu("test", tmp_path)
    assert done.returncode == 1
    assert "a record has no field hots" in done.stderr


def test_the_starter_pack_is_what_is_meant_where_nothing_is_named() -> None:
    done = feiyu("test", "-o", "json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)) > 40


def test_fields_of_a_log_source() -> None:
    done = feiyu("fields", "--category", "dns", "-o", "json")
    assert {
        "field": "host",
        "also": ["query", "queryname", "dns.question.name", "question_name", "r-dns"],
    }.items() <= next(item for item in json.loads(done.stdout) if item["field"] == "host").items()
    assert feiyu("fields", "--category", "mail").returncode == 2
