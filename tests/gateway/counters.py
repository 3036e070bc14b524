"""A worker that counts, in a process of its own: the locks on shared counters belong to a process."""

import subprocess
import sys
from pathlib import Path

from tests.gateway.node import CODE

# It does what it reads: "take 7 3", or with a name in front where it has several counters: "usage.add 7 acme 1000 0.5".
_PROGRAM = """
import sys
from importlib import import_module
from pathlib import Path
there, columns = Path(sys.argv[1]), int(sys.argv[2])
counters = {}
for made in sys.argv[3:]:
    name, module, kind, file = made.split(":")
    counters[name] = getattr(import_module(module), kind)(there / file, columns)
print("ready", flush=True)
for line in sys.stdin:
    what, *words = line.split()
    name, _, method = what.rpartition(".")
    arguments = [w if w.isalpha() else float(w) if "." in w else int(w) for w in words]
    print(getattr(counters[name], method)(*arguments), flush=True)
for counter in counters.values():
    counter.close()
"""


class Counting:
    """One such worker. made: its counters, as name:module:class:file below there, name empty for a single one; ready:
    whether it could open them."""

    def __init__(self, there: Path, columns: int, *made: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(there), str(columns), *made], cwd=CODE, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.ready = self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def do(self, order: str) -> str:
        """What it answers."""
        assert self.process.stdin
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self._line()

    def end(self, number: int = 0) -> str:
        """Ends it in order, or by a signal; what it complained about."""
        if number:
            self.process.send_signal(number)
        return self.process.communicate(timeout=10)[1]
