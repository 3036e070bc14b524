"""A second reading of simple Sigma rules, straight from their YAML, that shares no code with the engine.

It knows what SigmaHQ's proxy rules use: mappings, lists of mappings, contains, startswith, endswith, all, re, and
conditions of names, `not`, `and`, `or`, `1 of`, `all of`. Texts are compared by Python's own patterns.
"""

import re
from typing import Any

from telemetry.record import Record


def values(record: Record, name: str) -> list[str]:
    """What the record says under a name of SigmaHQ's proxy rules."""
    tunnel = record.method == "CONNECT"
    shown = f"{record.host}:{record.port}" if tunnel else f"http://{record.host}{record.path}"
    last = record.path.split("/")[-1]
    known: dict[str, list[str]] = {
        "cs-host": [record.host],
        "r-dns": [record.host],
        "c-uri": [shown] if tunnel else [shown, record.path],
        "cs-uri": [shown] if tunnel else [shown, record.path],
        "c-uri-extension": [last.split(".")[-1]] if "." in last else [],
        "c-useragent": [record.user_agent] if record.user_agent or not tunnel else [],
        "cs-method": [record.method],
        "dst_ip": [record.address],
    }
    return known.get(name, [])


def holds(rule: dict[str, Any], record: Record) -> bool:
    """Whether the rule's condition is true of the record."""
    detection = rule["detection"]
    named = {name: _selection(what, record) for name, what in detection.items() if name != "condition"}
    condition = re.sub(r"\b(1|all) of (\S+?)(?=\)|\s|$)", lambda m: _of(m[1], m[2], named), detection["condition"])
    words = re.sub(
        r"[A-Za-z_]\w*", lambda m: m[0] if m[0] in ("and", "or", "not") else str(_known(m[0], named)), condition
    )
    return bool(eval(words, {"__builtins__": {}}))  # only True, False, and, or, not and brackets are left


def _known(word: str, named: dict[str, bool]) -> bool:
    return {"True": True, "False": False}[word] if word in ("True", "False") else named[word]


def _of(quantity: str, pattern: str, named: dict[str, bool]) -> str:
    wanted = ".*" if pattern == "them" else pattern.replace("*", ".*")
    found = [value for name, value in named.items() if re.fullmatch(wanted, name)]
    return str(any(found) if quantity == "1" else all(found))


def _selection(what: Any, record: Record) -> bool:
    if isinstance(what, list):
        return any(_selection(part, record) for part in what)
    return all(_item(key, value, record) for key, value in what.items())


def _item(key: str, value: Any, record: Record) -> bool:
    name, *modifiers = key.split("|")
    wanted = value if isinstance(value, list) else [value]
    found = [any(_matches(str(each), text, modifiers) for text in values(record, name)) for each in wanted]
    return all(found) if "all" in modifiers else any(found)


def _matches(wanted: str, text: str, modifiers: list[str]) -> bool:
    if "re" in modifiers:
        return re.search(wanted, text) is not None
    escapes = {"\\*": r"\*", "\\?": r"\?", "\\\\": r"\\", "*": ".*", "?": "."}
    pattern = "".join(escapes.get(part, re.escape(part)) for part in re.findall(r"\\[*?\\]|.", wanted, re.DOTALL))
    before = ".*" if {"contains", "endswith"} & set(modifiers) else ""
    behind = ".*" if {"contains", "startswith"} & set(modifiers) else ""
    return re.fullmatch(before + pattern + behind, text, re.DOTALL | re.IGNORECASE) is not None
