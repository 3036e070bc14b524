"""What is wrong with one document, key by key, each with its line.

Whatever pySigma would pass over in silence, or refuse without a line, is looked at here before it reads the rule.
"""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from sigma.exceptions import SigmaError
from sigma.modifiers import modifier_mapping
from sigma.rule import SigmaDetectionItem
from sigma.types import SigmaExpansion, SigmaType

from telemetry.interception.document import Document
from telemetry.interception.leaf import leaf_of
from telemetry.interception.novelty import parse_new
from telemetry.interception.pattern import LeafError, compile_pattern
from telemetry.interception.problem import FaultError
from telemetry.interception.response import parse_response
from telemetry.interception.rule import LIST_FIELDS, Given, expand, said, source_in
from telemetry.interception.taxonomy import Source, UnknownFieldError, field_of

_KEYS = ("title", "id", "name", "related", "status", "description", "license", "references", "author", "date",
    "modified", "tags", "logsource", "detection", "correlation", "filter", "fields", "falsepositives", "level", "scope",
    "taxonomy", "generate", "response", "tests", "runbook", "new")  # fmt: skip


def check(document: Document, given: Given) -> Iterator[FaultError]:
    """All that can be said of one document before it is compiled."""
    body = document.body
    yield from _keys(body)
    if "detection" in body:
        source = source_in(body, given)
        if isinstance(body["detection"], dict):
            yield from _detections(body["detection"], source, given)
    for parse, key in ((parse_response, "response"), (parse_new, "new")):
        try:
            parse(body.get(key))
        except FaultError as fault:
            yield fault
    if "new" in body and "detection" not in body:
        yield FaultError(("new",), "only a rule with a detection can ask for what is new", "move new: to that rule")


def _keys(body: dict[str, Any]) -> Iterator[FaultError]:
    if "action" in body:
        yield FaultError(("action",), "`action:` at the top is a command to Sigma's tools", "write it below response:")
    if "custom_attributes" in body:
        yield FaultError(
            ("custom_attributes",), "custom_attributes would be dropped in silence", "write response:, tests:, runbook:"
        )
    for key in body:
        if key not in _KEYS and (near := difflib.get_close_matches(str(key), _KEYS, n=1, cutoff=0.8)):
            yield FaultError((str(key),), f"unknown key {key!r:.60}", f"did you mean {near[0]}?")
    kinds = [key for key in ("detection", "correlation", "filter") if key in body]
    if len(kinds) != 1:
        said = " and ".join(kinds) or "neither detection nor correlation nor filter"
        yield FaultError(tuple(kinds[:1]), f"a rule has {said}", "write one of them")
    if "id" not in body and "name" not in body:
        yield FaultError((), "a rule needs an id, so that its hits can be told apart", "write id: and a new UUID")
    if not isinstance(body.get("title"), str) or not body["title"].strip():
        yield FaultError(("title",), "a rule needs a title", "write title:")


def _detections(detection: dict[str, Any], source: Source, given: Given) -> Iterator[FaultError]:
    for name, definition in detection.items():
        if name != "condition":
            yield from _definition(("detection", str(name)), definition, source, given)


def _definition(where: tuple[str, ...], what: Any, source: Source, given: Given) -> Iterator[FaultError]:
    if isinstance(what, dict):
        for key, value in what.items():
            yield from _item((*where, str(key)), str(key), value, source, given)
    elif isinstance(what, list):
        for number, item in enumerate(what):
            if isinstance(item, dict | list):
                yield from _definition((*where, str(number)), item, source, given)
            else:
                yield from _item((*where, str(number)), None, item, source, given)
    else:
        yield from _item(where, None, what, source, given)


def _item(where: tuple[str, ...], key: str | None, value: Any, source: Source, given: Given) -> Iterator[FaultError]:
    name, *modifiers = (key or "").split("|")
    for modifier in modifiers:
        if modifier not in modifier_mapping:
            near = difflib.get_close_matches(modifier, modifier_mapping, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"modifiers are {', '.join(sorted(modifier_mapping))}"
            yield FaultError(where, f"unknown modifier {modifier!r:.60}", remedy)
            return
    if any(isinstance(part, dict | list) for part in (value if isinstance(value, list) else [value])):
        if isinstance(value, list) and not any(isinstance(part, dict | list) for part in value):
            return
        yield FaultError(where, "a field's value is a text, a number, or a list of them", "write the values as a list")
        return
    try:
        if "re" in modifiers:
            for pattern in value if isinstance(value, list) else [value]:
                compile_pattern(str(pattern))
        found = field_of(name, source) if name else None
        item = SigmaDetectionItem.from_mapping(key, value)
        expand(item, given)
        for each in _plain(item.value):
            leaf_of(name, found, each, lambda other: field_of(other, source))
    except UnknownFieldError as unknown:
        remedy = f"did you mean {' or '.join(unknown.near)}?" if unknown.near else LIST_FIELDS
        yield FaultError(where, f"unknown field {unknown.name!r:.80}", remedy)
    except LeafError as error:
        yield FaultError(where, error.what, error.remedy)
    except SigmaError as error:
        yield FaultError(where, said(error), "correct the value or its modifiers")
    except (TypeError, ValueError, AttributeError) as error:  # of pySigma, on values of other types than it expects
        yield FaultError(where, f"the value does not fit its modifiers ({error})", "correct the value or its modifiers")


def _plain(values: Iterable[SigmaType]) -> Iterator[SigmaType]:
    for value in values:
        if isinstance(value, SigmaExpansion):
            yield from _plain(value.values)
        else:
            yield value
