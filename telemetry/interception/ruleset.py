"""A set of rules: all files below some paths, read, compiled and checked against each other; all or nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from telemetry.interception.check import check
from telemetry.interception.correlation import Correlation, compile_correlation
from telemetry.interception.document import Document, files_below, read
from telemetry.interception.networks import FILE, Networks, NetworksError
from telemetry.interception.problem import FaultError, Problem, RulesError
from telemetry.interception.response import Response
from telemetry.interception.rule import Given, Rule, compile_rule, said

PLACEHOLDERS = "placeholders.yaml"
MAX_RULES = 20_000
_KINDS: dict[str, Any] = {"detection": SigmaRule, "correlation": SigmaCorrelationRule, "filter": SigmaFilter}


@dataclass(slots=True)
class RuleSet:
    """Rules and correlations by id, the latter in an order in which each comes after those it refers to."""

    rules: dict[str, Rule] = field(default_factory=dict)
    correlations: dict[str, Correlation] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rules) + len(self.correlations)

    def all(self) -> list[Rule | Correlation]:
        """Both."""
        return [*self.rules.values(), *self.correlations.values()]


def load(paths: Iterable[Path]) -> RuleSet:
    """The set of all rule files at or below the paths. Raises RulesError with all that is wrong."""
    documents: list[Document] = []
    placeholders: dict[str, list[str]] = {}
    networks: Networks | None = None
    problems: list[Problem] = []
    for path in paths:
        try:
            for file in files_below(path):
                if file.name == FILE:
                    networks = _networks(file, problems)
                    continue
                found, wrong = read(file)
                problems += wrong
                if file.name == PLACEHOLDERS:
                    problems += _placeholders(found, placeholders)
                else:
                    documents += found
        except OSError as error:
            where = error.filename or path
            problems.append(
                Problem(str(where), 1, "", f"cannot be read: {error.strerror or error}", "correct the path")
            )
    if len(documents) > MAX_RULES:
        problems.append(Problem(str(documents[-1].file), 1, "", f"more than {MAX_RULES} rules", "take fewer"))
    given = Given(placeholders, networks)
    found_set = RuleSet()
    if problems:  # what stands in files that cannot be read is not missing elsewhere: each document by itself
        problems += [_problem(d, fault) for d in documents for fault in check(d, given)]
    else:
        found_set, problems = build(documents, given)
    if problems:
        raise RulesError(sorted(problems, key=lambda p: (p.file, p.line)))
    return found_set


def build(documents: list[Document], given: Given) -> tuple[RuleSet, list[Problem]]:
    """The set of these documents, and all that is wrong with them; with problems the set is not whole."""
    problems: list[Problem] = []
    sound: list[tuple[Document, Any]] = []
    for document in documents:
        faults = [_problem(document, fault) for fault in check(document, given)]
        if not faults:
            parsed, faults = _parse(document)
            sound.append((document, parsed))
        problems += faults
    problems += _doubles(document for document, _ in sound)
    if problems:
        return RuleSet(), problems
    filters = [parsed for _, parsed in sound if isinstance(parsed, SigmaFilter)]
    found = RuleSet()
    names: dict[str, Rule | Correlation] = {}
    for document, parsed in sound:
        if isinstance(parsed, SigmaRule):
            for filter_ in filters:
                filter_.apply_on_rule(parsed)
            try:
                rule = compile_rule(document, parsed, given)
            except FaultError as fault:
                problems.append(_problem(document, fault))
                continue
            found.rules[rule.head.id] = rule
            names |= {rule.head.id: rule} | ({rule.head.name: rule} if rule.head.name else {})
    problems += _correlations([(d, p) for d, p in sound if isinstance(p, SigmaCorrelationRule)], found, names)
    problems += _contradictions(found)
    return found, problems


def _parse(document: Document) -> tuple[Any, list[Problem]]:
    kind = next(kind for key, kind in _KINDS.items() if key in document.body)
    try:
        parsed = kind.from_dict(document.body, collect_errors=True)
    except SigmaError as error:
        return None, [_told(document, error)]
    except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:  # pySigma on what it never met
        fault = FaultError((), f"the rule cannot be read ({type(error).__name__}: {error})", "compare it with another")
        return None, [_problem(document, fault)]
    return parsed, [_told(document, error) for error in parsed.errors]


def _told(document: Document, error: SigmaError) -> Problem:
    """pySigma's error at the line of the key that its type names."""
    word = type(error).__name__.removeprefix("Sigma").removesuffix("Error").lower()
    keys = {"identifier": "id", "condition": "detection", "timespan": "correlation", "logsource": "logsource"}
    key = keys.get(word, word)
    if key not in document.body:
        key = next((k for k in ("correlation", "detection", "filter") if k in document.body), key)
    path = ("detection", "condition") if word == "condition" else (key, "timespan") if word == "timespan" else (key,)
    return _problem(document, FaultError(path, said(error), f"correct {'.'.join(path)}"))


