"""Deleting old entries of a log (C2SP tlog-tiles, "Pruning"): bundles below a minimum index go, all tiles stay.

So every proof and checkpoint of before holds, and new ones can be made, also of what was deleted, for whoever kept it.
What is deleted is said by a record of the log itself before it is (`"pruned":MINIMUM`), and a verifier believes a gap
at the beginning only as far as such a record goes.

    DIRECTORY/NAME.minimum     "MINIMUM DONE": what is below MINIMUM is to go, what is below DONE is gone
"""

import os
import re
from pathlib import Path

from telemetry.evidence.error import EvidenceError
from telemetry.evidence.files import read_or_none
from telemetry.evidence.tile import ENTRIES, WIDTH, Tile
from telemetry.whole import write_whole

PRUNED = "pruned"  # in the values of the record that says so
_SAID = re.compile(rb'"pruned":([0-9]{1,18})[,}]')
_OWN = b'"worker":"recorder"'
_STATE = re.compile(rb"([0-9]{1,18}) ([0-9]{1,18})\n")


def said_in(entry: bytes) -> int:
    """The minimum index that an entry says, 0 for all others. Quotes inside of a record's texts are escaped, so no
    client can write what is looked for here."""
    if b'"pruned":' not in entry or _OWN not in entry:
        return 0
    return max((int(found) for found in _SAID.findall(entry)), default=0)


class Pruner:
    """Of one log; only its writer uses it. minimum: entries below it may not be asked for any more; done: those below
    it are gone. Both are multiples of a bundle. Raises EvidenceError for a state file that is none."""

    def __init__(self, directory: Path, name: str) -> None:
        self._root = directory / name
        self._path = directory / f"{name}.minimum"
        data = read_or_none(self._path)
        self.minimum = self.done = 0
        if data is not None:
            match = _STATE.fullmatch(data)
            if not match:
                raise EvidenceError(f"{self._path} does not hold two numbers; put it back from a backup")
            self.minimum, self.done = int(match[1]), int(match[2])

    def raise_to(self, minimum: int) -> None:
        """Asks for all below it to go. Call once the record that says so is under a published checkpoint. Raises
        OSError."""
        minimum -= minimum % WIDTH
        if minimum > self.minimum:
            self.minimum = minimum
            self._store()

    def work(self, most: int) -> int:
        """Deletes at most so many bundles; how many it did. Raises OSError."""
        first = self.done // WIDTH
        last = min(self.minimum // WIDTH, first + most)
        for number in range(first, last):
            path = self._root / Tile(ENTRIES, number).path
            path.unlink(missing_ok=True)
            if number % 1000 == 999:
                _drop_empty(path.parent)
        if last > first:
            self.done = last * WIDTH
            self._store()
        return last - first

    def _store(self) -> None:
        write_whole(self._path, b"%d %d\n" % (self.minimum, self.done), 0o640)


def _drop_empty(directory: Path) -> None:
    """A directory of a thousand bundles that are gone."""
    if not os.listdir(directory):
        directory.rmdir()
