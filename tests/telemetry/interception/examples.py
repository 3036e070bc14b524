"""Records that fulfil a rule, made from its own condition: one for each way that is found."""

import re
import warnings
from collections.abc import Iterator
from itertools import islice, product
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from telemetry.interception.condition import Every, Leaf, Match, Node
from telemetry.interception.fields import Place
from telemetry.interception.rule import Rule
from telemetry.record import Record
from tests.telemetry.interception.rule_kit import record

_BASE: dict[Place, dict[str, Any]] = {
    Place.TUNNEL: {"method": "CONNECT", "port": 443},
    Place.HTTP: {"method": "GET", "port": 80, "path": "/"},
    Place.INSPECTED: {"method": "GET", "port": 443, "path": "/", "tls_version": "1.3"},
}


def examples(rule: Rule, place: Place, most: int = 6) -> Iterator[Record]:
    """Records of this place that the rule's condition is true of."""
    kind = "open" if "open" in rule.kinds else "close"
    for way in islice(_ways(rule.tree), 400):
        for fields in _realised(way, place):
            made = record(**{**_BASE[place], "kind": kind, **fields})
            if _real(made, place) and rule.holds(made):
                yield made
                most -= 1
                break
        if not most:
            return


def _real(made: Record, place: Place) -> bool:
    """Whether a gateway could have written it: what it never records, or records otherwise there, is made up."""
    if (made.method == "CONNECT") != (place is Place.TUNNEL) or not re.fullmatch(r"[a-z0-9_.:-]+", made.host):
        return False
    if place is Place.TUNNEL:
        return not made.path
    return re.fullmatch(r"/[!-~]*", made.path) is not None and not set("?#") & set(made.path)


def _ways(node: Node) -> Iterator[list[Leaf]]:
    """Leaves that together make the tree true, one list for each way."""
    if isinstance(node, Leaf):
        yield [node]
    elif isinstance(node, Every):
        for parts in product(*(list(islice(_ways(part), 300)) for part in node.parts)):
            yield [leaf for part in parts for leaf in part]
    else:
        for part in node.parts:
            yield from _ways(part)


def _realised(way: list[Leaf], place: Place) -> Iterator[dict[str, Any]]:
    """Ways to fill a record's fields with the texts that the leaves ask for."""
    texts: dict[str, list[Leaf]] = {}
    for leaf in way:
        if leaf.atom is not None:
            texts.setdefault(leaf.atom.field.name, []).append(leaf)
    filled = {name: _joined(leaves) for name, leaves in texts.items()}
    uri, extension = filled.pop("uri", None), filled.pop("extension", None)
    fields: dict[str, Any] = {name: int(v) if name in ("port", "status") else v for name, v in filled.items()}
    if fields.get("host", "x").startswith("."):
        fields["host"] = "x" + fields["host"]
    if extension is not None:
        fields["path"] = f"/file.{extension}"
    if uri is None:
        yield fields
        return
    yield {**fields, "path": uri}
    yield {**fields, "path": "/" + uri.lstrip("/")}
    host, slash, path = uri.removeprefix("http://").removeprefix("https://").partition("/")
    yield {"host": "x" + host if host.startswith(".") else host, **fields, "path": slash + path or "/"}
    yield {"host": host.partition(":")[0] if ":" in host else f"{host}.example", **fields}


def _joined(leaves: list[Leaf]) -> str:
    """One text with all that they ask for."""
    order = {Match.EQUALS: 0, Match.STARTS: 1, Match.CONTAINS: 2, Match.PATTERN: 3, Match.ENDS: 4}
    found = []
    for leaf in sorted(leaves, key=lambda leaf: order[leaf.atom.match] if leaf.atom else 9):
        atom = leaf.atom
        assert atom is not None
        found.append(_of_pattern(atom.text) if atom.match is Match.PATTERN else atom.text)
    return found[0] if leaves and order[leaves[0].atom.match] == 0 else "".join(found)  # type: ignore[union-attr]


def _of_pattern(pattern: str) -> str:
    """A text that a pattern matches, the simplest of many."""
    printable = st.characters(min_codepoint=33, max_codepoint=126)
    fitting = pattern.replace(r"\z", r"\Z").replace("(?s)", "")
    found: list[str] = []

    @settings(
        database=None,
        derandomize=True,
        max_examples=30,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.from_regex(re.compile(fitting, re.DOTALL), alphabet=printable))
    def collect(text: str) -> None:
        found.append(text)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collect()
    return min(found, key=len)
