"""Merkle trees by RFC 6962 section 2.1: hashes, and inclusion and consistency proofs, made and verified. Pure.

A perfect subtree is named by (level, index): it covers the leaves index * 2**level to (index + 1) * 2**level - 1. Every
tree and every proof is made of such subtrees alone, so whoever can look these up (tile.TileTree, a list in a test) can
prove. The proofs are those of RFC 6962; the ways to verify them are those of RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

from telemetry.evidence.error import EvidenceError

HASH_SIZE = 32
MAX_SIZE = (1 << 63) - 1  # so that other readers hold it in an int64
EMPTY_ROOT = sha256().digest()  # RFC 6962 2.1: the hash of an empty list is the hash of an empty string

type Node = Callable[[int, int], bytes]  # (level, index) of a perfect subtree to its hash


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962 2.1: of one entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 2.1: of two subtrees side by side."""
    return sha256(b"\x01" + left + right).digest()


def tree_hash(hashes: Sequence[bytes]) -> bytes:
    """The hash over hashes of equally high subtrees from left to right (RFC 6962 2.1: MTH). Bottom up: a row's odd last
    hash moves up as it is, which splits at the largest power of two as the RFC does."""
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        last = [row[-1]] if len(row) % 2 else []
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)] + last
    return row[0]


def peaks(start: int, end: int) -> list[tuple[int, int]]:
    """The perfect subtrees, from left to right, that leaves start to end - 1 are hashed from; start is 0 or a place
    where RFC 6962 splits a tree of this end."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:  # a subtree must begin at a multiple of its own width
            level = min(level, (start & -start).bit_length() - 1)
        found.append((level, start >> level))
        start += 1 << level
    return found


def range_hash(start: int, end: int, node: Node) -> bytes:
    """The hash of leaves start to end - 1, for the places of peaks(); of a whole tree with start 0."""
    if start == end:
        return EMPTY_ROOT
    *left, last = peaks(start, end)
    found = node(*last)
    for peak in reversed(left):
        found = node_hash(node(*peak), found)
    return found


def prove_inclusion(index: int, size: int, node: Node) -> list[bytes]:
    """RFC 6962 2.1.1: the hashes beside the way from a leaf to the root, the leaf's sibling first. Raises EvidenceError
    for an index outside of the tree."""
    _check_index(index, size)
    proof = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            proof.append(range_hash(split, end, node))
            end = split
        else:
            proof.append(range_hash(start, split, node))
            start = split
    return proof[::-1]


def prove_consistency(first: int, second: int, node: Node) -> list[bytes]:
    """RFC 6962 2.1.2: that the tree of the first size is the beginning of the second. Raises EvidenceError for sizes
    that have none."""
    _check_sizes(first, second)
    proof = []
    start, end = 0, second
    while first != end:
        split = start + _split(end - start)
        if first <= split:
            proof.append(range_hash(split, end, node))
            end = split
        else:
            proof.append(range_hash(start, split, node))
            start = split
    if start:  # else it is the first tree itself, whose root the verifier has
        proof.append(range_hash(start, end, node))
    return proof[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 2.1.3.2. Raises EvidenceError where the proof does not lead from the leaf to the root."""
    _check_index(index, size)
    _check_hashes(leaf, root, *proof)
    fn, sn, found = index, size - 1, leaf
    for place, hash_ in enumerate(proof):
        if sn == 0:
            raise EvidenceError(f"the inclusion proof has {len(proof)} hashes, leaf {index} of {size} needs {place}")
        if fn & 1 or fn == sn:
            found = node_hash(hash_, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, hash_)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise EvidenceError(f"the inclusion proof of leaf {index} of {size} ends after {len(proof)} hashes, too early")
    if found != root:
        raise EvidenceError(f"the inclusion proof of leaf {index} leads to another root than that of size {size}")


def verify_consistency(first: int, second: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162 2.1.4.2. Raises EvidenceError where the proof does not lead to both roots. An empty first tree is
    refused: everything is consistent with it, so it would show nothing."""
    _check_sizes(first, second)
    if first == second:
        if proof:
            raise EvidenceError(f"the consistency proof of equal sizes ({first}) holds {len(proof)} hashes, not none")
        if root1 != root2:
            raise EvidenceError(f"two trees of the one size {first} have different roots: the log was forked")
        return
    _check_hashes(root1, root2, *proof)
    if not proof:
        raise EvidenceError(f"the consistency proof from size {first} to {second} is empty")
    path = [root1, *proof] if first & (first - 1) == 0 else list(proof)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    found1 = found2 = path[0]
    for hash_ in path[1:]:
        if sn == 0:
            raise EvidenceError(f"the consistency proof from size {first} to {second} has more hashes than it needs")
        if fn & 1 or fn == sn:
            found1, found2 = node_hash(hash_, found1), node_hash(hash_, found2)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found2 = node_hash(found2, hash_)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise EvidenceError(f"the consistency proof from size {first} to {second} ends too early")
    for size, found, root in ((first, found1, root1), (second, found2, root2)):
        if found != root:
            raise EvidenceError(f"the consistency proof from size {first} to {second} misses the root of size {size}")


def _split(count: int) -> int:
    """RFC 6962 2.1: the largest power of two smaller than count (> 1)."""
    return 1 << ((count - 1).bit_length() - 1)


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size <= MAX_SIZE:
        raise EvidenceError(f"a tree of {size} leaves has no leaf {index}")


def _check_sizes(first: int, second: int) -> None:
    if not 0 < first <= second <= MAX_SIZE:
        raise EvidenceError(f"there is no consistency proof from size {first} to size {second}")


def _check_hashes(*hashes: bytes) -> None:
    for hash_ in hashes:
        if len(hash_) != HASH_SIZE:
            raise EvidenceError(f"a hash has {len(hash_)} bytes instead of {HASH_SIZE}")
