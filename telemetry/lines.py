"""What the record stream says of each line: a part of the fold (telemetry.fold). Pure.

A change of state is a record of kind "line"; figures between are heartbeats of the lines, so that a search for the
former finds what happened. Either carries all that is known at that moment, in its values:

flows              open flows                            gauges: what a record leaves out is not known any more
rtt_us             median round trip of the last minute's probes
loss_permille      of those probes, how many of a thousand were lost
passive_rtt_us     median round trip of the last minute's flows, one to each host
retransmits_ppm    of a million segments in those flows, how many were sent again
contract_days      whole days until the contract ends
dropped            packets of the line that the kill switch dropped    readings of counters that outlive the process
exhausted          connections for which no source port was free
wire_out           bytes, and wire_out_packets packets, that left by the line (IP headers included)
wire_in            bytes, and wire_in_packets packets, that its device received (link headers included), where the
                   device leads to this line alone
repairs            drift that was repaired since the record before     added up

Figures whose line is "" are those of the node: repairs of what belongs to no line alone, and readings of
the kill switch's other counters.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from telemetry.record import Record

LINE_STATES = {"down": 0, "up": 1, "draining": 2, "degraded": 3}
FIGURES = "figures"  # the detail of such a heartbeat
RETIRED = "retired"  # why a line is down that the policy has no more: nothing is told of it from then on
GAUGES = ("flows", "rtt_us", "loss_permille", "passive_rtt_us", "retransmits_ppm", "contract_days")
REPAIRS = "repairs"
MAX_LINES = 1024
MAX_COUNTERS = 32
MOST = 1 << 50
_WORDS = {number: word for word, number in LINE_STATES.items()}


class LineTally(msgspec.Struct):
    """One line, or the node (""). process: the key of who told it last; state: of LINE_STATES, -1 before it was told;
    since: Unix µs of that state's first record; totals: by name, readings: of counters, as they were last. retired: it
    is kept for its part in the node's totals alone."""

    process: str = ""
    state: int = -1
    since: int = 0
    why: str = ""
    gauges: dict[str, int] = {}
    totals: dict[str, int] = {}
    readings: dict[str, int] = {}
    retired: bool = False


def in_use(lines: Mapping[str, LineTally]) -> list[tuple[str, LineTally]]:
    """The lines that are told of, by name; not the node."""
    return sorted((name, tally) for name, tally in list(lines.items()) if name and not tally.retired)


def take(lines: dict[str, LineTally], key: str, record: Record) -> None:
    """Folds a change of state or figures, written by the process with this key."""
    word, _, why = record.detail.partition(":")
    retired = bool(record.line) and (word, why.strip()) == ("down", RETIRED)
    tally = lines.get(record.line)
    if tally is None:
        if retired or (len(lines) >= MAX_LINES and not _make_room(lines)):
            return
        tally = lines[record.line] = LineTally()
    values = record.values or {}
    tally.process = key
    if record.detail != FIGURES:
        tally.retired = retired
    state = values.get("state", LINE_STATES.get(word))
    gauges = {name: _bounded(values[name]) for name in GAUGES if name in values}
    if record.line and state is not None:
        if state != tally.state:
            tally.state, tally.since = _bounded(state), record.time
        if word in LINE_STATES:
            tally.why = why.strip()
        tally.gauges = gauges
    elif record.line:
        tally.gauges = {**tally.gauges, **gauges}
    if tally.retired:  # the last figures may come behind
        tally.state, tally.gauges = -1, {}
    for name, value in values.items():
        if name in GAUGES or name in ("state", "repaired") or len(tally.totals) >= MAX_COUNTERS:
            continue
        _count(tally, name, _bounded(value))


def _make_room(lines: dict[str, LineTally]) -> bool:
    """Forgets a retired line, whose repairs stay in the node's sum; False where there is none."""
    name = next((name for name, tally in lines.items() if tally.retired), "")
    if name:
        node = lines.setdefault("", LineTally())
        node.totals[REPAIRS] = node.totals.get(REPAIRS, 0) + lines.pop(name).totals.get(REPAIRS, 0)
    return bool(name)


def _count(tally: LineTally, name: str, value: int) -> None:
    """Counters take the difference to the last reading; one that went back began anew (a boot, a table taken away)."""
    if name != REPAIRS:
        before = tally.readings.get(name, 0)
        tally.readings[name] = value
        value = value - before if value >= before else value
    tally.totals[name] = min(MOST, tally.totals.get(name, 0) + value)


def forget(lines: dict[str, LineTally], key: str) -> None:
    """What a process told that is gone for good, and nobody told since: its gauges are not known any more."""
    for tally in lines.values():
        if tally.process == key:
            tally.gauges = {}


def describe(lines: dict[str, LineTally], octets: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Each line as JSON types; None is not known. octets: bytes by line, [out, in]."""
    found = []
    for name, tally in in_use(lines):
        out, into = octets.get(name, (0, 0))
        found.append(
            {
                "line": name,
                "state": _WORDS.get(tally.state),
                "since": tally.since // 1_000_000 or None,
                "why": tally.why,
                **{gauge: tally.gauges.get(gauge) for gauge in GAUGES},
                "bytes_out": out,
                "bytes_in": into,
                **{total: tally.totals.get(total) for total in (REPAIRS, "dropped", "exhausted")},
            }
        )
    return found


def _bounded(number: int) -> int:
    return min(max(0, number), MOST)
