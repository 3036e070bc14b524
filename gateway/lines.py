"""The lines as a worker sees them: which exist, which are up, and in which order a permit may use them."""

import random
from collections.abc import Iterable, Mapping

from gateway.line.model import LineEntry, LineError, LineHandle, handle_of
from gateway.live import LineState

MAX_REMEMBERED = 4096


class LineTable:
    """Handles by id, from the snapshot, and their state, from the lines process. A line never reported is not up."""

    def __init__(self, mark_base: int, chance: random.Random | None = None) -> None:
        self._mark_base = mark_base
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._handles: dict[str, LineHandle] = {}
        self._broken: dict[str, str] = {}
        self._ends: dict[str, tuple[int, int]] = {}
        self._state: dict[str, LineState] = {}
        self._usable: dict[tuple[str, ...], tuple[float, tuple[LineHandle, ...], int, str]] = {}

    def load(self, entries: Mapping[str, LineEntry]) -> None:
        """Takes the lines of a new policy revision."""
        self._usable.clear()
        self._handles.clear()
        self._broken.clear()
        self._ends.clear()
        for line, entry in entries.items():
            if getattr(entry, "retired", False):
                continue
            try:
                self._handles[line] = handle_of(entry, self._mark_base)
            except LineError as error:
                self._broken[line] = error.what
                continue
            self._ends[line] = (getattr(entry, "valid_from", 0), getattr(entry, "valid_until", 0))
            if getattr(entry, "drained", False):
                self._broken[line] = "drained"

    def report(self, line: str, state: LineState) -> None:
        """Takes what the lines process says of one line."""
        self._usable.clear()
        self._state[line] = state

    def replace(self, states: Mapping[str, LineState]) -> None:
        """Takes the state of all lines; those not named are not up."""
        self._usable.clear()
        self._state = dict(states)

    def gone(self, line: str) -> bool:
        """Whether the policy no longer has this line, so that its live flows must end."""
        return line not in self._handles

    def ends(self, line: str) -> int:
        """The Unix second at which the line's contract ends, 0 for none."""
        return self._ends.get(line, (0, 0))[1]

    def usable(
        self, designated: tuple[str, ...], wall: float, weights: tuple[int, ...] = ()
    ) -> tuple[tuple[LineHandle, ...], str]:
        """The designated lines that can take a new flow, in the order to try them, and why the others cannot: those
        that are up, then the degraded ones. weights: of `designated`; with them the first line is drawn anew with each
        call, each that is up with its share, and so on among those left. What is known of the lines is remembered
        within a second, since contracts begin and end at seconds, and until a line changes."""
        found = self._usable.get(designated)
        if found is None or not found[0] - 1 <= wall < found[0]:
            if len(self._usable) >= MAX_REMEMBERED:
                self._usable.clear()
            found = self._usable[designated] = (int(wall) + 1, *self._look(designated, wall))
        _, handles, up, why = found
        if weights and up > 1:
            handles = self._drawn(handles[:up], dict(zip(designated, weights, strict=True))) + handles[up:]
        return handles, why

    def look(self, line: str, wall: float) -> tuple[LineHandle | None, str]:
        """A line that can take a new flow, as it is now; or why it cannot."""
        handle = self._handles.get(line)
        if handle is None or line in self._broken:
            return None, self._broken.get(line, "unknown")
        begin, end = self._ends[line]
        if wall < begin or (end and wall >= end):
            return None, "contract not in force"
        state = self._state.get(line)
        if state is LineState.UP or state is LineState.DEGRADED:
            return handle, ""
        return None, state.value if state is not None else "not reported up"

    def _drawn(self, handles: tuple[LineHandle, ...], weights: Mapping[str, int]) -> tuple[LineHandle, ...]:
        """The lines in an order drawn by weight without replacement: each waits a time of its rate, the shortest is
        first (Efraimidis and Spirakis 2006). Those of weight 0 come last, in their order."""
        wait = self._chance.expovariate
        times = {h.id: wait(weights[h.id]) if weights[h.id] > 0 else float("inf") for h in handles}
        return tuple(sorted(handles, key=lambda handle: times[handle.id]))

    def _look(self, designated: Iterable[str], wall: float) -> tuple[tuple[LineHandle, ...], int, str]:
        """The usable lines, how many of them (the first ones) are up, and why not the others."""
        up: list[LineHandle] = []
        degraded: list[LineHandle] = []
        why: list[str] = []
        for line in designated:
            handle, fault = self.look(line, wall)
            if handle is None:
                why.append(f"{line}: {fault}")
            elif self._state[line] is LineState.UP:
                up.append(handle)
            else:
                degraded.append(handle)
        return (*up, *degraded), len(up), ", ".join(why)
