"""Rules that are refused: each with its line, what is wrong, and what to do."""

from pathlib import Path
from typing import Any

import pytest

from telemetry.interception.problem import Problem, RulesError
from telemetry.interception.ruleset import load

HEAD = """title: A rule
id: 6c1c9c1a-6f0b-4a52-8a86-000000000001
name: a
logsource:
  category: proxy
"""
RULE = HEAD + "detection:\n  selection:\n    cs-host: a.example\n  condition: selection\n"
COUNT = """---
title: A count
id: 6c1c9c1a-6f0b-4a52-8a86-000000000002
correlation:
  type: event_count
  rules: [a]
  group-by: [tenant]
  timespan: 5m
  condition: {gte: 5}
"""


def with_(old: str, new: str, text: str = RULE) -> str:
    assert old in text
    return text.replace(old, new)


def item(key: str, value: str = "x") -> str:
    return with_("cs-host: a.example", f"{key}: {value}")


def response(text: str) -> str:
    return RULE + "response:\n  type: feiyu\n" + "".join(f"  {line}\n" for line in text.split("; "))


# (sentence, text, line, part of what is said, part of the remedy)
CASES: list[tuple[str, str, int, str, str]] = [
    ("no YAML", "title: [", 2, "not YAML", "correct"),
    ("no mapping", "- 1", 1, "a document is a mapping", "correct"),
    ("nested without end", "a: " + "[" * 9000 + "]" * 9000, 1, "", "correct"),
    ("aliases that stand for millions", "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)), 1, "nodes",
            "correct"),
    ("a key twice", RULE + "title: again\n", 10, "stands there twice", "correct"),
    ("an unknown field", item("cs-hots"), 8, "unknown field 'cs-hots'", "did you mean cs-host"),
    ("an unknown modifier", item("cs-host|contain"), 8, "unknown modifier 'contain'", "did you mean contains"),
    ("a pattern that looks around", item("cs-host|re", "'a(?=b)'"), 8, "cannot be used", "RE2"),
    ("a pattern with a back reference", item("cs-host|re", r"'(a)\1'"), 8, "cannot be used", "RE2"),
    ("a pattern that is none", item("cs-host|re", "'a('"), 8, "cannot be used", "RE2"),
    ("a pattern that would grow without end", item("cs-host|re", "'((a{1,100}){1,100}){1,100}'"), 8,
        "cannot be used", "RE2"),
    ("a number of a text", item("cs-host|gt", "5"), 8, "cs-host is text, and gt needs a number", "cs-bytes"),
    ("a text of a number", item("dst_port", "https"), 8, "dst_port is a number", "write a number"),
    ("lt of a text", item("cs-bytes|lt", "many"), 8, "", "correct the value"),
    ("cidr of a number", item("cs-bytes|cidr", "10.0.0.0/8"), 8, "no address", "src_ip"),
    ("cidr that is none", item("src_ip|cidr", "10.0.0.1/8"), 8, "CIDR", "correct the value"),
    ("parts of a time of a text", item("cs-host|hour", "5"), 8, "cs-host is no time", "the field time"),
    ("exists with a text", item("cs-host|exists", "perhaps"), 8, "", "correct the value"),
    ("a placeholder without values", item("cs-host|expand", "'%bad%'"), 8, "placeholder %bad%", "placeholders.yaml"),
    ("values inside values", item("cs-host", "{a: b}"), 8, "a text, a number, or a list", "as a list"),
    ("a condition that names nothing", with_("condition: selection", "condition: selektion"), 9, "selektion",
        "condition"),
    ("a condition of old", with_("condition: selection", "condition: selection | count() > 5"), 9, "pipe", "condition"),
    ("a selector that selects nothing", with_("condition: selection", "condition: 1 of x*"), 9, "x*", "condition"),
    ("a condition with a gap", with_("condition: selection", "condition: selection and"), 9, "", "condition"),
    ("no condition", with_("  condition: selection\n", ""), 6, "condition", "correct"),
    ("no detection", HEAD, 1, "neither detection nor correlation", "write one"),
    ("both detection and correlation", RULE + "correlation: {}\n", 6, "detection and correlation", "one of them"),
    ("no log source", RULE.replace("logsource:\n  category: proxy\n", ""), 4, "log source", "correct"),
    ("no id", with_("id: 6c1c9c1a-6f0b-4a52-8a86-000000000001\nname: a\n", ""), 1, "needs an id", "UUID"),
    ("an id that is none", with_("6c1c9c1a-6f0b-4a52-8a86-000000000001", "x"), 2, "UUID", "correct id"),
    ("no title", with_("title: A rule\n", ""), 1, "needs a title", "title:"),
    ("a level that is none", RULE + "level: awful\n", 10, "awful", "correct level"),
    ("an action at the top", RULE + "action: block\n", 10, "command to Sigma's tools", "below response:"),
    ("custom_attributes", RULE + "custom_attributes: {}\n", 10, "dropped in silence", "response:"),
    ("a misspelt key", RULE + "respones: {}\n", 10, "unknown key 'respones'", "did you mean response"),
    ("a response of another product", RULE + "response: {type: soar}\n", 10, "response of type 'soar'", "feiyu"),
    ("a misspelt key in it", response("action: alert; scpoe: flow"), 13, "unknown key 'scpoe'", "did you mean scope"),
    ("an action that is none", response("action: explode"), 12, "'explode' is none of", "alert | throttle"),
    ("a cut of a firm", response("action: cut; scope: tenant"), 13, "cannot have scope tenant", "scope: flow"),
    ("a block of a flow", response("action: block; for: 1h"), 10, "cannot have scope flow", "user | tenant"),
    ("a block without end", response("action: block; scope: tenant"), 10, "for how long", "for: 1h"),
    ("a block for ever", response("action: block; scope: tenant; for: 99d"), 14, "no time up to 30d", "for: 1h"),
    ("an alert for an hour", response("action: alert; for: 1h"), 13, "no duration", "remove for"),
    ("a throttle of a user", response("action: throttle; scope: user; for: 1h; rate: 5"), 13, "cannot have scope",
        "tenant"),
    ("a throttle without a rate", response("action: throttle; scope: tenant; for: 1h"), 10, "needs a rate", "rate: 5"),
    ("simulate: perhaps", response("action: alert; simulate: perhaps"), 13, "neither true nor false", "true or false"),
    ("new of an unknown field", RULE + "new: {field: cs-hots, per: [tenant]}\n", 10, "unknown field 'cs-hots'",
        "cs-host"),
    ("new without a group", RULE + "new: {field: cs-host}\n", 10, "per", "per:"),
    ("a correlation of what is not there", with_("[a]", "[b]", RULE + COUNT), 15, "the id or name 'b'", "add it"),
    ("of itself", with_("[a]", "[6c1c9c1a-6f0b-4a52-8a86-000000000002]", RULE + COUNT), 15, "refers to itself",
        "circle"),
    ("by an unknown field", with_("[tenant]", "[tennant]", RULE + COUNT), 16, "unknown field 'tennant'", "tenant"),
    ("by a field that is never recorded", with_("[tenant]", "[cs-cookie]", RULE + COUNT), 16, "never recorded",
        "another"),
    ("of a type that is none", with_("event_count", "event_sum", RULE + COUNT), 13, "event_sum", "correct"),
    ("without a timespan", with_("  timespan: 5m\n", "", RULE + COUNT), 13, "timespan", "correct"),
    ("over a time that is none", with_("5m", "5x", RULE + COUNT), 17, "5x", "timespan"),
    ("over years", with_("5m", "2y", RULE + COUNT), 17, "longer than 90 days", "90d"),
    ("without a condition", with_("  condition: {gte: 5}\n", "", RULE + COUNT), 13, "condition", "correct"),
    ("with two conditions", with_("{gte: 5}", "{gte: 5, lte: 9}", RULE + COUNT), 13, "exactly one", "correct"),
    ("values without a field", with_("event_count", "value_count", RULE + COUNT), 13, "field", "correct"),
    ("a percentile without a number", with_("{gte: 5}", "{gte: 5, field: cs-bytes}",
        with_("event_count", "value_percentile", RULE + COUNT)), 18, "no percentile", "percentile: 95"),
    ("a block of a firm that hits are not grouped by", with_("[tenant]", "[src_ip]", RULE + COUNT)
        + "response: {type: feiyu, action: block, scope: tenant, for: 1h}\n", 16, "does not know which tenant",
            "add tenant"),
    ("two rules of one id", RULE + "---\n" + with_("name: a\n", ""), 12, "is that of", "another id"),
    ("two rules of one name", RULE + "---\n" + with_("0001", "0003"), 13, "the name 'a' is that of", "another name"),
    ("the same finding with two answers", RULE + "---\n" + with_("name: a\n", "", with_("0001", "0003"))
        + "response: {type: feiyu, action: cut}\n", 11, "finds what", "make the responses equal"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "text", "line", "what", "remedy"), CASES, ids=[case[0] for case in CASES])
