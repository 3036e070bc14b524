"""Holds the kernel to the plan: reads, repairs, and says what it found. Takes nothing away when it ends."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from gateway.line import health, nft
from gateway.line.attribution import in_words, is_devices_own, line_of, line_on
from gateway.line.killswitch import render
from gateway.line.memory import FILE, Memory, Notebook, keep
from gateway.line.model import LineEntry, NodeConfig
from gateway.line.netlink import Kernel
from gateway.line.plan import Plan, plan, sort_out
from gateway.line.reconcile import Actual, diff
from gateway.line.shaper import Shaper
from gateway.line.spec import LineSpec
from gateway.line.steps import (
    Action,
    LoadTable,
    SetTunnelSource,
)
from telemetry.lines import RETIRED

OnState = Callable[[str, str, str], None]  # line, "up" or "down", why


class OnDrift(Protocol):
    """Told of a difference between plan and kernel."""

    def __call__(self, detail: str, *, repaired: bool) -> None:
        """What was found, and whether it is put right."""


# A foreign rule with our selectors may be deleted first, and ours only in the next pass; a device of ours is deleted,
# made, settled and led to one after the other.
_PASSES = 6
WHILE_AWAY = " (changed while no lines process ran)"


class Keeper:
    """Use from one thread. on_state is called for a line's first state and each change; on_drift for each difference
    that neither a new plan nor a device's own going and coming explains, those since an earlier process ended too.
    persist: keeps the table for the next boot, and beside it what the kernel had for the next process."""

    def __init__(self, node: NodeConfig, on_state: OnState, on_drift: OnDrift, persist: Path | None = None) -> None:
        self._node = node
        self._on_state = on_state
        self._on_drift = on_drift
        self._persist = persist
        self._kernel = Kernel()
        self._notebook = Notebook(persist and persist.with_name(FILE), lambda what: on_drift(what, repaired=False))
        before = self._notebook.before
        self._shaper = Shaper(node, on_drift, *((before.shaping, before.indexes) if before else ()))
        self._problems: dict[str, str] = {}
        self._plan: Plan = plan((), node)
        self._text = ""
        self._table: str | None = None  # as it reads back
        self._fresh = True
        self._is_told = False
        self._links: dict[str, str] = dict(before.devices) if before else {}  # each with its addresses, in words
        self._states: dict[str, tuple[str, str]] = {}
        self._told: set[str] = set()
        self._silent = health.Silent()
        self.repaired: Counter[str] = Counter()  # by line, "" for what is of no line alone

    def close(self) -> None:
        """Closes the netlink connections; the kernel's state stays."""
        self._kernel.close()
        self._shaper.close()

    def want(self, entries: Iterable[LineEntry]) -> dict[str, str]:
        """Takes the lines of a policy revision. Answers why some were left out: those are reported down; nothing of
        them is put into the kernel."""
        self._is_told = True
        entries = list(entries)
        specs, self._problems = sort_out(entries, self._node)
        usable = {spec.id for spec in specs}
        self._shaper.want(entry for entry in entries if entry.id in usable)
        wanted = plan(specs, self._node)
        text = render(specs, self._node)
        if wanted != self._plan or text != self._text:
            self._plan, self._fresh = wanted, True
        if text != self._text:
            self._text, self._table = text, None
        return dict(self._problems)

    def sweep(self) -> list[Action]:
        """Reads the kernel, repairs what differs, reports. Answers the steps that were taken. Never raises for what the
        kernel refuses: the lines are then down. Before the first want() it only sees that some table stands: what an
        earlier process left is better than a table without lines."""
        taken: list[Action] = []
        repairs: list[Action] = []
        left: list[Action] = []
        faults: dict[str, str] = {}  # by line, "" for what is of all
        actual = Actual()
        try:
            if not self._is_told and nft.read_table():
                return []
            for _ in range(_PASSES):
                actual = self._kernel.read(self._plan, nft.read_table())
                steps = diff(self._plan, self._table, actual)
                if steps and self._fresh:
                    self._notebook.forget()
                done = len(taken)
                faults = self._take(steps, actual, taken, repairs)
                if len(taken) == done:
                    break
            else:
                actual = self._kernel.read(self._plan, nft.read_table())
                left = diff(self._plan, self._table, actual)  # taken again and again, and the kernel has it not
                for step in left:
                    self._fault(faults, step, f"cannot {step}")
        except (OSError, nft.NftError) as error:
            faults = {"": f"cannot read the kernel's state: {error}"}
        self._told -= {str(step) for step in taken if step not in left}
        since = WHILE_AWAY if self._fresh and self._notebook.before else ""
        for step in dict.fromkeys(repair for repair in repairs if repair not in left):
            self.repaired[line_of(step, self._plan)] += 1
            self._on_drift(f"{step}{since}", repaired=True)
        if self._is_told:
            for device in self._shaper.sweep():
                self.repaired[line_on(device, self._plan)] += 1
        self._tell_foreign(actual)
        self._tell_states(actual, faults)
        links = {device: in_words(device, actual) for device in self._devices()}
        if "" not in faults:
            if self._is_told and (self._fresh or taken or links != self._links):
                shares = self._shaper.in_force()
                where = self._notebook.where
                self._notebook.note(Memory.of(where, self._plan, self._table, actual, links, shares))
            self._fresh, self._notebook.before = False, None
        self._links = links
        return taken

    def _fault(self, faults: dict[str, str], step: Action, what: str) -> None:
        """A step that cannot be taken is the fault of the line that it is for: the others go on. Told once."""
        if str(step) not in self._told:
            self._told.add(str(step))
            self._on_drift(what, repaired=False)
        if not isinstance(step, SetTunnelSource):  # lines that need it say so by themselves
            faults.setdefault(line_of(step, self._plan), what)

    def _take(self, steps: list[Action], actual: Actual, taken: list[Action], repairs: list[Action]) -> dict[str, str]:
        """One pass; adds to taken what the kernel took, and to repairs what of that nothing explains."""
        faults: dict[str, str] = {}
        for planned in steps:
            step = planned
            if isinstance(step, LoadTable) and not self._is_expected(step, actual):
                step = LoadTable("edited" if actual.table else "missing")
            try:
                if isinstance(step, LoadTable):
                    self._load()
                else:
                    self._kernel.apply(step)
            except (OSError, nft.NftError) as error:
                self._fault(faults, step, f"cannot {step}: {error}")
                continue
            taken.append(step)
            if not self._is_expected(step, actual):
                repairs.append(step)
        return faults

    def _load(self) -> None:
        text = render(self._plan.lines, self._node, nft.read_counters())
        nft.load(text)
        self._table = nft.read_table()
        if self._persist is not None:
            try:
                keep(self._persist, self._text)
            except OSError as error:
                self._on_drift(f"cannot keep the table for the next boot: {error}", repaired=False)

    def _is_expected(self, step: Action, actual: Actual) -> bool:
        """A new plan, or what belongs to a device that went or came since the last sweep."""
        before = self._notebook.before
        if self._fresh and (before is None or not before.contradicts(step, actual)):
            return True
        return is_devices_own(step, self._plan, self._links, actual)

    def _devices(self) -> list[str]:
        lines = (device for line in self._plan.lines for device in line.devices)
        return [*lines, *(access.interface for access in self._node.access)]

    def _tell_foreign(self, actual: Actual) -> None:
        for rule in map(str, actual.foreign):
            if rule not in self._told:
                self._told.add(rule)
                self._on_drift(f"foreign rule before ours: {rule}", repaired=False)

    def _tell_states(self, actual: Actual, faults: Mapping[str, str]) -> None:
        actual = replace(actual, neighbours=self._silent.settled(actual.neighbours))
        states = {line: (health.DOWN, why) for line, why in self._problems.items()}
        for line in self._plan.lines:
            fault = faults.get("") or faults.get(line.id)
            states[line.id] = (health.DOWN, fault) if fault else health.line_state(line, actual)
        for name, (state, why) in states.items():
            if self._states.get(name) != (state, why):
                self._on_state(name, state, why)
        for name in self._states.keys() - states.keys():
            self._on_state(name, health.DOWN, RETIRED)
        self._states = states

    def solicit(self) -> None:
        """Has the kernel look for each line's gateways again; for the slow sweep only, since it makes events."""
        for line in self._plan.lines:
            try:
                self._kernel.solicit(line)
            except OSError as error:
                self._on_drift(f"solicit {line.id}: {error}", repaired=False)

    @property
    def repairs(self) -> int:
        """Repairs since it was made."""
        return self.repaired.total()

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes by counter of the table."""
        return nft.read_counters()

    def lines(self) -> tuple[LineSpec, ...]:
        """The lines that are in the kernel."""
        return self._plan.lines

    def teardown(self) -> None:
        """Takes everything of ours out of the kernel, the table last. Never called on exit, only by hand."""
        self._plan, self._problems, self._text, self._fresh = plan((), self._node), {}, "", True
        actual = self._kernel.read(self._plan, "")
        empty = Plan((), frozenset(), frozenset(), {})
        for step in diff(empty, "", actual):
            self._kernel.apply(step)
        self._shaper.want(())
        self._shaper.sweep()
        nft.remove()
        self._table = None
        if self._persist is not None:
            self._persist.unlink(missing_ok=True)
        self._notebook.forget()
