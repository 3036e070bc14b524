"""Trees and their proofs, against the definition in RFC 6962, and every way to spoil a proof."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.evidence.error import EvidenceError
from telemetry.evidence.frontier import Frontier
from telemetry.evidence.merkle import (
    EMPTY_ROOT,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    tree_hash,
    verify_consistency,
    verify_inclusion,
)

ENTRIES = [b"entry %d" % number for number in range(70)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


def mth(entries: list[bytes]) -> bytes:
    """RFC 6962 2.1 as it is written there, and shares no code with the module."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\1" + mth(entries[:k]) + mth(entries[k:])).digest()


def node(level: int, index: int) -> bytes:
    return mth(ENTRIES[index << level : (index + 1) << level])


def test_the_empty_tree() -> None:
    assert mth([]) == EMPTY_ROOT
    assert tree_hash([]) == EMPTY_ROOT
    assert Frontier().root() == EMPTY_ROOT


@pytest.mark.parametrize("size", range(1, 70))
def test_every_proof_of_every_small_tree(size: int) -> None:
    root = mth(ENTRIES[:size])
    assert tree_hash(LEAVES[:size]) == root
    for index in range(size):
        proof = prove_inclusion(index, size, node)
        verify_inclusion(index, size, LEAVES[index], proof, root)
        with pytest.raises(EvidenceError, match="another root"):
            verify_inclusion(index, size, leaf_hash(b"forged"), proof, root)
    for first in range(1, size + 1):
        verify_consistency(first, size, mth(ENTRIES[:first]), root, prove_consistency(first, size, node))


@given(st.integers(1, 70), st.data())
def test_no_other_place_or_size_fits_a_proof(size: int, data: st.DataObject) -> None:
    root = mth(ENTRIES[:size])
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(index, size, node)
    other = data.draw(st.integers(0, 80).filter(lambda number: number != index))
    with pytest.raises(EvidenceError):
        verify_inclusion(other, size, LEAVES[index], proof, root)
    if proof:
        spoilt = list(proof)
        place = data.draw(st.integers(0, len(proof) - 1))
        byte, bit = data.draw(st.integers(0, 31)), 1 << data.draw(st.integers(0, 7))
        spoilt[place] = bytes(value ^ (bit if at == byte else 0) for at, value in enumerate(proof[place]))
        with pytest.raises(EvidenceError, match="another root"):
            verify_inclusion(index, size, LEAVES[index], spoilt, root)


PROOF = prove_inclusion(5, 70, node)
ROOT = mth(ENTRIES)
CHAIN = prove_consistency(33, 70, node)
OLD = mth(ENTRIES[:33])
WRONG_INCLUSION = {
    "a hash too few": (5, 70, PROOF[:-1], "ends after 6 hashes, too early"),
    "a hash too many": (5, 70, [*PROOF, PROOF[0]], "has 8 hashes, leaf 5 of 70 needs 7"),
    "two hashes swapped": (5, 70, [PROOF[1], PROOF[0], *PROOF[2:]], "another root"),
    "an index beyond the tree": (70, 70, PROOF, "a tree of 70 leaves has no leaf 70"),
    "a negative index": (-1, 70, PROOF, "no leaf -1"),
    "an empty tree": (0, 0, [], "a tree of 0 leaves has no leaf 0"),
    "an absurd size": (5, 1 << 64, PROOF, "no leaf 5"),
    "a hash of 31 bytes": (5, 70, [PROOF[0][:31], *PROOF[1:]], "31 bytes instead of 32"),
    "a hash of 33 bytes": (5, 70, [PROOF[0] + b"x", *PROOF[1:]], "33 bytes instead of 32"),
}
WRONG_CONSISTENCY = {
    "an empty proof": (33, 70, OLD, ROOT, [], "from size 33 to 70 is empty"),
    "a hash too few": (33, 70, OLD, ROOT, CHAIN[:-1], "ends too early"),
    "a hash too many": (33, 70, OLD, ROOT, [*CHAIN, ROOT], "more hashes than it needs"),
    "another old root": (33, 70, ROOT, ROOT, CHAIN, "misses the root of size 33"),
    "another new root": (33, 70, OLD, OLD, CHAIN, "misses the root of size 70"),
    "an empty first tree": (0, 70, EMPTY_ROOT, ROOT, [], "no consistency proof from size 0"),
    "a log that shrank": (70, 33, ROOT, OLD, CHAIN, "no consistency proof from size 70 to size 33"),
    "one size and two roots": (70, 70, OLD, ROOT, [], "different roots: the log was forked"),
    "hashes for equal sizes": (70, 70, ROOT, ROOT, CHAIN, "equal sizes"),
    "a root of no bytes": (33, 70, b"", ROOT, CHAIN, "0 bytes instead of 32"),
}


@pytest.mark.parametrize(("index", "size", "proof", "why"), WRONG_INCLUSION.values(), ids=WRONG_INCLUSION)
def test_a_wrong_inclusion_proof_is_told(index: int, size: int, proof: list[bytes], why: str) -> None:
    verify_inclusion(5, 70, LEAVES[5], PROOF, ROOT)
    with pytest.raises(EvidenceError, match=why):
        verify_inclusion(index, size, LEAVES[5], proof, ROOT)


@pytest.mark.parametrize(
    ("first", "second", "old", "new", "proof", "why"), WRONG_CONSISTENCY.values(), ids=WRONG_CONSISTENCY
)
def test_a_wrong_consistency_proof_is_told(
    first: int, second: int, old: bytes, new: bytes, proof: list[bytes], why: str
) -> None:
    verify_consistency(33, 70, OLD, ROOT, CHAIN)
    with pytest.raises(EvidenceError, match=why):
        verify_consistency(first, second, old, new, proof)


def test_nothing_is_proved_that_is_not_there() -> None:
    with pytest.raises(EvidenceError, match="no leaf 70"):
        prove_inclusion(70, 70, node)
    with pytest.raises(EvidenceError, match="from size 0"):
        prove_consistency(0, 70, node)


def vectors(kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((Path(os.environ["FEIYU_VECTORS"]) / "merkle" / kind).rglob("*.json")):
        yield path, json.loads(path.read_text())


def hashes(texts: list[str] | None) -> list[bytes]:
    return [base64.b64decode(text or "") for text in texts or []]


needs_vectors = pytest.mark.skipif("FEIYU_VECTORS" not in os.environ, reason="FEIYU_VECTORS names no folder of vectors")


@needs_vectors
def test_the_published_inclusion_proofs() -> None:
    seen = {True: 0, False: 0}
    for path, case in vectors("inclusion"):
        root, leaf = hashes([case["root"], case["leafHash"]])
        try:
            verify_inclusion(case["leafIdx"], case["treeSize"], leaf, hashes(case["proof"]), root)
            refused = False
        except EvidenceError:
            refused = True
        assert refused is case["wantErr"], path
        seen[refused] += 1
    assert min(seen.values()) > 5


@needs_vectors
def test_the_published_consistency_proofs() -> None:
    seen = {True: 0, False: 0}
    for path, case in vectors("consistency"):
        root1, root2 = hashes([case["root1"], case["root2"]])
        try:
            verify_consistency(case["size1"], case["size2"], root1, root2, hashes(case["proof"]))
            refused = False
        except EvidenceError:
            refused = True
        assert refused is case["wantErr"], path
        seen[refused] += 1
    assert min(seen.values()) > 2
