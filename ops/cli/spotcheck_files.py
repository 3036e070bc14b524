"""What the commands of feiyu spotcheck read, wait for and write."""

import os
import re
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from ops.cli.app import App
from ops.cli.base import Parsed
from ops.cli.client import Json
from ops.cli.errors import CliError, ExitCode, usage
from ops.cli.evidence_files import not_valid, read
from ops.cli.times import ArgumentError
from ops.cli.words import t
from telemetry.evidence import checkpoint, note
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.reader import Reader
from telemetry.spotcheck.error import SpotcheckError
from telemetry.spotcheck.file import make, witnessed
from telemetry.spotcheck.form import File, Fixed, parse
from telemetry.spotcheck.plan import Stratum
from telemetry.spotcheck.population import leaves, steps
from telemetry.spotcheck.repeat import Repeated, repeat
from telemetry.spotcheck.sample import draw

LISTED = 4000  # records of a sample that stand in the record of the draw
WITNESSES = 10.0  # seconds that a plan waits for a cosignature, where the log has witnesses
WAIT = 30.0  # seconds that a record may take until a checkpoint covers it
_FIELDS = frozenset(Stratum.__struct_fields__) - {"name"}


def parse_stratum(text: str) -> dict[str, Any]:
    """NAME and words FIELD=VALUE."""
    name, *words = text.split() or [""]
    found: dict[str, Any] = {"name": name}
    for word in words:
        field, _, value = word.partition("=")
        if field not in _FIELDS or not value or (field == "size" and not re.fullmatch("[0-9]{1,6}", value, re.ASCII)):
            raise ArgumentError("{text!r}: {word!r} is none of {fields}", text=text, word=word, fields=_fields())
        found[field] = int(value) if field == "size" else value
    return found


def _fields() -> str:
    return ", ".join(f"{name}=…" for name in sorted(_FIELDS))


STRATUM = Parsed("STRATUM", parse_stratum)


def witness_keys(function: click.decorators.FC) -> click.decorators.FC:
    """--witness, which may be repeated."""
    option: Callable[[click.decorators.FC], click.decorators.FC] = click.option(
        "--witness", "witnesses", multiple=True, metavar="VKEY", help=t("A witness's verifier key, or a file with it.")
    )
    return option(function)


def percent(text: str) -> Fraction:
    """A percentage as a part of one. Raises CliError (exit 2)."""
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,4})?", text, re.ASCII):
        raise usage(t("{text!r} is not a percentage; expected for example 95 or 0.5", text=text))
    return Fraction(text) / 100


def load(path: Path) -> File:
    """A spot check's file. Raises CliError."""
    try:
        return parse(read(path))
    except EvidenceError as error:
        raise not_valid(error) from None


def save(what: File | bytes, path: Path, mode: int = 0o644) -> None:
    """Writes it whole, or raises CliError (exit 1)."""
    data = what if isinstance(what, bytes) else msgspec.json.format(msgspec.json.encode(what), indent=1) + b"\n"
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data)
        fresh.replace(path)
    except OSError as error:
        raise CliError(ExitCode.NO, t("{path} cannot be written: {why}", path=path, why=error.strerror)) from None


def secret_of(path: Path) -> str:
    """A secret's hexadecimal, as spotcheck commit wrote it."""
    return read(path).decode("ascii", "replace").strip()


def repeated(
    file: File, key: note.VerifierKey, witnesses: Iterable[str] = (), reader: Reader | None = None
) -> Repeated:
    """The file, verified. Raises CliError (exit 1) that names the first wrong thing."""
    try:
        others = [_witness(text) for text in witnesses]
        return repeat(file, key, others, reader)
    except (EvidenceError, SpotcheckError) as error:
        raise not_valid(EvidenceError(str(error))) from None


def drawn_facts(reader: Reader, key: note.VerifierKey, told: Repeated, seed: bytes) -> dict[str, str]:
    """What the record of the draw says of the strata: how many records each has, and which of them are drawn (where
    these are not too many for a record). Raises CliError (exit 1)."""
    try:
        found = leaves(reader, checkpoint.open_signed(reader.checkpoint(), key), told.head, told.plan)
    except EvidenceError as error:
        raise not_valid(error) from None
    drawn = {
        stratum.name: [
            found[stratum.name][at] for at in draw(seed, stratum.name, len(found[stratum.name]), stratum.size)
        ]
        for stratum in told.plan.strata
    }
    facts = {"counts": msgspec.json.encode({name: len(indexes) for name, indexes in found.items()}).decode()}
    if sum(map(len, drawn.values())) <= LISTED:
        facts["sample"] = msgspec.json.encode(drawn).decode()
    return facts


def wait_for(
    reader: Reader, key: note.VerifierKey, ref: str, record: dict[str, Any], fixed: Fixed | None = None
) -> File:
    """The spot check's file once a published checkpoint covers this record of it. Raises CliError (exit 5) after WAIT
    seconds."""
    end = time.monotonic() + WAIT
    start = max(0, _size(reader, key) - 100_000)  # what was just written stands near the end
    while True:
        try:
            found = list(steps(reader, _size(reader, key), ref, start))
            if any((r.boot, r.worker, r.seq) == (record["boot"], record["worker"], record["seq"]) for _, r in found):
                index = next((at for at, r in found if r.detail == "plan"), None)
                if index is None:
                    index = next(at for at, r in steps(reader, _size(reader, key), ref) if r.detail == "plan")
                seen = witnessed(reader, key) if fixed is None else None
                if not seen or seen[1].size > index or time.monotonic() > end - WAIT + WITNESSES:
                    return make(reader, key, ref, index, fixed)
        except (EvidenceError, SpotcheckError) as error:
            raise not_valid(EvidenceError(str(error))) from None
        if time.monotonic() > end:
            words = t("the record is written, but no checkpoint covers it after {count} s", count=int(WAIT))
            raise CliError(ExitCode.UNREACHABLE, words, t("See feiyu status: does the recorder run?"))
        time.sleep(0.1)


def _size(reader: Reader, key: note.VerifierKey) -> int:
    return checkpoint.open_signed(reader.checkpoint(), key).size


def _witness(text: str) -> note.VerifierKey:
    if "+" in text and not Path(text).exists():
        return note.parse_key(text)
    return note.parse_key(read(Path(text)).decode("utf-8", "replace").strip())


def told(app: App, answer: Json) -> None:
    """Where a spot check stands after an act."""
    app.details(answer, rows(answer))


def rows(item: Json) -> list[tuple[str, object]]:
    """The same as names and values."""
    return [
        ("Spot check", item["id"]),
        ("State", item["state"]),
        ("Sample", f"{item['seen']} / {item['sampled']}" if item.get("sampled") else None),
        ("Findings", item.get("findings") or None),
    ]
