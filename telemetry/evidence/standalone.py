#!/usr/bin/env python3
"""Verifies an evidence log of Feiyu, or the proof of one record of it, without Feiyu and without network.

    python3 -I verify.py KEY DIRECTORY [EARLIER-CHECKPOINT …]     the whole log, and that it continues what was before
    python3 -I verify.py KEY FILE.tlog-proof [RECORD-FILE]        one record

KEY is the log's verifier key (NAME+ID+KEY) or a file that holds it; have it from somewhere else than the log. Exit
status 0 and "valid": everything is as the key's owner signed it. 1 and "NOT VALID": the first thing that is not.

Needs Python 3.9 or newer and the package cryptography. The formats are public: RFC 6962 (Merkle trees), RFC 8032
(Ed25519), and signed-note, tlog-checkpoint, tlog-tiles and tlog-proof at c2sp.org. What is shown is that nothing was
changed, removed or added in between since the checkpoint was signed; not that what was recorded was true, nor, without
an earlier checkpoint or a witness, that the key's owner did not sign another log too.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class NotValid(Exception):  # noqa: N818 - it says what it means
    """The first wrong thing."""


def need(fact: object, words: str) -> None:
    """Raises NotValid with these words unless the fact holds."""
    if not fact:
        raise NotValid(words)


def read(path: str) -> bytes:
    """A file's bytes."""
    need(os.path.isfile(path) or not os.path.exists(path), f"{path} is not a plain file")
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 25)
    except OSError as error:
        raise NotValid(f"{path}: {error.strerror}") from None
    need(len(data) < 1 << 25, f"{path} is larger than any file of a log")
    return data


def decode(data: bytes, what: str) -> str:
    """Text of UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotValid(f"{what} is not UTF-8") from None


def unbase64(text: str, what: str, length: int | None = None) -> bytes:
    """Bytes of base64, in its one canonical form."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise NotValid(f"{what} is not base64") from None
    need(base64.b64encode(data).decode() == text, f"{what} is not canonical base64")
    need(length in (None, len(data)), f"{what} has {len(data)} bytes instead of {length}")
    return data


def number(text: str, what: str) -> int:
    """A decimal number in its one form, below 2**63."""
    plain = re.fullmatch("0|[1-9][0-9]{0,18}", text, re.ASCII)
    need(plain and int(text) < 1 << 63, f"{what} is not a plain decimal number or is too large")
    return int(text)


def leaf_hash(entry: bytes) -> bytes:
    """Of a record."""
    return sha256(b"\x00" + entry).digest()


def tree_hash(hashes: list[bytes]) -> bytes:
    """Of subtrees of one height side by side; a last one without a partner moves up."""
    while len(hashes) > 1:
        odd = hashes[len(hashes) & ~1 :]
        pairs = zip(hashes[0::2], hashes[1::2])  # noqa: B905 - Python 3.9 has no strict
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
    return hashes[0]


