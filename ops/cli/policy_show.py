"""How a plan is shown: what is added, changed and taken away, whom it concerns, and what its tests say."""

from collections.abc import Iterable
from typing import Any

from ops.cli import output
from ops.cli.client import Json
from ops.cli.times import format_end, format_moment
from ops.cli.words import t
from ops.policyfile.write import endpoint, flow

SIGNS = {"add": "+", "remove": "-", "revoke": "-", "retire": "-"}
_MOMENTS = ("valid_from", "valid_until")
_WAYS = {"loses": "loses", "gains": "gains", "changes": "changes"}


def changes(plan: Json) -> Iterable[str]:
    """A line for each change, and below an edit one for each field."""
    for change in plan["changes"]:
        sign = SIGNS.get(change["verb"], "~")
        item = change["after"] or change["before"] or {}
        yield f"{sign} {change['collection']}/{change['id']}  {_gist(change['collection'], item)}".rstrip()
        if sign == "~":
            yield from (f"    {line}" for line in differences(change["before"] or {}, change["after"] or {}))
    listed, total = len(plan["changes"]), sum(sum(verbs.values()) for verbs in plan["counts"].values())
    if listed < total:
        yield t("and {count} more", count=total - listed)


def differences(before: Json, after: Json) -> Iterable[str]:
    """name: before → after, of the fields that differ."""
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        if name == "window":
            yield from differences(one or {}, other or {})
        else:
            yield f"{name}: {_value(name, one)} → {_value(name, other)}"


def _value(name: str, value: Any) -> str:
    if name in _MOMENTS and isinstance(value, int):
        return format_end(value) if name == "valid_until" else format_moment(value)
    if name == "endpoints":
        return flow([endpoint(way) for way in value or ()])
    return flow(value) if value not in (None, "", [], ()) else "–"


def _gist(collection: str, item: Json) -> str:
    """What an item is about, in short."""
    match collection:
        case "grants":
            term = format_end(item["window"]["valid_until"])
            return f"{item['subject']} → {item['object']} over {', '.join(item['lines'])} until {term}"
        case "services":
            ways = [endpoint(way) for way in item["endpoints"]]
            return ", ".join(ways[:3]) + (" …" if len(ways) > 3 else "")
        case "denies":
            return str(item["target"]) + (f":{','.join(map(str, item['ports']))}" if item.get("ports") else "")
        case _:
            return str(item.get("name") or "")


def effects(plan: Json) -> Iterable[str]:
    """Who loses what, who gains what, and the tunnels it ends."""
    for effect in plan["effects"]:
        how = f" ({_moments(effect['how'])})" if effect["how"] else ""
        yield f"  {t(_WAYS[effect['way']])}: {effect['who']} · {effect['what']}{how}"
    left = sum(plan["effects_of"].values()) - len(plan["effects"])
    if left:
        yield "  " + t("and {count} more", count=left)
    tunnels = plan.get("tunnels")
    if tunnels:
        firms = ", ".join(f"{name} {count}" for name, count in tunnels["tenants"].items())
        line = t("{cut} of {open} live tunnels would be cut", cut=tunnels["cut"], open=tunnels["open"])
        yield f"  {line}" + (f": {firms}" if firms else "")
    elif "tunnels" in plan:
        yield "  " + t("live tunnels are not known: the recorder does not answer")


def _moments(how: str) -> str:
    """A term's ends as moments: BEGIN…END → BEGIN…END."""
    ends = how.replace(" → ", "…").split("…")
    if len(ends) != 4 or not all(end.isdecimal() for end in ends):
        return how
    shown = [format_moment(int(end)) if n % 2 == 0 else format_end(int(end)) for n, end in enumerate(ends)]
    return f"{shown[0]}…{shown[1]} → {shown[2]}…{shown[3]}"


def tests(results: Iterable[Json]) -> Iterable[str]:
    """Those that failed, with where they stand, then how many passed."""
    found = list(results)
    failed = [result for result in found if not result["passed"]]
    for result in failed:
        yield f"  ✗ {result['where']}: {result['name']}: {result['fault']}"
    if found:
        yield "  " + t("{passed} tests passed, {failed} failed", passed=len(found) - len(failed), failed=len(failed))


def summary(plan: Json) -> str:
    """How many of what."""
    verbs: dict[str, int] = {"+": 0, "~": 0, "-": 0}
    for counted in plan["counts"].values():
        for verb, count in counted.items():
            verbs[SIGNS.get(verb, "~")] += count
    return t(
        "{added} to add, {changed} to change, {removed} to take away; {same} stand already",
        added=verbs["+"], changed=verbs["~"], removed=verbs["-"], same=plan["unchanged"],
    )  # fmt: skip


def whole(plan: Json) -> None:
    """The plan, on stdout."""
    lines = [*changes(plan)]
    for title, part in ((t("Effect"), effects(plan)), (t("Tests"), tests(plan["tests"]))):
        found = list(part)
        if found:
            lines += ["", title, *found]
    stays = [f"  {one['collection']}/{one['id']}: {one['why']}" for one in plan.get("stays", [])]
    if stays:
        lines += ["", t("Stays as it is"), *stays]
    output.write(output.escape_lines("\n".join([*lines, "", summary(plan)]).lstrip("\n")))
