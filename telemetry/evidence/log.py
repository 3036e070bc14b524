"""One evidence log on disk: entries in, checkpoints out, and after any end either all of a batch or nothing of it.

    DIRECTORY/NAME/            the log as C2SP tlog-tiles has it: checkpoint, tile/…; to be served or copied as it is
    DIRECTORY/NAME/witnessed   the newest checkpoint that witnesses cosigned, where any do; it may be older
    DIRECTORY/NAME.committed   the newest signed checkpoint, durable before it is published
    DIRECTORY/NAME.staging/    files being written

A batch: tiles are written and synced under their final names, where no published checkpoint leads yet; then the
committed checkpoint, if it still is the one this process wrote, is replaced by the new one (compare and swap); then
that is published. A kill in between leaves tiles that the next batch writes again, or a committed checkpoint that the
next start publishes. So no checkpoint is ever seen that is not durable with all its tiles, or that contradicts another.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.files import Calls, Files, read_or_none
from telemetry.evidence.frontier import Frontier
from telemetry.evidence.merkle import leaf_hash
from telemetry.evidence.reader import CHECKPOINT, WITNESSED, Reader
from telemetry.evidence.signing import PrivateKey
from telemetry.evidence.tile import ENTRIES, WIDTH, Tile, edge, split_entries, split_hashes, tile_at

MAX_BATCH = 1 << 14  # entries


class EvidenceLog:
    """The writing end, of one process and thread. origin: which log this is, the first line of its checkpoints.
    further: keys of second signatures.

    All methods raise OSError, or EvidenceError where the files do not fit each other or the key. After either this
    object is good for nothing; a new one takes up what is on disk.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        origin: str,
        key: Ed25519PrivateKey,
        calls: Calls = os,
        further: Sequence[PrivateKey] = (),
    ) -> None:
        self.origin = origin
        self.key = note.VerifierKey(origin, note.ED25519, key.public_key().public_bytes_raw())
        self.keys = (self.key, *(note.VerifierKey(origin, other.type, other.public) for other in further))
        self.reader = Reader(directory / name)
        self._private, self._further = key, further
        self._committed = directory / f"{name}.committed"
        self._files = Files(directory / name, directory / f"{name}.staging", calls)
        self.signed = self._recover()
        self._tidy()

    @property
    def size(self) -> int:
        """How many entries are under the published checkpoint."""
        return self._frontier.size

    def append(self, entries: Sequence[bytes]) -> bytes:
        """Adds at most MAX_BATCH entries; returns the checkpoint that was published with them."""
        if not entries:
            return self.signed
        if len(entries) > MAX_BATCH:
            raise EvidenceError(f"{len(entries)} entries are more than a batch of {MAX_BATCH}")
        old, new = self._frontier, self._frontier.copy()
        full = new.fill(entries)
        unchanged = set(edge(old.size))
        partial = [(tile, data) for tile, data in new.partial() if tile not in unchanged]
        self._files.write((tile.path, data) for tile, data in [*full, *partial])
        self._files.settle()
        self._advance(new)
        for tile, _ in full:
            self._files.drop(f"{tile.path}.p")
        return self.signed

    def cosign(self, found: note.Note) -> None:
        """Publishes a checkpoint of this log with what witnesses signed under it: as the witnessed checkpoint, and
        where it is the newest, in that itself too."""
        self._files.replace(self.reader.directory / WITNESSED, note.render(found))
        own = note.parse(self.signed)
        if found.text == own.text:
            ours = {(line.name, line.key_id) for line in own.signatures}
            theirs = tuple(line for line in found.signatures if (line.name, line.key_id) not in ours)
            self._publish(note.render(note.Note(own.text, own.signatures + theirs)))

    def _advance(self, new: Frontier) -> None:
        """Commits and publishes the checkpoint of a frontier whose files are durable."""
        found = read_or_none(self._committed)
        if found != (self.signed or None):
            raise EvidenceError(f"{self._committed} was changed by another; is a second recorder writing this log?")
        signed = checkpoint.sign(Checkpoint(self.origin, new.size, new.root()), self._private, self._further)
        self._files.replace(self._committed, signed)
        self._publish(signed)
        self._frontier, self.signed = new, signed

    def _publish(self, signed: bytes) -> None:
        self._files.replace(self.reader.directory / CHECKPOINT, signed)

    def _recover(self) -> bytes:
        """Takes up what is on disk: the signed checkpoint, published."""
        committed = read_or_none(self._committed)
        published = read_or_none(self.reader.directory / CHECKPOINT)
        self.signed, self._frontier = b"", Frontier()
        if committed is None:
            if published is not None or (self.reader.directory / Tile(ENTRIES, 0).path).parent.is_dir():
                raise EvidenceError(f"{self._committed} is missing beside a log: put it back from a backup")
            self._advance(Frontier())
            return self.signed
        head = self._open(committed, self._committed)
        self._frontier = self._load(head)
        if published != committed:
            if published is not None:
                shown = self._open(published, self.reader.directory / CHECKPOINT)
                if shown == head:
                    return committed  # with the cosignatures of witnesses; so it is durable
                if shown.size >= head.size:
                    raise EvidenceError(
                        f"{self._committed} of size {head.size} contradicts the published checkpoint of size "
                        f"{shown.size}: the files are of different backups"
                    )
            self._files.replace(self._committed, committed)  # it may not have been made durable
            self._publish(committed)
        return committed

    def _open(self, signed: bytes, path: Path) -> Checkpoint:
        try:
            return checkpoint.open_signed(signed, self.key)
        except EvidenceError as error:
            raise EvidenceError(f"{path}: {error}") from None

    def _load(self, head: Checkpoint) -> Frontier:
        """The right edge of the tree, checked against its root and its entries."""
        frontier = Frontier(head.size)
        frontier.tiles = [b""] * (-(-head.size.bit_length() // 8))
        for tile in edge(head.size):
            data = self.reader.tile(tile)
            split_hashes(data, tile)
            frontier.tiles[tile.level] = data
        if frontier.root() != head.root:
            raise EvidenceError(
                f"the tiles at the right edge of {self.reader.directory} do not have the checkpoint's root"
            )
        if head.size % WIDTH:
            bundle = tile_at(ENTRIES, head.size // WIDTH, head.size)
            frontier.bundle = self.reader.tile(bundle)
            leaves = b"".join(map(leaf_hash, split_entries(frontier.bundle, bundle)))
            if leaves != frontier.tiles[0]:
                raise EvidenceError(f"{bundle.path} does not hold the entries that its tile was hashed from")
        return frontier

    def _tidy(self) -> None:
        """Removes the partial tiles that a kill left beside their full ones; only the last batch can have."""
        for level in (ENTRIES, 0, 1):
            end = self.size >> 8 * (max(level, 0) + 1)
            for number in range(max(0, end - MAX_BATCH // WIDTH - 1), end):
                self._files.drop(f"{Tile(level, number).path}.p")
