"""Chosen entries of a log as files, each with its proof: what a firm is given of its own, and nobody else's records."""

from collections.abc import Callable
from pathlib import Path

from telemetry.evidence import proof
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.merkle import leaf_hash, verify_inclusion
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import WIDTH, TileTree


def export(
    reader: Reader, signed: bytes, head: Checkpoint, wanted: Callable[[bytes], bool], directory: Path, hint: bytes = b""
) -> int:
    """Writes DIRECTORY/<index>.tlog-proof for each entry that is wanted, the entry inside; how many. head: of `signed`,
    verified. hint: bytes that stand in any wanted entry. Each proof is verified before it is written. Raises
    EvidenceError, OSError."""
    tree = TileTree(head.size, reader.tile)
    count = 0
    for bundle in reader.bundles(head.size):
        for index, entry in enumerate(reader.entries(bundle), bundle.number * WIDTH):
            if hint in entry and wanted(entry):
                made = proof.make(index, tree, signed, entry)
                verify_inclusion(index, head.size, leaf_hash(entry), made.hashes, head.root)
                (directory / f"{index}{proof.SUFFIX}").write_bytes(proof.render(made))
                count += 1
    return count
