"""What the measurement knows of a proxy under load."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench import cpu
from tests.bench.load import Load


def nothing() -> None:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy that runs. root: the process whose tree is counted; part: the pids of what carries tunnels (None:
    all of it); stop: ends it; about: its version."""

    name: str
    load: Load
    root: int
    part: Callable[[], list[int]] | None = None
    stop: Callable[[], None] = nothing
    about: str = ""

    def whole(self) -> list[int]:
        """The pids of the whole tree."""
        return cpu.tree(self.root)

    def carrying(self) -> list[int]:
        """The pids of the part that carries tunnels."""
        return self.part() if self.part else self.whole()
