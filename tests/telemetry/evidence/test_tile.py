"""Paths and bytes of tiles and bundles; trees read from them; the right edge that makes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.evidence.error import EvidenceError
from telemetry.evidence.frontier import Frontier
from telemetry.evidence.merkle import (
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    tree_hash,
    verify_consistency,
    verify_inclusion,
)
from telemetry.evidence.tile import (
    ENTRIES,
    Tile,
    TileTree,
    bundles,
    edge,
    frame,
    parse_path,
    split_entries,
    split_hashes,
    tile_at,
)

# The first three are the specification's own examples.
PATHS = {
    Tile(0, 1_234_067): "tile/0/x001/x234/067",
    Tile(0, 273, 112): "tile/0/273.p/112",
    Tile(2, 0, 1): "tile/2/000.p/1",
    Tile(ENTRIES, 999): "tile/entries/999",
    Tile(ENTRIES, 1000, 255): "tile/entries/x001/000.p/255",
    Tile(63, 0): "tile/63/000",
}
NO_PATHS = [
    "", "tile", "checkpoint", "tile/0", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000", "tile/64/000",
    "tile/-1/000", "tile/0/x000/000", "tile/0/001/002", "tile/0/x001/x002", "tile/0/000.p/0", "tile/0/000.p/256",
    "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p", "tile/0/000/", "/tile/0/000", "tile/0/000\n", "tile/0/٠٠٠",
    "tile/entries/../000", "tile/Entries/000", "tile/0/x999/x999/x999/x999/x999/x999/999",
]  # fmt: skip


@pytest.mark.parametrize(("tile", "path"), PATHS.items(), ids=PATHS.values())
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_path(path) == tile


@pytest.mark.parametrize("path", NO_PATHS)
def test_a_path_has_one_form(path: str) -> None:
    with pytest.raises(EvidenceError, match="no path of a tile"):
        parse_path(path)


@given(st.integers(-1, 63), st.integers(0, (1 << 63) - 1), st.integers(1, 256))
def test_every_tile_has_its_path_back(level: int, number: int, width: int) -> None:
    assert parse_path(Tile(level, number, width).path) == Tile(level, number, width)


def test_the_edge_of_a_tree_is_that_of_the_specification() -> None:
    assert edge(70_000) == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert edge(256) == [Tile(1, 0, 1)]
    assert edge(0) == []
    assert tile_at(0, 272, 70_000) == Tile(0, 272)
    assert [tile.path for tile in bundles(513)] == [
        "tile/entries/000", "tile/entries/001", "tile/entries/002.p/1",
    ]  # fmt: skip
    with pytest.raises(EvidenceError, match="a tree of 70000 leaves has no tile tile/0/274"):
        tile_at(0, 274, 70_000)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_entries_come_out_of_a_bundle_as_they_went_in(entries: list[bytes]) -> None:
    assert split_entries(frame(entries), Tile(ENTRIES, 0, len(entries))) == entries


def test_a_bundle_cut_at_any_byte_is_refused() -> None:
    data = frame([b"a", b"", b"x" * 300, b"bc"])
    tile = Tile(ENTRIES, 7, 4)
    for end in range(len(data)):
        with pytest.raises(EvidenceError, match=r"tile/entries/007\.p/4 (ends inside|holds . entries instead of 4)"):
            split_entries(data[:end], tile)
    with pytest.raises(EvidenceError, match="1 bytes behind its 4 entries"):
        split_entries(data + b"\0", tile)
    with pytest.raises(EvidenceError, match="4 entries instead of 5"):
        split_entries(data, Tile(ENTRIES, 7, 5))


def test_an_entry_of_65535_bytes_fits_and_no_longer_one() -> None:
    assert split_entries(frame([b"x" * 65_535]), Tile(ENTRIES, 0, 1)) == [b"x" * 65_535]
    with pytest.raises(EvidenceError, match="65536 bytes is longer than 65535"):
        frame([b"x" * 65_536])


def test_a_tile_of_another_length_is_refused() -> None:
    with pytest.raises(EvidenceError, match=r"tile/0/000\.p/2 holds 63 bytes instead of 64"):
        split_hashes(b"x" * 63, Tile(0, 0, 2))


def grown(entries: list[bytes], steps: list[int]) -> tuple[Frontier, dict[str, bytes]]:
    """A log that grew step by step, and all its files."""
    frontier, files, at = Frontier(), {}, 0
    for step in steps:
        for tile, data in [*frontier.fill(entries[at : at + step]), *frontier.partial()]:
            assert files.setdefault(tile.path, data) == data, "a file never changes"
        at += step
    assert at >= len(entries)
    return frontier, files


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000])
def test_a_tree_in_tiles_is_the_tree_of_its_leaves(size: int) -> None:
    entries = [b"%d" % number for number in range(size)]
    leaves = [leaf_hash(entry) for entry in entries]
    frontier, files = grown(entries, [1, 254, 2, *[999] * (size // 999 + 1)])
    tree = TileTree(size, lambda tile: files[tile.path])
    assert frontier.root() == tree.root() == tree_hash(leaves)
    assert [split_entries(files[tile.path], tile) for tile in bundles(size)] == [
        entries[at : at + 256] for at in range(0, size, 256)
    ]
    for index in {0, 1, 254, 255, 256, size // 2, size - 2, size - 1} & set(range(size)):
        assert tree.leaf(index) == leaves[index]
        verify_inclusion(index, size, leaves[index], prove_inclusion(index, size, tree.node), tree.root())
    for first in {1, 255, 256, 257, size // 3, size - 1, size} & set(range(1, size + 1)):
        assert tree.root(first) == tree_hash(leaves[:first])
        proof = prove_consistency(first, size, tree.node)
        verify_consistency(first, size, tree.root(first), tree.root(), proof)


@given(st.lists(st.integers(0, 700), min_size=1, max_size=6))
def test_the_steps_a_log_grew_by_do_not_show(steps: list[int]) -> None:
    entries = [b"%d" % number for number in range(sum(steps))]
    frontier, files = grown(entries, steps)
    once, whole = grown(entries, [sum(steps)])
    assert frontier == once
    assert whole.items() <= files.items()
    assert frontier.root() == tree_hash([leaf_hash(entry) for entry in entries])


def test_a_copy_grows_without_the_first() -> None:
    first = Frontier()
    first.fill([b"a"])
    second = first.copy()
    second.fill([b"b"] * 300)
    assert first == grown([b"a"], [1])[0]
    assert second.size == 301
