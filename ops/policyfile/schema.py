"""The keys of policy files: how each is written, and the fields of the API that it becomes.

Times are dates or dates with a time, in zone time unless an offset is named, never durations: a file must mean the same
whenever it is read. `until: 2027-11-23` includes that day.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from ops.cli.arguments import parse_endpoint, parse_place, parse_target
from ops.cli.times import ZONE_OFFSET_MINUTES, parse_hours, parse_weekdays, parse_when
from ops.yamlnode import Check, integer, kind_of, listing, mapping, parsed, text, wrong
from whitelist.decide import Access
from whitelist.model import DataGrade
from whitelist.reason import Reason
from whitelist.tls_terms import Application, Ech, Nameless

FORMAT = "policy/1"
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|@[0-9]")
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}").fullmatch
Fields = dict[str, Any]

identifier = text("1 to 63 of a-z, 0-9 and -, the first not -", lambda value: bool(_ID(value)))
words = text("text", lambda value: len(value) <= 200)
identifiers = listing(identifier, "ids", unique=("",))
ports = listing(integer(1, 65535), "ports", unique=("",))


def moment(*, end: bool = False) -> Check[int]:
    """A moment, in Unix seconds."""
    expected = "a date such as 2027-11-23, or one with a time: 2027-11-23T18:00"

    def check(node: yaml.Node) -> int:
        tag = node.tag.rpartition(":")[2]
        if not isinstance(node, yaml.ScalarNode) or tag not in ("str", "timestamp") or not _MOMENT.match(node.value):
            raise wrong(node, f"{kind_of(node)} is no moment", expected)
        try:
            return parse_when(node.value, 0, end_of_day=end)
        except ValueError as error:
            raise wrong(node, str(error), expected) from None

    return check


def one_of(values: list[str]) -> Check[str]:
    """One of a closed set."""
    return text(f"one of {', '.join(values)}", lambda value: value in values)


def flag(node: yaml.Node) -> bool:
    """true or false."""
    if not isinstance(node, yaml.ScalarNode) or node.value not in ("true", "false"):
        raise wrong(node, f"{kind_of(node)} is neither true nor false", "true or false")
    return bool(node.value == "true")


def _entry(checks: dict[str, Check[Any]], required: list[str], api: Callable[[Fields], Fields]) -> Check[Fields]:
    check = mapping(checks, required)

    def converted(node: yaml.Node) -> Fields:
        return api(check(node))

    return converted


_bytes = integer(0, (1 << 53) - 1, "bytes")
_several = listing(words, "texts")
_RULE = mapping(
    {
        "id": words,
        **dict.fromkeys(("methods", "paths", "upload_types", "download_types"), _several),
        **dict.fromkeys(("upload_bytes", "download_bytes"), _bytes),
        **dict.fromkeys(("websocket", "grpc"), flag),
    }
)
_INSPECT = mapping(
    {
        "protocol": one_of(["http"]),
        "rules": listing(_RULE, "rules", least=1),
        **dict.fromkeys(("upload_bytes_per_day", "download_bytes_per_day"), _bytes),
        "roots": text("certificates in PEM"),
    },
    ["rules"],
)
_GRANT = {
    "id": identifier,
    "tenant": identifier,
    "group": identifier,
    "service": identifier,
    "category": identifier,
    "lines": identifiers,
    "line_weights": listing(integer(1, 1000), "weights"),
    "from": moment(),
    "until": moment(end=True),
    "weekdays": parsed("days such as mon-fri", parse_weekdays),
    "hours": parsed("hours such as 08:00-20:00", parse_hours),
    "utc_offset_minutes": integer(-720, 840, "minutes"),
    "purpose": words,
    "data_grade": one_of(list(DataGrade)),
    "no_sni": one_of(list(Nameless)),
    "ip_sni": one_of(list(Nameless)),
    "ech": one_of(list(Ech)),
    "application": one_of(list(Application)),
    "origin_country": words,
    "destination_country": words,
    "inspect": _INSPECT,
}
_WINDOW = {"from": "valid_from", "until": "valid_until", "utc_offset_minutes": "utc_offset_minutes"}


def grant(node: yaml.Node, defaults: Fields) -> Fields:
    """A grant; defaults are those of its file, for what it leaves out. Raises ProblemsError."""
    given: Fields = mapping(_GRANT)(node)
    for one, other in (("tenant", "group"), ("service", "category")):
        if (one in given) is (other in given):
            what = "both" if one in given else "neither"
            raise wrong(
                node,
                f"names {what} {one} {'and' if one in given else 'nor'} {other}",
                f"one of the two: {one} or {other}",
            )
    given = {**{name: value for name, value in defaults.items() if name not in given}, **given}
    for name, example in (("lines", "lines: [hk1]"), ("from", "from: 2026-11-23"), ("until", "until: 2027-11-23")):
        if name not in given:
            raise wrong(node, f"{name} is missing, here and in defaults", f"a line “{example}”")
    window: Fields = {api: given.pop(name) for name, api in _WINDOW.items() if name in given}
    if "weekdays" in given:
        window["weekdays"] = given.pop("weekdays")
    if "hours" in given:
        window["start_minute"], window["end_minute"] = given.pop("hours")
    kinds = {kind: given.pop(kind) for kind in ("tenant", "group", "service", "category") if kind in given}
    subject, thing = kinds.items()
    return {"subject": ":".join(subject), "object": ":".join(thing), **given, "window": window}


def _tenant(given: Fields) -> Fields:
    for name, api in (("from", "valid_from"), ("until", "valid_until")):
        if name in given:
            given[api] = given.pop(name)
    return given


def _place(node: yaml.Node) -> Fields:
    if isinstance(node, yaml.MappingNode):
        return mapping(dict.fromkeys(("site", "room", "interface", "prefix", "side"), words), ["interface", "prefix"])(
            node
        )
    return dict(parsed("SITE/ROOM/INTERFACE/PREFIX", parse_place)(node))


def _named(more: dict[str, Check[Any]]) -> dict[str, Check[Any]]:
    return {"id": identifier, "name": words, **more}


_GROUP = _entry(_named({}), ["id"], lambda given: given)
_SERVICE = _entry(
    _named(
        {
            "name_zh": words,
            "endpoints": listing(
                parsed("SCHEME://HOST:PORT, such as tls://api.example.com:443", parse_endpoint), "endpoints", least=1
            ),
            "categories": identifiers,
            "special_prefixes": listing(words, "prefixes", unique=("",)),
            "shared_name": flag,
        }
    ),
    ["id", "endpoints"],
    lambda given: {"name": given["id"], **given},
)
_TENANT = _entry(
    _named(
        {
            "name_zh": words,
            "kind": words,
            "credit_code": words,
            "from": moment(),
            "until": moment(end=True),
            "places": listing(_place, "places"),
            "groups": identifiers,
            "max_tunnels": integer(0, 1_000_000),
            "tunnels_per_second": integer(0, 1_000_000),
            "bytes_per_day": integer(0, (1 << 53) - 1, "bytes"),
            "bytes_per_month": integer(0, (1 << 53) - 1, "bytes"),
            "consent": mapping(
                {"document_sha256": words, "signatory": words, "date": moment(), "until": moment(end=True)},
                ["document_sha256", "signatory", "date", "until"],
            ),
        }
    ),
    ["id"],
    _tenant,
)
_DENY = _entry(
    {"id": identifier, "target": parsed("HOST, *.HOST or a prefix", parse_target), "ports": ports, "note": words},
    ["target"],
    lambda given: given,
)
ENTRIES: dict[str, Check[Fields]] = {
    "groups": _GROUP, "categories": _GROUP, "tenants": _TENANT, "services": _SERVICE, "denies": _DENY,
}  # fmt: skip

DEFAULTS = mapping(
    {
        name: _GRANT[name]
        for name in ("lines", "from", "until", "purpose", "data_grade", "origin_country", "utc_offset_minutes")
    }
)
TEST = mapping(
    {
        "name": words,
        "tenant": identifier,
        "groups": identifiers,
        "target": words,
        "access": one_of(list(Access)),
        "source": words,
        "time": moment(),
        "verdict": one_of(["permit", "deny"]),
        "reason": one_of([reason.value for reason in Reason]),
        "service": identifier,
    },
    ["name", "tenant", "target", "verdict"],
)


def scope(node: yaml.Node) -> Fields:
    """zone, or a mapping with tenants."""
    if isinstance(node, yaml.ScalarNode) and node.value == "zone":
        return {"zone": True}
    return mapping({"tenants": identifiers}, ["tenants"])(node)


__all__ = ["DEFAULTS", "ENTRIES", "FORMAT", "TEST", "ZONE_OFFSET_MINUTES", "flag", "grant", "scope"]
