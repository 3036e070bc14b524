"""Entries of a log as a Parquet file for analysis; each row has its leaf's index and hash, and so its proof.

Written by DuckDB, which is not part of a plain installation (extra "analytics"). Columns: leaf_index, leaf_hash (hex,
SHA-256(0x00 ‖ record), RFC 6962), at (UTC), the fields of the record, and the record itself, byte for byte. The file's
key-value metadata holds the signed checkpoint that all rows are under, and the log's key.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_type_hints

import msgspec

from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.extract import text_of
from telemetry.evidence.merkle import leaf_hash
from telemetry.evidence.note import VerifierKey
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import WIDTH, TileTree
from telemetry.record import Record

_MAPS = {"values": "MAP(VARCHAR, BIGINT)", "facts": "MAP(VARCHAR, VARCHAR)"}


class NoDuckDBError(Exception):
    """DuckDB is not installed."""


def write(
    reader: Reader,
    signed: bytes,
    head: Checkpoint,
    key: VerifierKey,
    wanted: Callable[[bytes], bool],
    path: Path,
    hint: bytes = b"",
) -> int:
    """Writes the entries that are wanted; how many. head: of `signed`, verified; hint: bytes that stand in any wanted
    entry. Each entry is compared with its leaf in the tree, and the tree with the head. Raises EvidenceError, OSError,
    NoDuckDBError."""
    try:
        import duckdb  # optional, and slow to load
    except ImportError:
        raise NoDuckDBError from None
    rows, fresh = path.with_name(f".{path.name}.rows"), path.with_name(f".{path.name}.new")
    try:
        count = 0
        with os.fdopen(os.open(rows, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            for row in _rows(reader, head, wanted, hint):
                file.write(row)
                count += 1
        settings: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(config=settings) as connection:
            try:
                connection.execute(_statement(rows, fresh, signed, key))
            except duckdb.Error as error:
                raise OSError(f"DuckDB cannot write it: {str(error).splitlines()[0]}") from None
        fresh.replace(path)
        return count
    finally:
        rows.unlink(missing_ok=True)
        fresh.unlink(missing_ok=True)


def _rows(reader: Reader, head: Checkpoint, wanted: Callable[[bytes], bool], hint: bytes) -> Iterator[bytes]:
    """One JSON object a line: the record's own text with the leaf's place, its hash and that text behind."""
    tree = TileTree(head.size, reader.tile)
    if head.size and tree.root() != head.root:
        raise EvidenceError(f"the tiles do not have the root of the checkpoint of size {head.size}")
    for bundle in reader.bundles(head.size):
        for index, entry in enumerate(reader.entries(bundle), bundle.number * WIDTH):
            if hint not in entry or not wanted(entry):
                continue
            hash_ = leaf_hash(entry)
            if tree.leaf(index) != hash_:
                raise EvidenceError(f"entry {index} does not have the hash that its tile holds for it")
            text = msgspec.json.encode(text_of(entry, index))
            yield b'%b,"leaf_index":%d,"leaf_hash":"%b","record":%b}\n' % (
                entry.rstrip()[:-1], index, hash_.hex().encode(), text,
            )  # fmt: skip


def _statement(rows: Path, out: Path, signed: bytes, key: VerifierKey) -> str:
    fields = [name for name in Record.__struct_fields__ if name not in _MAPS]
    hints = get_type_hints(Record)
    read = {name: "VARCHAR" for name in fields} | {"leaf_hash": "VARCHAR", "record": "VARCHAR"}  # noqa: C420
    read |= {"leaf_index": "BIGINT", **_MAPS}
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in read.items())
    # a number that no column holds (of a broken worker) is null here; the record has it
    shown = [
        f'TRY_CAST("{name}" AS {_type(hints[name])}) AS "{name}"' if hints[name] is not str else f'"{name}"'
        for name in fields
    ]
    chosen = ", ".join(
        ["leaf_index", "leaf_hash", 'make_timestamp(TRY_CAST("time" AS BIGINT)) AS at', *shown, *_MAPS, "record"]
    )
    about = f"{{checkpoint: {_quoted(signed.decode())}, key: {_quoted(str(key))}}}"
    source = f"read_json({_quoted(str(rows))}, format = 'newline_delimited', columns = {{{columns}}})"
    return (  # every part is a constant of this module or quoted
        f"COPY (SELECT {chosen} FROM {source}) TO {_quoted(str(out))} "  # noqa: S608
        f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {about})"
    )


def _type(hint: object) -> str:
    return "BIGINT" if hint is int else "BOOLEAN"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
