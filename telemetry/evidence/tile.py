"""Tiles and entry bundles of C2SP tlog-tiles: their paths, their bytes, and a tree read from them. Pure.

A tile of level L holds up to 256 hashes of perfect subtrees of 256**L leaves; a bundle holds the entries of a tile of
level 0. The right edge of a tree consists of partial ones, whose width stands in the path.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from telemetry.evidence.error import EvidenceError
from telemetry.evidence.merkle import HASH_SIZE, node_hash, range_hash

WIDTH = 256
HEIGHT = 8  # 2**HEIGHT == WIDTH
ENTRIES = -1  # the level of an entry bundle
MAX_LEVEL = 63
MAX_ENTRY = 65_535

_KEPT = 64  # tiles of a TileTree in memory, some 35 kB each

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)


class Tile(NamedTuple):
    """One file of a log: a tile of hashes, or with level ENTRIES the bundle of entries beneath tile (0, number)."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """C2SP tlog-tiles, "Merkle Tree": tile/<L>/<N>[.p/<W>] below the log's prefix."""
        digits = str(self.number)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([f"x{part}" for part in parts[:-1]] + parts[-1:])
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{name}" + ("" if self.width == WIDTH else f".p/{self.width}")


def parse_path(path: str) -> Tile:
    """The tile that a path names. Raises EvidenceError for any path that Tile.path would not make."""
    if match := _PATH.fullmatch(path):
        level = ENTRIES if match[1] == "entries" else int(match[1])
        tile = Tile(level, int(match[2].replace("/", "").replace("x", "")), int(match[3] or WIDTH))
        if tile.path == path and level <= MAX_LEVEL and 0 < tile.width <= WIDTH and tile.number < 1 << 63:
            return tile
    raise EvidenceError(f"{path!r} is no path of a tile")


def tile_at(level: int, number: int, size: int) -> Tile:
    """The tile of a tree of `size` leaves at this place, as wide as it is then. Raises EvidenceError where there is
    none."""
    width = min(WIDTH, (size >> (HEIGHT * max(level, 0))) - number * WIDTH)
    if width <= 0 or number < 0:
        raise EvidenceError(f"a tree of {size} leaves has no tile {Tile(level, number).path}")
    return Tile(level, number, width)


def edge(size: int) -> list[Tile]:
    """The partial tiles at the right edge of a tree, lowest level first, without the bundle."""
    counts = ((level, size >> (HEIGHT * level)) for level in range(-(-size.bit_length() // HEIGHT)))
    return [Tile(level, count // WIDTH, count % WIDTH) for level, count in counts if count % WIDTH]


def split_hashes(data: bytes, tile: Tile) -> list[bytes]:
    """The hashes of a tile. Raises EvidenceError for another length."""
    if len(data) != tile.width * HASH_SIZE:
        raise EvidenceError(f"{tile.path} holds {len(data)} bytes instead of {tile.width * HASH_SIZE}")
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def frame(entries: Sequence[bytes]) -> bytes:
    """C2SP tlog-tiles, "Log entries": each behind its length as big-endian uint16. Raises EvidenceError for an entry
    that is too long."""
    try:
        return b"".join([part for entry in entries for part in (len(entry).to_bytes(2), entry)])
    except OverflowError:
        length = max(map(len, entries))
        raise EvidenceError(f"an entry of {length} bytes is longer than {MAX_ENTRY}") from None


def split_entries(data: bytes, tile: Tile) -> list[bytes]:
    """The entries of a bundle. Raises EvidenceError where it does not hold exactly as many as it is wide."""
    entries: list[bytes] = []
    at, end, width = 0, len(data), tile.width
    while at + 2 <= end and len(entries) < width:
        start = at + 2
        at = start + (data[at] << 8 | data[at + 1])
        if at > end:
            raise EvidenceError(f"{tile.path} ends inside its entry {len(entries)} of {width}")
        entries.append(data[start:at])
    if len(entries) < width:
        raise EvidenceError(f"{tile.path} holds {len(entries)} entries instead of {width}")
    if at != end:
        raise EvidenceError(f"{tile.path} holds {end - at} bytes behind its {tile.width} entries")
    return entries


class TileTree:
    """A tree of `size` leaves in tiles. read: the bytes of one tile; raises EvidenceError or OSError, which pass.

    node() trusts what it reads: whoever does not trust the files checks root() or the finished proof against a signed
    root. The tiles used last are kept, with the nodes inside them, so that many proofs cost little more than one.
    """

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        self.size = size
        self._read = read
        self._tiles: dict[tuple[int, int], list[list[bytes]]] = {}  # the latest used last

    def node(self, level: int, index: int) -> bytes:
        """The hash of a perfect subtree (merkle.Node)."""
        tile_level, height = divmod(level, HEIGHT)
        number, place = divmod(index << height, WIDTH)
        return self._rows(tile_level, number)[height][place >> height]

    def root(self, size: int | None = None) -> bytes:
        """The root of this tree, or of an earlier one of `size` leaves."""
        return range_hash(0, self.size if size is None else size, self.node)

    def leaf(self, index: int) -> bytes:
        """The hash of a leaf."""
        return self.node(0, index)

    def _rows(self, level: int, number: int) -> list[list[bytes]]:
        """A tile's hashes, and above them those of the perfect subtrees inside of it, row by row."""
        rows = self._tiles.pop((level, number), None)
        if rows is None:
            tile = tile_at(level, number, self.size)
            rows = [split_hashes(self._read(tile), tile)]
            for _ in range(HEIGHT):
                below = rows[-1]
                rows.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
            if len(self._tiles) >= _KEPT:
                del self._tiles[next(iter(self._tiles))]
        self._tiles[level, number] = rows
        return rows


def bundles(size: int, start: int = 0) -> Iterator[Tile]:
    """The bundles of a tree of `size` leaves, from the one that holds leaf `start`."""
    for number in range(start // WIDTH, -(-size // WIDTH)):
        yield tile_at(ENTRIES, number, size)