def check_inclusion(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> None:
    """RFC 9162 2.1.3.2."""
    need(index < size, f"the log of {size} records has no record {index}")
    at, last, found = index, size - 1, leaf
    for hash_ in proof:
        need(last, "the proof is longer than the tree is high")
        if at & 1 or at == last:
            found = sha256(b"\x01" + hash_ + found).digest()
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = sha256(b"\x01" + found + hash_).digest()
        at, last = at >> 1, last >> 1
    need(last == 0, "the proof is shorter than the tree is high")
    need(found == root, f"the proof does not lead from this record, at place {index}, to the checkpoint's root")


def parse_key(text: str) -> tuple[str, bytes, bytes]:
    """(name, id, public key) of NAME+ID+KEY."""
    parts = text.strip().split("+", 2)
    need(len(parts) == 3 and parts[0], "the key is not of the form NAME+ID+KEY")
    key = unbase64(parts[2], "the key", 33)
    key_id = sha256(parts[0].encode() + b"\n" + key).digest()[:4]
    need(key[0] == 1 and key_id.hex() == parts[1], "the key's id does not fit it, or it is not an Ed25519 key")
    return parts[0], key_id, key[1:]


def open_checkpoint(data: bytes, key: tuple[str, bytes, bytes], what: str) -> tuple[int, bytes]:
    """(size, root) of a signed checkpoint."""
    name, key_id, public = key
    note = decode(data, what)
    need(all(char >= " " or char == "\n" for char in note), f"{what} has control characters")
    text, blank, lines = note.rpartition("\n\n")
    need(blank and lines.endswith("\n"), f"{what} is not a signed note")
    text += "\n"
    signatures = []
    for line in lines.split("\n")[:-1]:
        mark, _, rest = line.partition(" ")
        signer, _, signature = rest.partition(" ")
        need(mark == "\u2014" and signer and signature, f"{what} has a line among its signatures that is none")
        raw = unbase64(signature, f"a signature of {what}")
        if signer == name and raw[:4] == key_id:
            signatures.append(raw[4:])
    need(len(signatures) == 1, f"{what} has {len(signatures)} signatures of {name}+{key_id.hex()} instead of one")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signatures[0], text.encode())
    except InvalidSignature:
        raise NotValid(f"the signature of {what} does not fit it") from None
    head = text.split("\n")[:-1]
    need(len(head) >= 3 and all(head), f"{what} does not have the lines origin, size, root")
    need(head[0] == name, f"{what} is of the log {head[0]!r}, not of {name!r}")
    return number(head[1], f"the size in {what}"), unbase64(head[2], f"the root in {what}", 32)


