"""What follows from a hit: its record, and the order to live control. Pure."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from telemetry.interception.engine import Hit
from telemetry.interception.response import SCOPE_FIELDS, Action, Scope
from telemetry.record import Kind, Record

_COPIED = ("flow", "tenant", "site", "user", "credential", "client_ip", "host", "port", "line", "service", "grant")
_SCOPES = {Scope.USER: "user", Scope.TENANT: "tenant", Scope.DESTINATION: "destination", Scope.LINE: "line"}


@dataclass(frozen=True, slots=True)
class Order:
    """A message for live control, and what it does in machine-made words."""

    message: dict[str, Any]
    words: str


def finding(hit: Hit, now: int, acts: bool, **own: Any) -> Record:
    """The record of a hit. acts: whether rules of this node may act; own: node, boot, worker and seq."""
    head, response = hit.head, hit.head.response
    simulated = response.action is not Action.ALERT and (response.simulate or not acts)
    author = f" by {head.author[:120]}" if head.author else ""
    action = "" if response.action is Action.ALERT else f"; {response.action} {response.scope}"
    values = {
        "figure": int(min(hit.figure, 1 << 50)),
        "simulated": int(simulated),
        "tripped": int(hit.tripped),
    }
    return Record(
        kind=Kind.FINDING.value,
        time=now,
        rule=head.id,
        detail=f"{head.level}: {head.title[:200]}{author}{action}",
        values={name: value for name, value in values.items() if value},
        **{name: getattr(hit.record, name) for name in _COPIED},
        **own,
    )


def order(hit: Hit, now: int) -> Order | str | None:
    """What a hit asks of live control; None for nothing, a sentence where it cannot be done. now: Unix µs."""
    head, response, record = hit.head, hit.head.response, hit.record
    if response.action is Action.ALERT or response.simulate or hit.tripped:
        return None
    if response.action is Action.CUT:
        if not record.flow:
            return f"rule {head.id} cannot cut: the record names no flow"
        cut = {"kind": "cut", "flow": record.flow, "cause": "cut-by-rule", "rule": head.id}
        return Order(cut, f"cut flow {record.flow} by rule {head.id}")
    value = getattr(record, SCOPE_FIELDS[response.scope])
    if response.scope is Scope.USER and value:
        value = f"{record.tenant}/{value}"
    if not value:
        return f"rule {head.id} cannot {response.action}: the record names no {response.scope}"
    kill = {
        "kind": "kill",
        "id": block_id(head.id, response.scope, value),
        "scope": _SCOPES[response.scope],
        "value": value,
        "until": now // 1_000_000 + response.for_,
        "rule": head.id,
    }
    if response.rate:
        kill["rate"] = response.rate
    words = f"{response.action} {kill['id']} of {response.scope} {value} for {response.for_} s by rule {head.id}"
    return Order(kill, words)


def block_id(rule: str, scope: str, value: str) -> str:
    """The same for the same rule and thing, so that a block asked for again is renewed and not doubled."""
    return "r-" + blake2b(f"{rule}\n{scope}\n{value}".encode(), digest_size=8).hexdigest()
