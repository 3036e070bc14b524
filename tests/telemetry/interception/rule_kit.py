"""Rules written in a test, and records for them."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

import yaml

from telemetry.interception.document import parse
from telemetry.interception.engine import Engine
from telemetry.interception.networks import Networks
from telemetry.interception.problem import Problem
from telemetry.interception.rule import Given, Rule
from telemetry.interception.ruleset import RuleSet, build
from telemetry.interception.ruletest import records
from telemetry.record import Record


def id_of(name: str) -> str:
    """A rule's id, from its name."""
    return str(uuid5(NAMESPACE_URL, name))


def rule(detection: Any, name: str = "a", category: str = "proxy", **more: Any) -> dict[str, Any]:
    """A document; a detection without a condition is the selection itself."""
    whole = isinstance(detection, dict) and "condition" in detection
    return {
        "title": f"Rule {name}",
        "id": id_of(name),
        "name": name,
        "level": "high",
        "author": "an author",
        "logsource": {"category": category},
        "detection": detection if whole else {"selection": detection, "condition": "selection"},
        **more,
    }


def correlation(
    name: str, rules: list[str], condition: Any = None, timespan: str = "10m", **more: Any
) -> dict[str, Any]:
    """A correlation document; type, group-by and aliases come with more."""
    own = {"level", "response", "tests"}
    inside = {key.replace("_", "-"): value for key, value in more.items() if key not in own}
    if condition is not None:
        inside["condition"] = condition
    return {
        "title": f"Correlation {name}",
        "id": id_of(name),
        "name": name,
        "correlation": {"rules": rules, "timespan": timespan, **inside},
        **{key: value for key, value in more.items() if key in own},
    }


def attempt(
    *documents: dict[str, Any], placeholders: dict[str, list[str]] | None = None, networks: str = ""
) -> tuple[RuleSet, list[Problem]]:
    """The set and what is wrong with it."""
    text = "---\n".join(yaml.safe_dump(document, sort_keys=False, allow_unicode=True) for document in documents)
    given = Given(placeholders or {}, Networks(networks.splitlines()) if networks else None)
    return build(parse(text, "rules.yml"), given)


def ruleset(*documents: dict[str, Any], **given: Any) -> RuleSet:
    """A set with nothing wrong."""
    found, problems = attempt(*documents, **given)
    assert not problems, [str(problem) for problem in problems]
    return found


def only(*documents: dict[str, Any], **given: Any) -> Rule:
    """The one rule of a set."""
    (found,) = ruleset(*documents, **given).rules.values()
    return found


def record(**fields: Any) -> Record:
    """An ordinary flow's record with these fields."""
    return next(records([fields]))


def hits(engine: Engine, *given: dict[str, Any]) -> list[str]:
    """Titles of the rules that these records hit, in order."""
    for each in records(list(given)):
        engine.tick(each.time)
        engine.take(each)
    found = [hit.head.title for hit in engine.hits]
    engine.hits.clear()
    return found
