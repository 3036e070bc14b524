"""Making a spot check's file out of the log."""

import msgspec

from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.extract import beginning, collect
from telemetry.evidence.files import read_or_none
from telemetry.evidence.reader import Reader
from telemetry.spotcheck import population
from telemetry.spotcheck.form import File, Fixed
from telemetry.spotcheck.repeat import read_steps

WITNESSED = "witnessed"


def make(reader: Reader, key: note.VerifierKey, ref: str, index: int, fixed: Fixed | None = None) -> File:
    """The file of a spot check as far as the log has it. index: of the plan's record. Raises EvidenceError,
    SpotcheckError."""
    signed = reader.checkpoint()
    head = checkpoint.open_signed(signed, key)
    old, hashes = beginning(reader, head, index + 1)
    steps = [at for at, _ in population.steps(reader, head.size, ref, index + 1)]
    extract = collect(reader, signed, head, [index, *steps])
    file = File(
        plan=index,
        root=note.encode64(old.root),
        hashes=hashes,
        fixed=fixed or _fixed(reader, key, head, signed, index),
        steps=steps,
        extract=extract,
    )
    told, _ = read_steps(file, key, [])
    if not told.seed:
        return file
    found = population.leaves(reader, head, old, told.plan)
    samples = {
        stratum.name: [found[stratum.name][at] for at in told.samples[stratum.name]] for stratum in told.plan.strata
    }
    drawn = [at for each in samples.values() for at in each]
    return msgspec.structs.replace(
        file, samples=samples, extract=collect(reader, signed, head, [index, *steps, *drawn])
    )


def witnessed(reader: Reader, key: note.VerifierKey) -> tuple[bytes, Checkpoint] | None:
    """The newest checkpoint that witnesses cosigned, where the log keeps one beside its own (file "witnessed"). Raises
    EvidenceError."""
    signed = read_or_none(reader.directory / WITNESSED)
    return (signed, checkpoint.open_signed(signed, key)) if signed else None


def _fixed(reader: Reader, key: note.VerifierKey, head: Checkpoint, signed: bytes, index: int) -> Fixed:
    """What says that the plan was there: a cosigned checkpoint behind it if there is one, since it has a time."""
    chosen, at = signed, head
    found = witnessed(reader, key)
    if found and index < found[1].size <= head.size:
        chosen, at = found
    return Fixed(chosen.decode(), beginning(reader, head, index + 1, at)[1])
