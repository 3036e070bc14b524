"""Where a rule can fire at all: said by lint, so that nobody trusts in a rule that never can."""

from dataclasses import dataclass

from telemetry.interception.condition import can_be, lacking
from telemetry.interception.correlation import Correlation, Part, Type
from telemetry.interception.fields import Field, Place
from telemetry.interception.rule import Rule
from telemetry.interception.ruleset import RuleSet


@dataclass(frozen=True, slots=True)
class Verdict:
    """places: where it can fire, in their order; lacking: for each other place of its log source, the fields that are
    missing there; never: "" or why it fires nowhere."""

    places: tuple[Place, ...]
    lacking: dict[Place, tuple[str, ...]]
    never: str = ""


def verdicts(rules: RuleSet) -> dict[str, Verdict]:
    """For each rule and correlation, by id."""
    found = {id_: _of_rule(rule) for id_, rule in rules.rules.items()}
    for id_, correlation in rules.correlations.items():
        found[id_] = _of_correlation(correlation, found)
    return found


def _of_rule(rule: Rule) -> Verdict:
    if not rule.source.places:
        return Verdict((), {}, rule.source.why)
    lacks = {
        place: tuple(lacking(rule.tree, place))
        for place in Place
        if place in rule.source.places and not can_be(rule.tree, place)
    }
    if rule.missing:
        return Verdict((), dict.fromkeys(rule.source.places, rule.missing), f"{', '.join(rule.missing)} not recorded")
    places = tuple(place for place in Place if place in rule.source.places and place not in lacks)
    return Verdict(places, lacks, "" if places else _why(lacks))


def _why(lacks: dict[Place, tuple[str, ...]]) -> str:
    """The shortest list of what would be needed."""
    least = min(lacks.values(), key=len, default=())
    return f"{', '.join(least)} not recorded" if least else "its condition contradicts itself"


def _of_correlation(correlation: Correlation, known: dict[str, Verdict]) -> Verdict:
    places: set[Place] = set()
    lacks: dict[Place, tuple[str, ...]] = {}
    mute = []
    for part in correlation.parts:
        base = known[part.ref]
        fit = [place for place in base.places if all(place in field.places for field in _fields(part))]
        places.update(fit)
        lacks |= base.lacking
        for place in set(base.places) - set(fit):
            lacks[place] = tuple(field.name for field in _fields(part) if place not in field.places)
        if not fit:
            mute.append(part.ref)
    needs_all = correlation.type in (Type.TEMPORAL, Type.TEMPORAL_ORDERED) and correlation.expression is None
    if mute and (needs_all or len(mute) == len(correlation.parts)):
        return Verdict((), lacks, f"rule {', '.join(mute)} never fires")
    order = tuple(place for place in Place if place in places)
    return Verdict(order, {place: names for place, names in lacks.items() if place not in places})


def _fields(part: Part) -> list[Field]:
    return [*part.group, part.value] if part.value else [*part.group]