def tile_path(level: int | str, index: int, width: int) -> str:
    """tile/<L>/<N>[.p/<W>]."""
    digits = str(index).zfill(-(-len(str(index)) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join(["tile", str(level), *("x" + group for group in groups[:-1]), groups[-1]])
    return path if width == 256 else f"{path}.p/{width}"


def read_tile(directory: str, level: int | str, index: int, width: int) -> list[bytes]:
    """The hashes of a tile, or the records of a bundle. A partial one may have given way to the full one."""
    path = tile_path(level, index, width)
    held = width
    if width < 256 and not os.path.exists(os.path.join(directory, path)):
        full = tile_path(level, index, 256)
        if os.path.exists(os.path.join(directory, full)):
            path, held = full, 256
    data = read(os.path.join(directory, path))
    if level != "entries":
        need(len(data) == 32 * held, f"{path} has {len(data)} bytes instead of {32 * held}")
        return [data[at : at + 32] for at in range(0, 32 * width, 32)]
    records, at = [], 0
    for place in range(held):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        need(start <= len(data) and at <= len(data), f"{path} ends inside its record {place}")
        records.append(data[start:at])
    need(at == len(data), f"{path} has {len(data) - at} bytes too many")
    return records[:width]


def read_leaves(directory: str, index: int, width: int, deleted: list[int]) -> list[bytes]:
    """The hashes of a bundle's records. deleted: how many first ones were, and how many a record says were."""
    missing = not os.path.exists(os.path.join(directory, tile_path("entries", index, 256)))
    if missing and width == 256 and deleted[0] == 256 * index:
        deleted[0] += 256
        return read_tile(directory, 0, index, 256)
    records = read_tile(directory, "entries", index, width) if width else []
    for record in records:
        if b'"pruned":' in record and b'"worker":"recorder"' in record:  # in texts quotes are escaped
            deleted[1] = max(deleted[1], *map(int, re.findall(rb'"pruned":([0-9]{1,18})[,}]', record)), 0)
    return list(map(leaf_hash, records))


class Peaks:
    """The root of a growing tree, from its perfect subtrees."""

    def __init__(self) -> None:
        self.peaks: list[tuple[int, bytes]] = []  # (leaves, hash), widest first

    def add(self, leaves: int, hash_: bytes) -> None:
        """The next subtree, of a power of two leaves."""
        while self.peaks and self.peaks[-1][0] == leaves:
            hash_ = sha256(b"\x01" + self.peaks.pop()[1] + hash_).digest()
            leaves *= 2
        self.peaks.append((leaves, hash_))

    def root(self, beyond: Sequence[bytes] = ()) -> bytes:
        """Of all that was added, and of single leaves behind it."""
        whole = Peaks()
        whole.peaks = list(self.peaks)
        for leaf in beyond:
            whole.add(1, leaf)
        found = whole.peaks.pop()[1] if whole.peaks else sha256().digest()
        while whole.peaks:
            found = sha256(b"\x01" + whole.peaks.pop()[1] + found).digest()
        return found


def check_log(directory: str, key: tuple[str, bytes, bytes], earlier: list[str]) -> tuple[int, int]:
    """Every record, every tile, the checkpoint, and the earlier checkpoints. The size, and how many were deleted."""
    size, root = open_checkpoint(read(os.path.join(directory, "checkpoint")), key, "the checkpoint")
    heads: dict[int, list[tuple[str, int, bytes]]] = {}
    for path in earlier:
        old_size, old_root = open_checkpoint(read(path), key, path)
        need(old_size <= size, f"{path} is of size {old_size}, the log of size {size}: it was rolled back")
        heads.setdefault(old_size // 256, []).append((path, old_size, old_root))
    peaks = Peaks()
    made: list[list[bytes]] = [[]]  # at each level the hashes that its next tile must hold

    def compare(level: int, index: int) -> None:
        hashes, made[level] = made[level], []
        for place, found in enumerate(read_tile(directory, level, index, len(hashes))):
            what = f"record {index * 256 + place}" if level == 0 else tile_path(level - 1, index * 256 + place, 256)
            where = tile_path(level, index, len(hashes))
            need(found == hashes[place], f"{what} does not have the hash that {where} holds for it")
        if len(hashes) < 256:
            return
        if len(made) == level + 1:
            made.append([])
        made[level + 1].append(tree_hash(hashes))
        if level == 0:
            peaks.add(256, made[1][-1])
        if len(made[level + 1]) == 256:
            compare(level + 1, index // 256)

    deleted = [0, 0]
    for index in range(size // 256 + 1):
        width = min(256, size - index * 256)
        leaves = read_leaves(directory, index, width, deleted)
        roots = [(path, peaks.root(leaves[: old % 256]), old_root) for path, old, old_root in heads.get(index, ())]
        if width < 256:
            roots.append(("the checkpoint", peaks.root(leaves), root))
        if width:
            made[0] = leaves
            compare(0, index)
        for path, now, then in roots:
            need(now == then, f"{path} is of other records than these: they were changed, or the log was forked")
    for level in range(1, len(made)):
        if made[level]:
            compare(level, (size >> 8 * level) // 256)
    need(deleted[1] >= deleted[0], f"{tile_path('entries', deleted[1] // 256, 256)} is missing")
    return size, deleted[0]


def check_proof(path: str, key: tuple[str, bytes, bytes], record_path: str | None) -> tuple[int, bytes]:
    """One record; returns its index and bytes."""
    head, _, signed = read(path).partition(b"\n\n")
    lines = decode(head, path).split("\n")
    need(lines.pop(0) == "c2sp.org/tlog-proof@v1", f"{path} is not a proof: its first line says something else")
    extra = unbase64(lines.pop(0)[6:], "the record in the proof") if lines and lines[0].startswith("extra ") else None
    need(lines and lines[0].startswith("index "), f"{path} has no line with the index")
    index = number(lines.pop(0)[6:], "the index")
    proof = [unbase64(line, "a hash of the proof", 32) for line in lines]
    size, root = open_checkpoint(signed, key, "the checkpoint in the proof")
    record = read(record_path) if record_path else extra
    if record is None:
        raise NotValid("the proof does not hold the record: name its file too")
    check_inclusion(index, size, leaf_hash(record), proof, root)
    return index, record


def main(arguments: list[str]) -> int:
    """The command line."""
    if len(arguments) < 2 or arguments[0].startswith("-"):
        print(__doc__)
        return 2
    given, path, *rest = arguments
    try:
        key = parse_key(decode(read(given), given) if os.path.exists(given) else given)
        if os.path.isdir(path):
            size, gone = check_log(path, key, rest)
            print(f"valid: all {size} records of {key[0]} are as they were; {len(rest)} earlier checkpoints lead here")
            if gone:
                print(f"of the first {gone} only the hashes are left: they were deleted, as a record says")
        else:
            index, record = check_proof(path, key, rest[0] if rest else None)
            print(f"valid: record {index} of {key[0]} is", ascii(decode(record, "the record")))
    except NotValid as wrong:
        print(f"NOT VALID: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
