"""Reading a log's files from a directory. Nothing of it is trusted here: the callers check against a checkpoint."""

from collections.abc import Iterator
from pathlib import Path

from telemetry.evidence.error import EvidenceError
from telemetry.evidence.files import read_or_none
from telemetry.evidence.merkle import HASH_SIZE
from telemetry.evidence.tile import ENTRIES, WIDTH, Tile, bundles, frame, split_entries, split_hashes

CHECKPOINT = "checkpoint"
WITNESSED = "witnessed"


class Reader:
    """The log in `directory`, the prefix of C2SP tlog-tiles."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def checkpoint(self) -> bytes:
        """The published checkpoint's note. Raises EvidenceError where there is none."""
        return self._read(CHECKPOINT)

    def witnessed(self) -> bytes | None:
        """The newest checkpoint with cosignatures, None where no witness ever signed one."""
        return read_or_none(self.directory / WITNESSED)

    def tile(self, tile: Tile) -> bytes:
        """A tile's or bundle's bytes. For a partial one that is gone the full one serves, cut to its width (tlog-tiles,
        "Partial Tiles"). Raises EvidenceError where neither is there, or the full one is malformed."""
        full = Tile(tile.level, tile.number)
        for candidate in dict.fromkeys((tile, full)):
            data = read_or_none(self.directory / candidate.path)
            if data is None:
                continue
            if candidate == tile:
                return data
            if tile.level == ENTRIES:
                return frame(split_entries(data, full)[: tile.width])
            split_hashes(data, full)
            return data[: tile.width * HASH_SIZE]
        raise EvidenceError(f"{tile.path} is missing")

    def entries(self, tile: Tile) -> list[bytes]:
        """The entries of a bundle. Raises EvidenceError."""
        return split_entries(self.tile(tile), tile)

    def first_bundle(self, size: int) -> int:
        """The number of the first bundle of a log of `size` entries that is there: those before were deleted, since
        they go in their order (prune.py)."""
        low, high = 0, size // WIDTH  # the partial one never goes
        middle = 0  # looked for first: most logs are whole
        while low < high:
            if (self.directory / Tile(ENTRIES, middle).path).exists():
                high = middle
            else:
                low = middle + 1
            middle = (low + high) // 2
        return low

    def bundles(self, size: int, start: int = 0) -> Iterator[Tile]:
        """The bundles that are there of a log of `size` entries, from the one that holds leaf `start`."""
        return bundles(size, max(start, self.first_bundle(size) * WIDTH))

    def _read(self, name: str) -> bytes:
        data = read_or_none(self.directory / name)
        if data is None:
            raise EvidenceError(f"{self.directory / name} is missing")
        return data