def _problem(document: Document, fault: FaultError) -> Problem:
    return Problem(document.file, document.line_of(*fault.where), document.title, fault.what, fault.remedy)


def _doubles(documents: Iterable[Document]) -> list[Problem]:
    """Two rules of one id or name: which is meant would be chance."""
    first: dict[tuple[str, str], Document] = {}
    problems = []
    for document in documents:
        for key in ("id", "name"):
            if value := str(document.body.get(key) or ""):
                other = first.setdefault((key, value), document)
                if other is not document:
                    what = f"the {key} {value!r:.80} is that of {other.file}:{other.line_of(key)} too"
                    problems.append(_problem(document, FaultError((key,), what, f"write another {key}, or remove one")))
    return problems


def _correlations(
    waiting: list[tuple[Document, SigmaCorrelationRule]], found: RuleSet, names: dict[str, Rule | Correlation]
) -> list[Problem]:
    """Compiles each after those it refers to; what is left refers to itself, perhaps by way of others."""
    problems: list[Problem] = []
    known = {str(document.body[key]) for document, _ in waiting for key in ("id", "name") if document.body.get(key)}
    while waiting:
        left = []
        for document, parsed in waiting:
            refs = _refs(parsed)
            if any(ref in known and ref not in names for ref in refs):
                left.append((document, parsed))
                continue
            known -= {str(document.body.get(key)) for key in ("id", "name")}
            try:
                correlation = compile_correlation(document, parsed, names)
            except FaultError as fault:
                problems.append(_problem(document, fault))
                continue
            found.correlations[correlation.head.id] = correlation
            names[correlation.head.id] = correlation
            if correlation.head.name:
                names[correlation.head.name] = correlation
            for part in correlation.parts:
                base = names[part.ref]
                base.output &= bool(parsed.generate)
                if not base.output and base.head.response != Response():
                    what = f"{base.head.title!r:.80} only counts for this correlation, so its response never happens"
                    silent = FaultError(("correlation", "rules"), what, "write generate: true, or remove its response")
                    problems.append(_problem(document, silent))
        if len(left) == len(waiting):
            for document, _ in left:
                what = "the correlation refers to itself, or to one that does"
                problems.append(_problem(document, FaultError(("correlation", "rules"), what, "break the circle")))
            break
        waiting = left
    return problems


def _refs(parsed: SigmaCorrelationRule) -> list[str]:
    if parsed.rules is not None:
        return [str(rule.reference) for rule in parsed.rules]
    return list(getattr(parsed.condition, "get_referenced_rules", list)())


def _contradictions(found: RuleSet) -> list[Problem]:
    """Rules that say the same of the same records and ask for different things."""
    first: dict[tuple[object, str], Rule | Correlation] = {}
    problems = []
    for rule in found.all():
        source = rule.source.category if isinstance(rule, Rule) else rule.parts
        other = first.setdefault((str(source), rule.text), rule)
        if other is not rule and other.head.response != rule.head.response:
            mine, theirs = rule.head.response, other.head.response
            what = (
                f"it finds what {other.head.file}:{other.head.line} finds, but asks for {_words(mine)} "
                f"where that asks for {_words(theirs)}"
            )
            head = rule.head
            problems.append(Problem(head.file, head.line, head.title, what, "remove one, or make the responses equal"))
    return problems


def _words(response: Response) -> str:
    simulated = "simulated " if response.simulate else ""
    lasting = f" for {response.for_} s" if response.for_ else ""
    return f"{simulated}{response.action} of the {response.scope}{lasting}"


def _networks(file: Path, problems: list[Problem]) -> Networks | None:
    """The operator's file of networks. Raises OSError."""
    try:
        with file.open(encoding="ascii", errors="replace") as lines:
            return Networks(lines)
    except NetworksError as error:
        problems.append(Problem(str(file), error.line, "", error.what, "correct the line, or remove it"))
    return None


def _placeholders(documents: list[Document], into: dict[str, list[str]]) -> list[Problem]:
    """Lists of values by the name that rules know them by."""
    problems = []
    for document in documents:
        for name, values in document.body.items():
            if not isinstance(values, list) or not all(isinstance(value, str | int) for value in values) or not values:
                fault = FaultError((str(name),), "a placeholder is a list of texts", "write one per line with a dash")
                problems.append(_problem(document, fault))
            else:
                into.setdefault(str(name), []).extend(map(str, values))
    return problems


def by_name(found: RuleSet) -> Mapping[str, Rule | Correlation]:
    """All rules by id."""
    return {rule.head.id: rule for rule in found.all()}
