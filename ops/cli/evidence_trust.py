"""What feiyu evidence verify is given beside the log's key: witnesses with a quorum, a parent log, nodes under it."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rich_click as click

from ops.cli.app import App
from ops.cli.errors import usage
from ops.cli.evidence_files import key_of
from ops.cli.evidence_witness import keys_in
from ops.cli.words import t
from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.reader import Reader
from telemetry.evidence.verify import verify_log
from telemetry.witness.parent import follow
from telemetry.witness.policy import Policy, Witnessed, best_witnessed

PARENT = click.Path(path_type=Path, file_okay=False)

type Found = tuple[Witnessed, bytes] | None


def all_keys(texts: Iterable[str]) -> list[note.VerifierKey]:
    """Verifier keys, each given as it is or in a file. Raises EvidenceError."""
    return [key for text in texts for key in keys_in(text)]


def policy_of(witnesses: tuple[str, ...], quorum: int | None) -> Policy | None:
    """None where no witness is asked for. Raises EvidenceError, CliError."""
    if not witnesses:
        if quorum:
            raise usage(t("--quorum counts witnesses: name them with --witness"))
        return None
    keys = tuple(all_keys(witnesses))
    return Policy(keys, quorum or len({key.name for key in keys}))


def witnessed_in(reader: Reader, key: note.VerifierKey, policy: Policy | None) -> Found:
    """The largest checkpoint of a log that has the quorum, and its bytes. Raises EvidenceError where none has it."""
    if policy is None:
        return None
    candidates = [data for data in (reader.checkpoint(), reader.witnessed()) if data is not None]
    best = best_witnessed(candidates, key, policy)
    signed = next(data for data in candidates if checkpoint.open_signed(data, key) == best.head)
    return best, signed


def under_parent(app: App, directory: Path, given: str | None, key: note.VerifierKey) -> bytes:
    """The latest checkpoint of the log of `key` in a parent log, which is verified as a whole. Raises EvidenceError."""
    if not given:
        raise usage(t("give --parent-key, too"))
    reader = Reader(directory)
    head = verify_log(reader, key_of(app, directory, given)).head
    found = follow(reader, head.size, [key], others=True)
    if key.name not in found:
        raise EvidenceError(f"the parent log {head.origin} holds no checkpoint of {key.name}")
    return found[key.name][1]


def with_cosignatures(
    reader: Reader, key: note.VerifierKey, index: int, signed: bytes, head: Checkpoint
) -> tuple[bytes, Checkpoint]:
    """The checkpoint to prove an entry by: the one that witnesses signed, where it covers the entry. Raises
    EvidenceError."""
    other = reader.witnessed()
    if other is None or len(note.parse(signed).signatures) >= len(note.parse(other).signatures):
        return signed, head
    witnessed = checkpoint.open_signed(other, key)
    return (other, witnessed) if index < witnessed.size <= head.size else (signed, head)


def witnessed_facts(found: Found) -> dict[str, Any]:
    """As JSON types."""
    if found is None:
        return {}
    one = found[0]
    return {"witnessed": {"size": one.head.size, "witnesses": list(one.names), "time": one.time}}


def witnessed_rows(found: Found) -> list[tuple[str, object]]:
    """For people."""
    if found is None:
        return []
    one = found[0]
    at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(one.time))
    words = t("size {size}, by {names}, at {time}", size=one.head.size, names=", ".join(one.names), time=at)
    return [("Witnessed", words)]
