"""From items to the text of a policy file: one entry a line where it fits, keys in one order, times in zone time."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import yaml

from ops.cli.times import WEEKDAYS, ZONE_OFFSET_MINUTES
from ops.policyfile.schema import FORMAT
from whitelist.model import Grant
from whitelist.proposal import COLLECTIONS, Scope, Test

_WIDTH = 120
# What means nothing in YAML inside of a plain text; a colon does where something follows it at once.
_PLAIN = re.compile(r"[^\W_](?:[\w\-./ '()]|:(?=[\w/]))*(?<! )").fullmatch
Fields = dict[str, Any]
_GRANT_DEFAULTS = {
    field.name: field.default
    for field in msgspec.structs.fields(Grant)
    if not field.required and field.name not in ("state", "provenance", "inspect")
}


def document(
    entries: Mapping[str, Iterable[Fields]],
    *,
    scope: Scope = Scope(),
    tests: Iterable[Test] = (),
    defaults: Mapping[str, Any] | None = None,
    head: str = "",
) -> str:
    """A whole file. entries: in the API's form, by collection; defaults: in the file's form, what grants that say the
    same leave out; head: a comment, line by line."""
    parts = [f"# {line}".rstrip() for line in head.splitlines()]
    parts.append(f"feiyu: {FORMAT}")
    if scope.zone:
        parts.append("scope: zone")
    elif scope.tenants:
        parts.append(f"scope: {flow({'tenants': list(scope.tenants)})}")
    usual = dict(defaults or {})
    if usual:
        parts.append(f"defaults: {flow(usual)}")
    for collection in COLLECTIONS:
        found = [entry_line(collection, entry, usual) for entry in entries.get(collection, ())]
        if found:
            parts += ["", f"{collection}:", *found]
    shown = list(map(test_line, tests))
    if shown:
        parts += ["", "tests:", *shown]
    return "\n".join(parts) + "\n"


def entry_line(collection: str, entry: Fields, defaults: Mapping[str, Any]) -> str:
    """An entry in the file's form."""
    written = _WRITERS.get(collection, dict)(entry)
    if collection == "grants":
        written = {
            name: value
            for name, value in written.items()
            if name not in defaults or flow(defaults[name]) != flow(value)
        }
    return _item(written)


def test_line(test: Test) -> str:
    """A test in the file's form."""
    return _item(_test(test))


def _item(fields: Fields) -> str:
    """“- {…}” where that fits a line, else a block."""
    line = f"  - {flow(fields)}"
    if len(line) <= _WIDTH:
        return line
    rows = [f"{name}: {flow(value)}" for name, value in fields.items()]
    return "\n".join(("  - " if not n else "    ") + row for n, row in enumerate(rows))


