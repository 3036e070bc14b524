"""Verifying a log from its files alone: every entry, every tile, the signed head, and heads that were kept from before.

Entries are hashed anew and all tiles made of them again, which must be those that are there. So nothing is believed but
the log's verifier key.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.frontier import Frontier
from telemetry.evidence.merkle import HASH_SIZE, leaf_hash, prove_inclusion, verify_inclusion
from telemetry.evidence.prune import said_in
from telemetry.evidence.reader import Reader
from telemetry.evidence.source import Source
from telemetry.evidence.tile import ENTRIES, WIDTH, Tile, TileTree, bundles, tile_at
from telemetry.segments import list_segments, segment_name

_BATCH = 16  # bundles between two looks at the tiles


@dataclass(frozen=True, slots=True)
class Verified:
    """What was shown: the head, and how many entries, their bytes and tiles are exactly those under it. pruned: of so
    many entries at the beginning only the hashes are there, as a record of the log says."""

    head: Checkpoint
    entries: int
    bytes: int
    tiles: int
    pruned: int = 0


def verify_log(
    reader: Reader,
    key: note.VerifierKey,
    kept: Iterable[bytes] = (),
    others: Iterable[note.VerifierKey] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Verifies all of a log. kept: signed checkpoints of this log from earlier on, which must be its beginnings;
    others: witnesses' keys; progress is told how many entries are done. Raises EvidenceError for the first wrong
    thing."""
    head = checkpoint.open_signed(reader.checkpoint(), key, others)
    for signed in kept:
        verify_kept(reader, head, signed, key)
    frontier = Frontier()
    tiles = total = said = 0
    gone = reader.first_bundle(head.size)
    for bundle in bundles(head.size):
        entries: list[bytes] = []
        if bundle.number < gone:
            made = frontier.skip(reader.tile(tile_at(0, bundle.number, head.size)))
        else:
            entries = reader.entries(bundle)
            made = frontier.fill(entries)
            said = max(said, *map(said_in, entries))
        if bundle.width < WIDTH:
            made += frontier.partial()
        for tile, data in made:
            if tile.level == ENTRIES:
                total += len(data) - 2 * len(entries)
            else:
                _compare(reader, tile, data)
            tiles += 1
        if bundle.number % _BATCH == 0:
            progress(frontier.size)
    for tile, data in frontier.partial() if head.size % WIDTH == 0 else ():
        _compare(reader, tile, data)
        tiles += 1
    if frontier.root() != head.root:
        raise EvidenceError(f"the entries and tiles are not those of the checkpoint of size {head.size}")
    if said < gone * WIDTH:
        lost = Tile(ENTRIES, said // WIDTH).path
        raise EvidenceError(f"{lost} is missing, and no record of the log says that it was deleted")
    return Verified(head, frontier.size - gone * WIDTH, total, tiles, gone * WIDTH)


def verify_kept(reader: Reader, head: Checkpoint, signed: bytes, key: note.VerifierKey) -> Checkpoint:
    """An earlier checkpoint, shown to be of a beginning of this log; by its tiles, which must lead to the head's root.
    Raises EvidenceError where the log was rolled back or forked since."""
    old = checkpoint.open_signed(signed, key)
    if old.size > head.size:
        raise EvidenceError(
            f"the log is at size {head.size}, but a checkpoint of size {old.size} was seen before: it was rolled back"
        )
    tree = TileTree(head.size, reader.tile)
    if head.size and tree.root() != head.root:
        raise EvidenceError(f"the tiles do not have the root of the checkpoint of size {head.size}")
    if old.size and tree.root(old.size) != old.root:
        raise EvidenceError(f"the checkpoint of size {old.size} that was seen before is of another log: it was forked")
    return old


def verify_range(reader: Reader, head: Checkpoint, start: int, end: int) -> list[bytes]:
    """The entries start to end - 1, shown to be under the head. Raises EvidenceError."""
    if not 0 <= start < end <= head.size:
        raise EvidenceError(f"a log of {head.size} entries has no entries {start} to {end - 1}")
    tree = TileTree(head.size, reader.tile)
    found: list[bytes] = []
    for bundle in bundles(end, start):
        whole = tile_at(ENTRIES, bundle.number, head.size)
        if bundle.number < reader.first_bundle(head.size):
            raise EvidenceError(f"{whole.path} is not there: the first entries of the log were deleted, or are missing")
        entries = reader.entries(whole)
        tile = tile_at(0, bundle.number, head.size)
        _compare(reader, tile, b"".join(map(leaf_hash, entries)))
        verify_hashes(tree, head, bundle.number)
        found += entries
    skipped = start - start % WIDTH
    return found[start - skipped : end - skipped]


def verify_hashes(tree: TileTree, head: Checkpoint, number: int) -> None:
    """The tile of leaves of this number, and those that lead from it to the head's root. Raises EvidenceError."""
    # the proof of one leaf is made of all other hashes of its tile, so that it vouches for them too
    first = number * WIDTH
    proof = prove_inclusion(first, head.size, tree.node)
    verify_inclusion(first, head.size, tree.leaf(first), proof, head.root)


def verify_records(reader: Reader, head: Checkpoint, directory: Path) -> int:
    """The node's own log of records, which is searched and shown, against the verified entries: how many agree. Raises
    EvidenceError for the first that does not."""
    try:
        segments = list_segments(directory) if directory.exists() else []
        return _verify_records(reader, head, directory, segments) if segments else 0
    except OSError as error:
        raise EvidenceError(f"{error.filename or directory} cannot be read: {error.strerror}") from None


def _verify_records(reader: Reader, head: Checkpoint, directory: Path, segments: list[int]) -> int:
    source, index = Source(directory, segments[0]), segments[0]
    last = (segments[-1], (directory / segment_name(segments[-1])).stat().st_size)
    for bundle in bundles(head.size, index):
        entries = reader.entries(bundle)[index % WIDTH :]
        records = source.read(last, len(entries))
        for place, entry in enumerate(entries):
            if place >= len(records):
                raise EvidenceError(f"{directory} ends before record {index + place}, which is in the evidence")
            if records[place] != entry:
                raise EvidenceError(f"record {index + place} in {directory} is not as it was logged")
        index += len(entries)
    return index - segments[0]


def find(reader: Reader, size: int, wanted: Callable[[bytes], bool], hint: bytes = b"") -> tuple[int, bytes] | None:
    """The last of the first `size` entries that is wanted, with its index; hint: bytes that stand in any such. Proves
    nothing. Raises EvidenceError."""
    for number in range((size - 1) // WIDTH, reader.first_bundle(size) - 1, -1):
        bundle = tile_at(ENTRIES, number, size)
        if hint not in reader.tile(bundle):
            continue
        for place, entry in reversed(list(enumerate(reader.entries(bundle)))):
            if hint in entry and wanted(entry):
                return number * WIDTH + place, entry
    return None


def _compare(reader: Reader, tile: Tile, made: bytes) -> None:
    found = reader.tile(tile)
    if found == made:
        return
    if len(found) != len(made):
        raise EvidenceError(f"{tile.path} holds {len(found)} bytes instead of {len(made)}")
    at = next(at for at in range(0, len(made), HASH_SIZE) if found[at : at + HASH_SIZE] != made[at : at + HASH_SIZE])
    place = tile.number * WIDTH + at // HASH_SIZE
    if tile.level == 0:
        raise EvidenceError(f"entry {place} does not have the hash that {tile.path} holds for it")
    raise EvidenceError(
        f"hash {at // HASH_SIZE} of {tile.path} is not that of the tile {Tile(tile.level - 1, place).path}"
    )
