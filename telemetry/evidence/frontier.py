"""A log's growing right edge: what must be in memory to add entries, and which files adding them makes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from telemetry.evidence.error import EvidenceError
from telemetry.evidence.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE, node_hash, tree_hash
from telemetry.evidence.tile import ENTRIES, WIDTH, Tile, edge, frame, split_hashes

_FULL = WIDTH * HASH_SIZE


@dataclass(slots=True)
class Frontier:
    """size: leaves so far; bundle: the framed entries of the partial bundle; tiles: the partial tile of each level."""

    size: int = 0
    bundle: bytes = b""
    tiles: list[bytes] = field(default_factory=list)

    def copy(self) -> "Frontier":
        """Another one, which may grow while this stays."""
        return Frontier(self.size, self.bundle, list(self.tiles))

    def fill(self, entries: Sequence[bytes]) -> list[tuple[Tile, bytes]]:
        """Adds entries; the full bundles and tiles that they complete. Raises EvidenceError for an entry that is too
        long, or a log that is full; then this frontier is no longer good for anything."""
        if self.size + len(entries) > MAX_SIZE:
            raise EvidenceError(f"the log cannot hold more than {MAX_SIZE} entries")
        done: list[tuple[Tile, bytes]] = []
        at = 0
        while at < len(entries):
            room = WIDTH - self.size % WIDTH
            part = entries[at : at + room]
            at += len(part)
            number = self.size // WIDTH
            self.size += len(part)
            self.bundle += frame(part)
            leaves = b"".join([sha256(b"\x00" + entry).digest() for entry in part])  # merkle.leaf_hash
            if self.size % WIDTH == 0:
                done.append((Tile(ENTRIES, number), self.bundle))
                self.bundle = b""
            self._extend(0, leaves, done)
        return done

    def skip(self, leaves: bytes) -> list[tuple[Tile, bytes]]:
        """Adds a whole bundle by the hashes of its entries alone, which were deleted; the tiles that it completes. Only
        at the end of a bundle."""
        done: list[tuple[Tile, bytes]] = []
        self.size += WIDTH
        self._extend(0, leaves, done)
        return done

    def partial(self) -> list[tuple[Tile, bytes]]:
        """The partial bundle and tiles of this moment."""
        found = [(tile, self.tiles[tile.level]) for tile in edge(self.size)]
        if self.bundle:
            found.append((Tile(ENTRIES, self.size // WIDTH, self.size % WIDTH), self.bundle))
        return found

    def root(self) -> bytes:
        """The hash of the whole tree: the partial tiles side by side, the highest level leftmost."""
        found = b""
        for tile, data in ((tile, self.tiles[tile.level]) for tile in edge(self.size)):
            hashes = split_hashes(data, tile)
            while hashes:  # perfect subtrees of this tile, from the right
                width = len(hashes) & -len(hashes)
                peak = tree_hash(hashes[-width:])
                found = node_hash(peak, found) if found else peak
                del hashes[-width:]
        return found or EMPTY_ROOT

    def _extend(self, level: int, hashes: bytes, done: list[tuple[Tile, bytes]]) -> None:
        if level == len(self.tiles):
            self.tiles.append(b"")
        data = self.tiles[level] + hashes
        if len(data) < _FULL:
            self.tiles[level] = data
            return
        # never more than one tile's worth at once: fill() stops at each bundle's end
        self.tiles[level] = b""
        tile = Tile(level, (self.size >> 8 * (level + 1)) - 1)
        done.append((tile, data))
        self._extend(level + 1, tree_hash(split_hashes(data, tile)), done)
