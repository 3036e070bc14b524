"""Where lint says that a rule can fire."""

from typing import Any

import pytest

from telemetry.interception.where import verdicts
from tests.telemetry.interception.rule_kit import correlation, id_of, rule, ruleset

EVERYWHERE = ["tunnel", "plain HTTP", "inspected"]

NOT_OURS = (
    "log source category process_creation is not this gateway's (those are proxy, webserver, dns, firewall, network)"
)


def at(places: list[str], names: list[str]) -> dict[str, list[str]]:
    """The same fields lacking at each place."""
    return dict.fromkeys(places, names)


CASES: list[tuple[str, dict[str, Any], list[str], dict[str, list[str]], str]] = [
    ("a host is seen everywhere", rule({"cs-host": "a.example"}), EVERYWHERE, {}, ""),
    ("a path is not, in a tunnel", rule({"cs-uri-stem": "/a"}), EVERYWHERE[1:], {"tunnel": ["cs-uri-stem"]}, ""),
    ("a tunnel's method is CONNECT", rule({"cs-method": "GET"}), EVERYWHERE[1:],
        {"tunnel": ["cs-method (no such value)"]}, ""),
    ("and nothing else's is", rule({"cs-method": "CONNECT"}), ["tunnel"],
        at(EVERYWHERE[1:], ["cs-method (no such value)"]), ""),
    ("a URI with a path is no tunnel's", rule({"c-uri|contains": "/x/"}), EVERYWHERE[1:],
        {"tunnel": ["c-uri (no such value)"]}, ""),
    ("nor is one that a pattern needs", rule({"c-uri|re": "example.*/x"}), EVERYWHERE[1:],
        {"tunnel": ["c-uri (no such value)"]}, ""),
    ("part of a host may be", rule({"c-uri|contains": "evil"}), EVERYWHERE, {}, ""),
    ("the hello is not seen in plain HTTP", rule({"ja4": "x"}), ["tunnel", "inspected"], {"plain HTTP": ["ja4"]}, ""),
    ("a query is never recorded", rule({"c-uri-query": "x"}), [], at(EVERYWHERE, ["c-uri-query"]),
        "c-uri-query not recorded"),
    ("nor is a text with a query's mark in a URI", rule({"c-uri|contains": r"x\?y"}), [],
        at(EVERYWHERE, ["c-uri (no such value)"]), "c-uri (no such value) not recorded"),
    ("what is not asked for may be missing", rule({"s": {"cs-host": "x"}, "f": {"cs-cookie": "y"},
        "condition": "s and not f"}),
        EVERYWHERE, {}, ""),
    ("another way remains", rule({"s": {"cs-host": "x"}, "t": {"cs-cookie": "y"}, "condition": "1 of them"}),
        EVERYWHERE, {}, ""),
    ("webservers have paths", rule({"cs-host": "x"}, category="webserver"), EVERYWHERE[1:], {}, ""),
    ("a condition against itself", rule({"s": {"cs-host": "x"}, "condition": "s and not s"}), [],
        at(EVERYWHERE, []), "its condition contradicts itself"),
    ("another product", rule({"cs-host": "x"}, logsource={"category": "proxy", "product": "zscaler"}), [], {},
        "log source product zscaler is not this gateway"),
    ("another category", rule({"Image": "x"}, logsource={"category": "process_creation"}), [], {},
        NOT_OURS),
    ("another service", rule({"cs-host": "x"}, logsource={"category": "proxy", "service": "squid"}), [], {},
        "log source service squid is not this gateway's"),
    ("records of the node", rule({"values.contract_days|lt": 30}, logsource={"product": "feiyu", "service": "node"}),
        ["node"],
        {}, ""),
    ("new countries without the operator's file", rule({"cs-host": "x"}, new={"field": "dst_country",
        "per": ["tenant"]}), [],
        at(EVERYWHERE, ["dst_country"]), "dst_country not recorded"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "document", "places", "lacking", "never"), CASES, ids=[case[0] for case in CASES])
def test_where(
    sentence: str, document: dict[str, Any], places: list[str], lacking: dict[str, list[str]], never: str
) -> None:
    (verdict,) = verdicts(ruleset(document)).values()
    assert [str(place) for place in verdict.places] == places, sentence
    assert {str(place): list(names) for place, names in verdict.lacking.items()} == lacking, sentence
    assert verdict.never == never, sentence


def test_with_the_operators_file_the_rule_can_fire() -> None:
    document = rule({"dst_country": "HK"})
    (verdict,) = verdicts(ruleset(document, networks="203.0.113.0/24,64500,HK")).values()
    assert [str(place) for place in verdict.places] == EVERYWHERE


@pytest.mark.parametrize(
    ("sentence", "type_", "rules", "places", "never"),
    [
        ("it needs all of its rules", "temporal", ["a", "mute"], [], f"rule {id_of('mute')} never fires"),
        ("or any of them", "event_count", ["a", "mute"], ["plain HTTP", "inspected"], ""),
        ("but one", "event_count", ["mute"], [], f"rule {id_of('mute')} never fires"),
    ],
)
def test_correlations(sentence: str, type_: str, rules: list[str], places: list[str], never: str) -> None:
    base = [rule({"cs-uri-stem": "/a"}, "a"), rule({"c-uri-query": "x"}, "mute")]
    found = verdicts(ruleset(*base, correlation("c", rules, {"gte": 2}, type=type_, group_by=["tenant"])))
    assert [str(place) for place in found[id_of("c")].places] == places, sentence
    assert found[id_of("c")].never == never, sentence


def test_a_group_that_a_place_does_not_know_keeps_it_from_firing_there() -> None:
    counted = correlation("c", ["a"], {"gte": 2}, type="event_count", group_by=["ja4"])
    verdict = verdicts(ruleset(rule({"cs-host": "x"}, "a"), counted))[id_of("c")]
    assert [str(place) for place in verdict.places] == ["tunnel", "inspected"]
    assert {str(p): list(n) for p, n in verdict.lacking.items()} == {"plain HTTP": ["ja4"]}
