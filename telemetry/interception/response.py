"""What a rule does when it hits: its top-level `response:` block.

    response:
        type: feiyu
        action: alert | throttle | block | cut
        scope: flow | user | tenant | destination | line
        for: 1h            # how long a block or throttle lasts
        rate: 5            # throttle: new tunnels a second
        simulate: true     # count and tell what would have been done

Sigma knows no such key; pySigma keeps what it does not know. (`action:` at the top would be a command to it.)
"""

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from telemetry.interception.problem import FaultError

MAX_FOR = 30 * 86400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([0-9]{1,7})([smhd])", re.ASCII)


class Action(StrEnum):
    """From telling only to ending what is open."""

    ALERT = "alert"
    THROTTLE = "throttle"  # fewer new flows of the scope
    BLOCK = "block"  # no new flow of the scope, and its live ones end
    CUT = "cut"  # this flow ends


class Scope(StrEnum):
    """What an action is about; a hit must say which."""

    FLOW = "flow"
    USER = "user"
    TENANT = "tenant"
    DESTINATION = "destination"
    LINE = "line"


# The field of a record that names what is in scope.
SCOPE_FIELDS = {
    Scope.FLOW: "flow",
    Scope.USER: "user",
    Scope.TENANT: "tenant",
    Scope.DESTINATION: "host",
    Scope.LINE: "line",
}
_KEYS = ("type", "action", "scope", "for", "rate", "simulate")
# A cut is of one flow; a block of a flow that is over would mean nothing; workers count new
# flows together by firm, so that is what can be throttled.
_FITTING = {
    Action.ALERT: frozenset(Scope),
    Action.THROTTLE: frozenset((Scope.TENANT,)),
    Action.BLOCK: frozenset(Scope) - {Scope.FLOW},
    Action.CUT: frozenset((Scope.FLOW,)),
}


@dataclass(frozen=True, slots=True)
class Response:
    """for_: seconds of a block or throttle; rate: new flows a second of a throttle."""

    action: Action = Action.ALERT
    scope: Scope = Scope.FLOW
    for_: int = 0
    rate: int = 0
    simulate: bool = False


def parse_response(block: Any) -> Response:
    """Reads the block; None is an alert. Raises FaultError."""
    if block is None:
        return Response()
    if not isinstance(block, dict):
        raise FaultError(("response",), "response is no mapping", "write type: feiyu and action: below it")
    for key in block:
        if key not in _KEYS:
            raise FaultError(("response", str(key)), f"unknown key {key!r:.60} in response", _near(str(key), _KEYS))
    if block.get("type") != "feiyu":
        raise FaultError(("response", "type"), f"response of type {block.get('type')!r:.60}", "write type: feiyu")
    action = _one(block, "action", Action)
    scope = _one(block, "scope", Scope) if "scope" in block else Scope.FLOW
    if scope not in _FITTING[action]:
        expected = " | ".join(s for s in Scope if s in _FITTING[action])
        raise FaultError(("response", "scope"), f"{action} cannot have scope {scope}", f"write scope: {expected}")
    simulate = block.get("simulate", False)
    if not isinstance(simulate, bool):
        raise FaultError(("response", "simulate"), "simulate is neither true nor false", "write true or false")
    lasting = action in (Action.BLOCK, Action.THROTTLE)
    if lasting != ("for" in block):
        what = f"{action} needs to know for how long" if lasting else f"{action} has no duration"
        raise FaultError(("response", "for"), what, "write for: 1h" if lasting else "remove for:")
    if (action is Action.THROTTLE) != ("rate" in block):
        missing = action is Action.THROTTLE
        what = "throttle needs a rate of new flows" if missing else f"{action} has no rate"
        raise FaultError(("response", "rate"), what, "write rate: 5" if missing else "remove rate:")
    return Response(
        action,
        scope,
        _seconds(block["for"]) if lasting else 0,
        _rate(block["rate"]) if "rate" in block else 0,
        simulate,
    )


def _one[E: StrEnum](block: dict[str, Any], key: str, kind: type[E]) -> E:
    try:
        return kind(str(block.get(key)))
    except ValueError:
        expected = " | ".join(kind)
        what = f"response without {key}" if key not in block else f"{key} {block[key]!r:.60} is none of {expected}"
        raise FaultError(("response", key), what, f"write {key}: {expected}") from None


def span(text: Any) -> int:
    """Seconds of "90s", "5m", "1h", "7d"; -1 for anything else."""
    found = _SPAN.fullmatch(text) if isinstance(text, str) else None
    return int(found[1]) * _UNITS[found[2]] if found else -1


def _seconds(value: Any) -> int:
    seconds = span(value)
    if not 0 < seconds <= MAX_FOR:
        raise FaultError(("response", "for"), f"for {value!r:.60} is no time up to 30d", "write for example for: 1h")
    return seconds


def _rate(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100_000:
        raise FaultError(("response", "rate"), f"rate {value!r:.60} is no number of new flows", "write rate: 5")
    return value


def _near(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"the keys are {', '.join(known)}"