def test_refused(sentence: str, text: str, line: int, what: str, remedy: str, tmp_path: Path) -> None:
    file = tmp_path / "rule.yml"
    file.write_text(text)
    with pytest.raises(RulesError) as refused:
        load([tmp_path])
    said = refused.value.problems
    assert [(p.file, p.line) for p in said] == [(str(file), line)], (sentence, [str(p) for p in said])
    assert what in said[0].what, sentence
    assert remedy in said[0].remedy, sentence


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(item("cs-hots"))
    (tmp_path / "a.yml").write_text(item("cs-host|contain") + "level: awful\n")
    (tmp_path / "c.yml").write_bytes(b"title: \xff\n")
    (tmp_path / "networks.csv").write_text("# ours\n203.0.113.0/24,64500,HK\n203.0.113.0/99,1,HK\n")
    with pytest.raises(RulesError) as refused:
        load([tmp_path, tmp_path / "missing.yml"])
    places = [(Path(p.file).name, p.line) for p in refused.value.problems]
    assert places == [("a.yml", 8), ("b.yml", 8), ("c.yml", 1), ("missing.yml", 1), ("networks.csv", 3)]


def test_the_rule_that_these_are_made_from_is_sound(tmp_path: Path) -> None:
    (tmp_path / "rule.yml").write_text(RULE + COUNT)
    assert len(load([tmp_path])) == 2


def test_values_of_odd_types_are_refused_and_break_nothing(tmp_path: Path) -> None:
    odd: list[Any] = ["[]", "{}", "null", "1", "'x'", "[[a]]", "[{a: 1}]", "2026-01-01", "!!binary aGk=", "[null]"]
    keys = (
        "detection",
        "logsource",
        "correlation",
        "response",
        "tests",
        "new",
        "title",
        "id",
        "level",
        "tags",
        "related",
    )
    for key in keys:
        for value in odd:
            base = "\n".join(line for line in RULE.splitlines() if not line.startswith((f"{key}:",)))
            if key in ("detection", "logsource"):
                base = HEAD if key == "detection" else RULE.replace("logsource:\n  category: proxy\n", "")
            (tmp_path / "rule.yml").write_text(f"{base}\n{key}: {value}\n")
            said: list[Problem] = []
            try:
                load([tmp_path])
            except RulesError as refused:
                said = refused.problems
            assert all(problem.line > 0 and problem.remedy for problem in said)
