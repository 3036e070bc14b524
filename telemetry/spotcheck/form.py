"""The form of a spot check's file (JSON), read and not yet believed."""

import msgspec

from telemetry.evidence.error import EvidenceError
from telemetry.evidence.extract import Extract

FORMAT = "feiyu-spotcheck-v1"
MAX_BYTES = 256 << 20


class Fixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed checkpoint that continues the plan's tree, with the consistency proof from it."""

    checkpoint: str
    hashes: list[str]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """plan: the index of the plan's record; root: of the tree of plan + 1 leaves, base64; hashes: its consistency with
    the extract's checkpoint; steps: indexes of the records behind the plan; samples: by stratum the indexes drawn."""

    format: str = FORMAT
    plan: int
    root: str
    hashes: list[str]
    fixed: Fixed
    steps: list[int] = []
    samples: dict[str, list[int]] = {}
    extract: Extract


def parse(data: bytes) -> File:
    """Reads a file without verifying anything. Raises EvidenceError."""
    if len(data) > MAX_BYTES:
        raise EvidenceError(f"the file has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        file = msgspec.json.decode(data, type=File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EvidenceError(f"this is no file of a spot check: {error}") from None
    if file.format != FORMAT:
        raise EvidenceError(f"the file's format is {file.format!r}, not {FORMAT}")
    return file
