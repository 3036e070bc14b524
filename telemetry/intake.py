"""Which lines of a spool go into the log, and what is wrong with the rest. Pure.

A line is copied byte for byte when it is one valid record of the process whose spool it stands in. Its sequence number
must follow the last; what is missing, repeated, or no record at all is never passed over in silence but becomes a
finding, which the recorder writes down as a record of its own.
"""

import hashlib
from dataclasses import dataclass, field

import msgspec

from telemetry.fold import KINDS, MOST
from telemetry.record import Record
from telemetry.spooldir import MAX_LINE

_decoder = msgspec.json.Decoder(Record)
_NAMED = 8  # ranges named in one finding


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in a spool: machine-made words, and counts (gaps, missing, repeats, unreadable)."""

    detail: str
    values: dict[str, int]


@dataclass(slots=True)
class Sifted:
    """data: the lines to copy, with their records and lengths (newline included); skip: how many lines are still to be
    passed over because the log has them already."""

    data: bytes
    records: list[Record]
    lengths: list[int]
    skip: int = 0
    findings: list[Finding] = field(default_factory=list)


def sift(data: bytes, boot: str, process: str, last: int, skip: int = 0, upto: int = 0) -> Sifted:
    """Takes whole lines of one spool. last: the sequence number before; skip: how many records to pass over first, or
    upto: pass over records until one has a higher sequence number."""
    if not skip and not upto:
        try:
            records = _decoder.decode_lines(data)
        except msgspec.DecodeError:
            records = []
        if records:
            lengths = _lengths(data)
            good = len(records) == len(lengths) and max(lengths) <= MAX_LINE + 1
            if good and _in_order(records, boot, process, last):
                return Sifted(data, records, lengths)
    return _one_by_one(data.split(b"\n")[:-1], boot, process, last, skip, upto)


def unreadable(data: bytes, process: str, boot: str, what: str, lines: int = 1) -> Finding:
    """The finding for bytes that are no record; they can be told again by their digest."""
    digest = hashlib.sha256(data).hexdigest()
    detail = f"unreadable: {what}, {len(data)} bytes of {process} of boot {boot}, sha256 {digest}"
    return Finding(detail, {"unreadable": lines})


def _lengths(data: bytes) -> list[int]:
    """Of each line, newline included. (Splitting would copy every line.)"""
    lengths = []
    at, find = 0, data.find
    while end := find(b"\n", at) + 1:
        lengths.append(end - at)
        at = end
    return lengths


def _in_order(records: list[Record], boot: str, process: str, last: int) -> bool:
    """Whether these are the next records of this process, and nothing else."""
    for record in records:
        last += 1
        if record.seq != last or record.worker != process or record.boot != boot or record.kind not in KINDS:
            return False
    return True


def _one_by_one(lines: list[bytes], boot: str, process: str, last: int, skip: int, upto: int) -> Sifted:
    kept: list[bytes] = []
    records: list[Record] = []
    bad: list[bytes] = []
    jumps: list[str] = []
    gaps = missing = repeats = 0
    for line in lines:
        record = _read(line, boot, process)
        if skip:
            skip -= record is not None
            continue
        if record is None:
            bad.append(line)
            continue
        if record.seq <= upto and not kept:
            continue
        if record.seq > last + 1:
            gaps += 1
            missing += record.seq - last - 1
            jumps.append(f"{last + 1}-{record.seq - 1} missing")
        elif record.seq <= last:
            repeats += 1
            jumps.append(f"{record.seq} after {last}")
        last = record.seq
        kept.append(line)
        records.append(record)
    findings = []
    if jumps:
        named = "; ".join(jumps[:_NAMED]) + ("; more" if len(jumps) > _NAMED else "")
        counts = {"gaps": gaps, "missing": missing, "repeats": repeats}
        findings.append(Finding(f"sequence of {process} of boot {boot}: {named}", counts))
    if bad:
        findings.append(unreadable(b"\n".join(bad), process, boot, f"{len(bad)} lines that are no record", len(bad)))
    data = b"\n".join([*kept, b""]) if kept else b""
    return Sifted(data, records, [len(line) + 1 for line in kept], skip, findings)


def _read(line: bytes, boot: str, process: str) -> Record | None:
    if len(line) > MAX_LINE:
        return None
    try:
        record = _decoder.decode(line)
    except msgspec.DecodeError:
        return None
    own = record.worker == process and record.boot == boot and record.kind in KINDS and 0 < record.seq <= MOST
    return record if own else None
