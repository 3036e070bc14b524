"""Holds the kernel to the wanted shares: reads, repairs, and says what it found. Takes nothing away when it ends."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from gateway.line.memory import digest
from gateway.line.model import LineEntry, NodeConfig
from gateway.line.shaping import AddQdisc, Tree, diff, trees
from gateway.line.tc import TrafficControl


class OnDrift(Protocol):
    """Told of a difference between plan and kernel."""

    def __call__(self, detail: str, *, repaired: bool) -> None:
        """What was found, and whether it is put right."""


class Shaper:
    """Use from one thread, whose network namespace it acts in. on_drift is called for each difference that neither new
    lines nor a device's own coming explains, for foreign qdiscs that were replaced, and once for each failure. stood,
    indexes: in_force() of an earlier process."""

    def __init__(
        self, node: NodeConfig, on_drift: OnDrift, stood: str = "", indexes: Mapping[str, int] | None = None
    ) -> None:
        self._node = node
        self._on_drift = on_drift
        self._tc = TrafficControl()
        self._wanted: dict[str, Tree] | None = None
        self._fresh = True
        self._stood = stood
        self._indexes: dict[str, int] = dict(indexes or {})
        self._told: set[str] = set()

    def close(self) -> None:
        """Closes the netlink connection; the kernel's state stays."""
        self._tc.close()

    def want(self, entries: Iterable[LineEntry]) -> None:
        """Takes the lines of a policy revision; sweep() puts them into the kernel."""
        wanted = trees(entries, self._node)
        if wanted != self._wanted:
            self._wanted, self._fresh = wanted, digest(repr(wanted)) != self._stood
            self._stood = ""

    def sweep(self) -> list[str]:
        """Reads the kernel and repairs what differs; answers the device of each repair. Never raises for what the
        kernel refuses. Before the first want() it does nothing."""
        if self._wanted is None:
            return []
        try:
            indexes, actual = self._tc.read()
        except OSError as error:
            self._fail("cannot read the traffic classes", error)
            return []
        repairs: list[str] = []
        failed = False
        for step in diff(self._wanted, actual):
            try:
                self._tc.apply(step, indexes[step.device])
            except OSError as error:
                failed = True
                self._fail(f"cannot {step}", error)
                continue
            self._told.discard(f"cannot {step}")
            expected = self._fresh or self._indexes.get(step.device) != indexes[step.device]
            if not expected or (isinstance(step, AddQdisc) and step.instead):
                repairs.append(step.device)
                self._on_drift(str(step), repaired=True)
        self._told.discard("cannot read the traffic classes")
        self._fresh = self._fresh and failed
        self._indexes = indexes
        return repairs

    def in_force(self) -> tuple[str, dict[str, int]]:
        """The digest of what is wanted, empty while it is not in the kernel; and the indexes of the devices."""
        return "" if self._fresh or self._wanted is None else digest(repr(self._wanted)), self._indexes

    def _fail(self, what: str, error: OSError) -> None:
        if what not in self._told:
            self._told.add(what)
            self._on_drift(f"{what}: {error}", repaired=False)
