"""What a recorder opens at its start, in this order: the evidence, the log (put right by it), and the log's state."""

from dataclasses import dataclass
from pathlib import Path

from telemetry.evidence.cosigned import COSIGNED, Cosigned
from telemetry.evidence.integrate import DIRECTORY, Integrator, open_log
from telemetry.evidence.keys import NAME
from telemetry.evidence.note import parse_key
from telemetry.evidence.restore import restore
from telemetry.evidence.source import Source
from telemetry.journal import Journal
from telemetry.personal import PERSONAL, Sealer
from telemetry.segments import Segments
from telemetry.watch import Watch


@dataclass(frozen=True, slots=True)
class Opened:
    """restored: how many records of the log came back from the evidence."""

    journal: Journal
    evidence: Integrator
    restored: int


def open_all(
    state_dir: Path,
    node: str,
    boot: str,
    segment_bytes: int,
    interval: float,
    signatures: tuple[str, ...],
    witnesses: tuple[str, ...],
    seals: bool,
    watch: Watch | None,
) -> Opened:
    """interval: seconds between checkpoints; signatures: kinds of second ones; witnesses: verifier keys of those that
    the cosigner asks; seals: whether personal fields are sealed; watch: what looks at the records. Raises OSError,
    EvidenceError."""
    directory = state_dir / "log"
    proofs = open_log(state_dir / DIRECTORY, node, signatures)
    restored = restore(directory, proofs)
    sealer = Sealer(state_dir / PERSONAL, active=seals)
    journal = Journal(directory, node, boot, Segments(directory, segment_bytes), sealer, watch)
    evidence = Integrator(proofs, Source(directory, proofs.size), interval)
    if witnesses:
        evidence.cosigned = Cosigned(state_dir / COSIGNED / NAME, tuple(map(parse_key, witnesses)))
    return Opened(journal, evidence, restored)
