"""Repeating a spot check from its file: what anybody can do who has the log's key.

The draw is over the tree that ends with the plan's own record: its head is fixed by the log alone, so that nobody has a
choice among checkpoints once the value is known. `fixed` is a checkpoint that was published (and cosigned) after the
plan and before the value; it, and the one that the records are proved under, must both continue that tree.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.extract import open_extract, verify_beginning
from telemetry.evidence.reader import Reader
from telemetry.record import Kind, Record
from telemetry.spotcheck import plan as plans
from telemetry.spotcheck import population, sample
from telemetry.spotcheck.error import SpotcheckError
from telemetry.spotcheck.form import File
from telemetry.spotcheck.plan import Plan
from telemetry.spotcheck.states import Act, State, step


@dataclass(slots=True)
class Repeated:
    """What was shown. checked: the strata were found anew in the log's files; early: the witnesses whose cosignature
    says that `fixed` was there before the value."""

    plan: Plan
    ref: str
    head: Checkpoint
    state: State
    seed: bytes = b""
    counts: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[int]] = field(default_factory=dict)
    steps: list[tuple[int, Record]] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    checked: bool = False
    unfinished: dict[str, int] = field(default_factory=dict)


def repeat(
    file: File, key: note.VerifierKey, others: Iterable[note.VerifierKey] = (), reader: Reader | None = None
) -> Repeated:
    """Draws again and compares. others: witnesses' keys; reader: the log, to find the strata anew (without it their
    counts are believed as recorded, though each drawn record is shown to belong to its stratum). Raises EvidenceError
    or SpotcheckError for the first thing that does not agree."""
    others = list(others)
    told, entries = read_steps(file, key, others)
    published = checkpoint.open_signed(reader.checkpoint(), key, others) if reader else None
    if told.seed:
        if reader and published:
            _find_anew(told, reader, published)
        _compare(told, file, entries)
    if reader and published:
        _all_steps(file, reader, told.ref, published.size)
        told.unfinished = population.unfinished(reader, published.size)
        told.unfinished.pop(told.ref, None)
    return told


def read_steps(file: File, key: note.VerifierKey, others: list[note.VerifierKey]) -> tuple[Repeated, dict[int, bytes]]:
    """What the file's records say, each proved; the samples are still numbers within their strata. And the records."""
    head, entries = open_extract(file.extract, key, others)
    planned = _step(entries, file.plan, Act.PLAN)
    old = Checkpoint(head.origin, file.plan + 1, note.decode64(file.root, "the root"))
    verify_beginning(old, head, file.hashes)
    plan = plans.parse((planned.facts or {}).get("plan", ""))
    told = Repeated(plan, planned.ref, old, step(None, Act.PLAN))
    if planned.time >= plan.after * 1_000_000:
        raise SpotcheckError("the plan was recorded when its value had already appeared")
    told.early = _early(file, key, others, old, plan)
    _follow(told, file, entries)
    drawn = next((record for _, record in told.steps if record.detail == Act.DRAW.value), None)
    if drawn:
        _draw_again(told, drawn)
    return told, entries


def seed_and_counts(facts: dict[str, str]) -> tuple[str, dict[str, int]]:
    """What a draw's record says it drew from. Raises SpotcheckError."""
    try:
        return facts["seed"], msgspec.json.decode(facts["counts"], type=dict[str, int])
    except (KeyError, msgspec.DecodeError):
        raise SpotcheckError("the record of the draw does not hold a seed and the counts of its strata") from None


def sample_of(facts: dict[str, str]) -> dict[str, list[int]] | None:
    """The sample as a draw's record lists it, by stratum; None where it was too large to stand there. Raises
    SpotcheckError."""
    try:
        return msgspec.json.decode(facts["sample"], type=dict[str, list[int]]) if "sample" in facts else None
    except msgspec.DecodeError:
        raise SpotcheckError("the sample in the record of the draw cannot be read") from None


def value_of(plan: Plan, facts: dict[str, str]) -> bytes:
    """The value that a draw's record names. Raises SpotcheckError where it is missing or not what was committed to."""
    if not plan.commitments:
        if not (value := facts.get("value", "").strip()):
            raise SpotcheckError("the record of the draw names no value")
        return value.encode()
    try:
        secrets = {role: bytes.fromhex(facts[role]) for role in sample.ROLES if role in facts}
    except ValueError:
        raise SpotcheckError("a revealed secret is not hexadecimal") from None
    return sample.revealed(plan.commitments, secrets)


def _step(entries: dict[int, bytes], index: int, *acts: Act) -> Record:
    record = population.read(entries[index]) if index in entries else None
    wanted = acts or tuple(Act)
    if record is None or record.kind != Kind.SPOTCHECK.value or record.detail not in [act.value for act in wanted]:
        raise EvidenceError(f"record {index} is no {' or '.join(acts) or 'step'} of a spot check")
    return record


