"""Processes that died: their last words are taken, and each of their flows gets its closing record."""

from collections.abc import Callable
from pathlib import Path

from telemetry.fold import OpenFlow
from telemetry.follow import Follower, Process
from telemetry.journal import Journal
from telemetry.spooldir import reserve_name

SLICE = 500  # closing records of one dead process made in one turn


class Mourning:
    """Of the recorder's thread. drain: copies what a process wrote, False when there is more. now is Unix µs. All
    methods raise OSError."""

    def __init__(self, journal: Journal, follower: Follower, spool: Path, drain: Callable[[Process], bool]) -> None:
        self._journal, self._follower, self._spool, self._drain = journal, follower, spool, drain
        self._ending: dict[str, list[tuple[str, OpenFlow]]] = {}  # dead processes, and their flows still to be closed

    @property
    def busy(self) -> bool:
        """Whether there are flows still to be closed."""
        return bool(self._ending)

    def find_dead(self, now: int) -> None:
        """Finds processes that died, takes their last words, and tells what others did to spool files."""
        journal, follower = self._journal, self._follower
        for process, what in follower.odd():
            journal.act(now, f"{process.name} of boot {process.boot}: {what}", {"gaps": 1})
        for process in list(follower.processes.values()):
            if process.key in self._ending or not follower.dead(process):
                continue
            while not self._drain(process):
                pass
            if torn := follower.torn(process):
                journal.take(process, torn, now)
            self._ending[process.key] = list(journal.state.flows_of(process.key).items())

    def close_some(self, now: int) -> None:
        """Closes the flows of the dead, some in each turn, so that the records of the living do not wait."""
        for key, flows in list(self._ending.items()):
            if flows:
                self._journal.close_flows(dict(flows[:SLICE]), now)
                del flows[:SLICE]
            if flows:
                continue
            del self._ending[key]
            if process := self._follower.processes.get(key):
                self._follower.finish(process)
                (self._spool / reserve_name(process.boot, process.name)).unlink(missing_ok=True)

    def find_orphans(self) -> None:
        """Flows of processes that have no spool file any more: their host or their spool is gone."""
        alive, state = self._follower.processes, self._journal.state
        for id_, flow in state.flows.items():
            if flow.process not in alive:
                self._ending.setdefault(flow.process, []).append((id_, flow))
        for key in [key for key in state.sequences if key not in alive and key != self._journal.own_key]:
            state.forget(key)