def flow(value: Any) -> str:
    """A value on one line, read back as itself."""
    if isinstance(value, str):
        return scalar(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {flow(each)}" for name, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    return str(value)


# What JSON leaves as it is and YAML does not take, or takes for a line's end (YAML 1.2 clause 5.1 and 5.4).
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class Moment(str):
    """Stands plain, though YAML reads a date there: that is how the files write moments."""

    __slots__ = ()


def scalar(text: str) -> str:
    """A text as YAML: plain where that reads as the same text, in a flow too, else quoted."""
    if isinstance(text, Moment):
        return str(text)
    if _PLAIN(text):
        tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        if tag.endswith(":str"):
            return text
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", msgspec.json.encode(text).decode())


def moment(seconds: int, *, end: bool = False) -> Moment:
    """A moment in zone time. An end at midnight is written as its last day."""
    zone = timezone(timedelta(minutes=ZONE_OFFSET_MINUTES))
    try:
        at = datetime.fromtimestamp(seconds, UTC).astimezone(zone)
        if (at.hour, at.minute, at.second) == (0, 0, 0):
            return Moment((at - timedelta(days=1 if end else 0)).date().isoformat())
        return Moment(at.strftime("%Y-%m-%dT%H:%M:%S" if at.second else "%Y-%m-%dT%H:%M"))
    except (OverflowError, ValueError):
        return Moment(f"@{seconds}")


def _grant(entry: Fields) -> Fields:
    written = {"id": entry["id"]} if entry.get("id") else {}
    for name in ("subject", "object"):
        kind, _, item = entry[name].partition(":")
        written[kind] = item
    written["lines"] = list(entry["lines"])
    window = entry["window"]
    for name, api in (("from", "valid_from"), ("until", "valid_until")):
        if api in window:
            written[name] = moment(window[api], end=name == "until")
    if window.get("weekdays"):
        written["weekdays"] = _weekdays(window["weekdays"])
    start, end = window.get("start_minute", 0), window.get("end_minute", 1440)
    if (start, end) != (0, 1440):
        written["hours"] = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    if window.get("utc_offset_minutes", 480) != 480:
        written["utc_offset_minutes"] = window["utc_offset_minutes"]
    for name, usual in _GRANT_DEFAULTS.items():
        if name in entry and _differs(entry[name], usual):
            written[name] = list(entry[name]) if isinstance(entry[name], (list, tuple)) else str(entry[name])
    if entry.get("inspect"):
        rules = [{name: value for name, value in rule.items() if value} for rule in entry["inspect"]["rules"]]
        written["inspect"] = {name: value for name, value in entry["inspect"].items() if value} | {"rules": rules}
    return written


def _weekdays(days: Iterable[int]) -> str:
    """mon-fri, or mon,wed."""
    found = sorted(days)
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{WEEKDAYS[found[0]]}-{WEEKDAYS[found[-1]]}"
    return ",".join(WEEKDAYS[day] for day in found)


def _differs(value: Any, usual: Any) -> bool:
    return bool((tuple(value) if isinstance(value, list) else value) != usual)


def _service(entry: Fields) -> Fields:
    written = _plain(entry, ("id", "name", "name_zh"))
    written["endpoints"] = [endpoint(way) for way in entry["endpoints"]]
    return written | _plain(entry, ("categories", "special_prefixes", "shared_name"))


def endpoint(way: Fields) -> str:
    """An endpoint as it is typed."""
    target, ports = way["target"], way.get("ports", (443,))
    host = f"[{target}]" if ":" in target else target
    return f"{way.get('protocol', 'tls')}://{host}:{','.join(map(str, ports))}"


def _tenant(entry: Fields) -> Fields:
    written = _plain(entry, ("id", "name", "name_zh", "kind", "credit_code"))
    for name, api in (("from", "valid_from"), ("until", "valid_until")):
        if entry.get(api):
            written[name] = moment(entry[api], end=name == "until")
    if entry.get("places"):
        written["places"] = [_place(place) for place in entry["places"]]
    if entry.get("consent"):
        consent = dict(entry["consent"])
        times = {name: moment(consent[name], end=name == "until") for name in ("date", "until")}
        written["consent"] = consent | times
    return written | _plain(entry, ("groups", "max_tunnels", "tunnels_per_second", "bytes_per_day", "bytes_per_month"))


def _place(place: Fields) -> Any:
    side = place.get("side", "offshore")
    parts = [place.get("site", ""), place.get("room", ""), place["interface"], place["prefix"]]
    if all(parts) and not any("/" in part or "," in part for part in parts[:3]) and side == "offshore":
        return "/".join(parts)
    return {name: str(value) for name, value in place.items() if value}


def _plain(entry: Fields, names: Iterable[str]) -> Fields:
    """These fields, where they say something."""
    return {name: entry[name] for name in names if entry.get(name) not in (None, "", (), [], 0, False)}


def _deny(entry: Fields) -> Fields:
    return _plain(entry, ("id", "target", "ports", "note"))


def _group(entry: Fields) -> Fields:
    return _plain(entry, ("id", "name"))


def _test(test: Test) -> Fields:
    fields = {"name": test.name, "tenant": test.tenant, "groups": list(test.groups), "target": test.target}
    fields |= {"access": "" if test.access == "tunnel" else test.access, "source": test.source}
    fields |= {"time": moment(test.time) if test.time else "", "verdict": test.verdict, "reason": test.reason}
    return {name: value for name, value in {**fields, "service": test.service}.items() if value}


_WRITERS = {
    "grants": _grant, "services": _service, "tenants": _tenant, "denies": _deny, "groups": _group, "categories": _group,
}  # fmt: skip