def _early(file: File, key: note.VerifierKey, others: list[note.VerifierKey], old: Checkpoint, plan: Plan) -> list[str]:
    """Witnesses who cosigned the fixed checkpoint before the value. One who did so later is not counted."""
    fixed = checkpoint.open_signed(file.fixed.checkpoint.encode(), key, others)
    verify_beginning(old, fixed, file.fixed.hashes)
    known = {(other.name, other.key_id) for other in others if other.type == note.COSIGNATURE}
    lines = note.parse(file.fixed.checkpoint.encode()).signatures
    stamps = [(line.name, int.from_bytes(line.data[:8])) for line in lines if (line.name, line.key_id) in known]
    return [name for name, stamp in stamps if stamp < plan.after]


def _follow(told: Repeated, file: File, entries: dict[int, bytes]) -> None:
    """The steps in the log's order, each allowed by the table of states."""
    last = file.plan
    for index in file.steps:
        record = _step(entries, index)
        if index <= last or record.ref != told.ref:
            raise EvidenceError(f"record {index} is no later step of the spot check {told.ref}")
        told.state = step(told.state, Act(record.detail))
        told.steps.append((index, record))
        last = index


def _draw_again(told: Repeated, drawn: Record) -> None:
    plan, facts = told.plan, drawn.facts or {}
    if drawn.time < plan.after * 1_000_000:
        raise SpotcheckError("the draw was recorded before its value could have appeared")
    told.seed = sample.seed_of(told.head, value_of(plan, facts))
    seed, counts = seed_and_counts(facts)
    if seed != told.seed.hex():
        raise SpotcheckError(f"the seed of this plan, checkpoint and value is {told.seed.hex()}, not {seed[:64]}")
    names = {stratum.name for stratum in plan.strata}
    if set(counts) != names or not all(0 <= count <= told.head.size for count in counts.values()):
        raise SpotcheckError("the counts in the record of the draw are not those of the plan's strata")
    told.counts = counts
    told.samples = {s.name: sample.draw(told.seed, s.name, counts[s.name], s.size) for s in plan.strata}


def _find_anew(told: Repeated, reader: Reader, published: Checkpoint) -> None:
    found = population.leaves(reader, published, told.head, told.plan)
    for name, indexes in found.items():
        if len(indexes) != told.counts[name]:
            raise SpotcheckError(
                f"stratum {name} has {len(indexes)} records in the log, but was drawn from as {told.counts[name]}"
            )
        told.samples[name] = [indexes[at] for at in told.samples[name]]
    told.checked = True


def _compare(told: Repeated, file: File, entries: dict[int, bytes]) -> None:
    """The file's sample is the one drawn; each of its records belongs where it was drawn."""
    for stratum in told.plan.strata:
        listed = file.samples.get(stratum.name, [])
        wanted = told.samples[stratum.name]
        same = listed == wanted if told.checked else _ranks(listed) == _ranks(wanted)
        if not same or len(set(listed)) != len(wanted):
            raise SpotcheckError(f"the sample of stratum {stratum.name} is not the one that its seed draws")
        for index in listed:
            record = population.read(entries[index]) if 0 <= index <= file.plan and index in entries else None
            if record is None or told.plan.stratum_of(record) != stratum:
                raise SpotcheckError(f"record {index} in the sample does not belong to stratum {stratum.name}")
        if not told.checked:
            told.samples[stratum.name] = listed
    drawn = {str(index) for found in told.samples.values() for index in found}
    for at, record in told.steps:
        facts = record.facts or {}
        if record.detail == Act.DRAW.value and sample_of(facts) not in (None, told.samples):
            raise SpotcheckError(f"record {at} lists another sample than its seed draws")
        if record.detail in (Act.PASS.value, Act.FIND.value) and facts.get("index") not in drawn:
            raise SpotcheckError(f"record {at} is about a record that is not in the sample")


def _all_steps(file: File, reader: Reader, ref: str, size: int) -> None:
    """The file's steps are the log's first, none left out in between (of two draws, say, the one that suits)."""
    known = [index for index, _ in population.steps(reader, size, ref, file.plan + 1)]
    if known[: len(file.steps)] != file.steps:
        missing = next(index for index, have in zip(known, [*file.steps, -1], strict=False) if index != have)
        raise SpotcheckError(f"record {missing} of the log is a step of this spot check too, and not in the file")


def _ranks(numbers: list[int]) -> list[int]:
    """Without the log only the order can be compared: leaves of a stratum rank as their numbers in it do."""
    places = {number: place for place, number in enumerate(sorted(numbers))}
    return [places[number] for number in numbers]
