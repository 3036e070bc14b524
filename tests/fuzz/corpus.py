"""The kept inputs of each fuzz target: a file of its own, one input per line in hexadecimal, in order of size."""

from collections.abc import Iterable
from pathlib import Path

DIRECTORY = Path(__file__).parent / "corpus"


def load(target: str) -> list[bytes]:
    """All inputs that are kept for a target."""
    return [bytes.fromhex(line) for line in (DIRECTORY / f"{target}.hex").read_text("ascii").split("\n")[:-1]]


def save(target: str, inputs: Iterable[bytes]) -> None:
    """Keeps these and no others."""
    lines = sorted({data.hex() for data in inputs}, key=lambda line: (len(line), line))
    (DIRECTORY / f"{target}.hex").write_text("".join(f"{line}\n" for line in lines), "ascii")
