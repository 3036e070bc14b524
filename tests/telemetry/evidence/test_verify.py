"""Verifying from files alone: a table of what can be done to a log, and what each verifier says of it first.

The package's verifier and the one-file one share no code; both must find every row.
"""

import ast
import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.evidence import checkpoint, note, proof, standalone
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.log import EvidenceLog
from telemetry.evidence.merkle import leaf_hash, tree_hash
from telemetry.evidence.reader import Reader
from telemetry.evidence.tile import TileTree, frame, tile_at
from telemetry.evidence.verify import find, verify_kept, verify_log, verify_range
from tests.telemetry.evidence.disk import Disk

ORIGIN = "gw1.zone.example/flows"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEY = note.VerifierKey(ORIGIN, note.ED25519, SECRET.public_key().public_bytes_raw())
ENTRIES = [b'{"v":1,"kind":"deny","seq":%d,"ref":"R%d"}' % (number, number) for number in range(700)]
SIZES = (1, 255, 256, 300, 512, 700)  # at which checkpoints were kept


def build(
    directory: Path, entries: list[bytes], secret: Ed25519PrivateKey = SECRET, origin: str = ORIGIN
) -> list[bytes]:
    log = EvidenceLog(directory, "flows", origin, secret, Disk())
    return [log.append(entries[log.size : size]) for size in SIZES]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    directory = tmp_path_factory.mktemp("made")
    return directory / "flows", build(directory, ENTRIES)


@pytest.fixture
def log(made: tuple[Path, list[bytes]], tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(made[0], tmp_path / "flows"))


def ours(log: Path, kept: tuple[bytes, ...] = ()) -> str:
    """The verdict of the package: empty for valid."""
    try:
        verify_log(Reader(log), KEY, kept)
    except EvidenceError as error:
        return str(error)
    return ""


def theirs(log: Path, kept: tuple[bytes, ...] = ()) -> str:
    """The verdict of the one-file verifier, in this process: empty for valid."""
    paths = []
    for number, signed in enumerate(kept):
        paths.append(str(log.parent / f"kept-{number}"))
        Path(paths[-1]).write_bytes(signed)
    try:
        standalone.check_log(str(log), standalone.parse_key(str(KEY)), paths)
    except standalone.NotValid as wrong:
        return str(wrong)
    return ""


def test_a_log_and_all_its_earlier_checkpoints_are_valid(log: Path, made: tuple[Path, list[bytes]]) -> None:
    kept = tuple(made[1])
    found = verify_log(Reader(log), KEY, kept)
    assert (found.entries, found.bytes, found.tiles) == (700, sum(map(len, ENTRIES)), 7)
    assert theirs(log, kept) == ""


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512])
def test_logs_of_every_shape_are_valid(tmp_path: Path, size: int) -> None:
    log = EvidenceLog(tmp_path, "flows", ORIGIN, SECRET, Disk())
    log.append(ENTRIES[:size])
    assert ours(tmp_path / "flows", (log.signed,)) == ""
    assert theirs(tmp_path / "flows", (log.signed,)) == ""


def test_a_log_with_tiles_on_three_levels_is_valid_and_a_bit_high_up_is_found(tmp_path: Path) -> None:
    log = EvidenceLog(tmp_path, "flows", ORIGIN, SECRET, Disk())
    for at in range(0, 70_000, 10_000):
        log.append([b"%d" % number for number in range(at, at + 10_000)])
    assert ours(tmp_path / "flows") == theirs(tmp_path / "flows") == ""
    flip("tile/1/000", 40)(tmp_path / "flows")
    assert ours(tmp_path / "flows") == "hash 1 of tile/1/000 is not that of the tile tile/0/001"
    assert theirs(tmp_path / "flows") == "tile/0/001 does not have the hash that tile/1/000 holds for it"


type Damage = Callable[[Path], object]


def flip(name: str, at: int) -> Damage:
    def damage(log: Path) -> None:
        data = bytearray((log / name).read_bytes())
        data[at] ^= 1
        (log / name).write_bytes(data)

    return damage


def signed(text: str | Checkpoint, secret: Ed25519PrivateKey = SECRET) -> Damage:
    """A checkpoint with this text, under a true signature."""
    text = text if isinstance(text, str) else text.text
    return lambda log: (log / "checkpoint").write_bytes(
        note.render(note.Note(text, (note.sign(text, ORIGIN, secret),)))
    )


def bundle(number: int, entries: list[bytes]) -> Damage:
    """Other entries under the same tiles."""
    return lambda log: (log / tile_at(-1, number, 700).path).write_bytes(frame(entries))


def rewritten(log: Path) -> None:
    """What root on the node could do with the key of somebody else: a whole other log in the place."""
    shutil.rmtree(log)
    build(log.parent, [*ENTRIES[:5], b"forged", *ENTRIES[6:]], OTHER)


def foreign(log: Path) -> None:
    shutil.rmtree(log)
    build(log.parent, ENTRIES, SECRET, "gw2.zone.example/flows")


def head(size: object = 700, root: str = base64.b64encode(bytes(32)).decode(), origin: str = ORIGIN) -> str:
    return f"{origin}\n{size}\n{root}\n"


def swap(first: str, second: str) -> Damage:
    def damage(log: Path) -> None:
        one, two = (log / first).read_bytes(), (log / second).read_bytes()
        (log / first).write_bytes(two)
        (log / second).write_bytes(one)

    return damage


EDGE = "tile/entries/002.p/188"
# what is done; what the package says first; what the one-file verifier says first
DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "a record is edited": (
        bundle(1, [*ENTRIES[256:300], ENTRIES[300].replace(b"deny", b"open"), *ENTRIES[301:512]]),
        "entry 300 does not have the hash that tile/0/001 holds for it",
        "record 300 does not have the hash that tile/0/001 holds for it",
    ),
    "a record in the last, partial bundle is edited": (
        bundle(2, [*ENTRIES[512:699], b"forged"]),
        "entry 699 does not have the hash that tile/0/002.p/188 holds for it",
        "record 699 does not have the hash that tile/0/002.p/188 holds for it",
    ),
    "two records change places": (
        bundle(0, [ENTRIES[1], ENTRIES[0], *ENTRIES[2:256]]),
        "entry 0 does not have the hash",
        "record 0 does not have the hash",
    ),
    "two bundles change places": (
        swap("tile/entries/000", "tile/entries/001"),
        "entry 0 does not have the hash",
        "record 0 does not have the hash",
    ),
    "a record is removed": (
        bundle(0, ENTRIES[1:256]),
        "tile/entries/000 holds 255 entries instead of 256",
        "tile/entries/000 ends inside its record 255",
    ),
    "a record is added": (bundle(0, ENTRIES[:257]), "bytes behind its 256 entries", "bytes too many"),
    "a bundle is cut": (
        lambda log: os.truncate(log / EDGE, 100),
        f"{EDGE} ends inside its entry 2 of 188",
        f"{EDGE} ends inside its record 2",
    ),
    "a bundle is empty": (
        lambda log: os.truncate(log / EDGE, 0),
        "holds 0 entries instead of 188",
        "ends inside its record 0",
    ),
    "a bundle is missing": (
        lambda log: (log / "tile/entries/001").unlink(),
        "tile/entries/001 is missing",
        "tile/entries/001: No such file or directory",
    ),
    "a bundle is a directory": (
        lambda log: [(log / "tile/entries/001").unlink(), (log / "tile/entries/001").mkdir()],
        "tile/entries/001 cannot be read: Is a directory",
        "tile/entries/001 is not a plain file",
    ),
    "a bundle is a pipe that nobody writes to": (
        lambda log: [(log / "tile/entries/001").unlink(), os.mkfifo(log / "tile/entries/001")],
        "tile/entries/001 is not a plain file",
        "tile/entries/001 is not a plain file",
    ),
    "a bundle is huge": (
        lambda log: (log / "tile/entries/001").open("wb").truncate(1 << 40),
        "tile/entries/001 has more than 16777472 bytes",
        "tile/entries/001 is larger than any file of a log",
    ),
    "a bit of a leaf's hash flips": (
        flip("tile/0/000", 64),
        "entry 2 does not have the hash that tile/0/000 holds",
        "record 2 does not have the hash that tile/0/000 holds",
    ),
    "a bit of an upper tile flips": (
        flip("tile/1/000.p/2", 40),
        "hash 1 of tile/1/000.p/2 is not that of the tile tile/0/001",
        "tile/0/001 does not have the hash that tile/1/000.p/2 holds",
    ),
    "an upper tile is missing": (
        lambda log: (log / "tile/1/000.p/2").unlink(),
        "tile/1/000.p/2 is missing",
        "tile/1/000.p/2: No such",
    ),
    "a tile is cut": (
        lambda log: os.truncate(log / "tile/0/001", 8191),
        "tile/0/001 holds 8191 bytes instead of 8192",
        "tile/0/001 has 8191 bytes instead of 8192",
    ),
    "the checkpoint is missing": (lambda log: (log / "checkpoint").unlink(), "checkpoint is missing", "No such file"),
    "the checkpoint is empty": (lambda log: (log / "checkpoint").write_bytes(b""), "no signatures", "no signed note"),
    "the checkpoint is of another log under the same key": (
        signed(head(origin="gw2.zone.example/flows")),
        "of the log 'gw2.zone.example/flows', not of 'gw1.zone.example/flows'",
        "of the log 'gw2.zone.example/flows', not of 'gw1.zone.example/flows'",
    ),
    "the size has a leading zero": (signed(head("0700")), "'0700', not a decimal", "not a plain decimal number"),
    "the size is negative": (signed(head(-1)), "'-1', not a decimal", "not a plain decimal number"),
    "the size is in other digits": (signed(head("７００")), "not a decimal", "not a plain decimal number"),
    "the size is huge, and signed": (
        signed(head((1 << 63) - 1)),
        "tile/entries/002 is missing",
        "tile/entries/002: No such file",
    ),
    "the size is beyond 63 bits": (signed(head(1 << 63)), "not a decimal number in plain form", "is too large"),
    "the root is another, and signed": (
        signed(head()),
        "the entries and tiles are not those of the checkpoint of size 700",
        "the checkpoint is of other records than these",
    ),
    "the size is one less, and signed": (signed(head(699)), "002.p/187 is missing", "002.p/187: No such file"),
    "the whole log is made anew with another key": (rewritten, "by none of the keys", "has 0 signatures of gw1"),
    "the whole log is that of another node": (foreign, "by none of the keys", "has 0 signatures of gw1"),
    "a bit of the signature flips": (flip("checkpoint", -20), "does not fit", "does not fit"),
    "the size is edited under the signature": (
        lambda log: (log / "checkpoint").write_bytes((log / "checkpoint").read_bytes().replace(b"\n700\n", b"\n512\n")),
        "does not fit the text",
        "the signature of the checkpoint does not fit it",
    ),
}


@pytest.mark.parametrize(("damage", "we", "they"), DAMAGES.values(), ids=DAMAGES)
def test_both_verifiers_name_the_first_wrong_thing(log: Path, damage: Damage, we: str, they: str) -> None:
    damage(log)
    assert we in ours(log)
    assert they.replace("no signed note", "is not a signed note") in theirs(log)


def test_every_bit_counts(tmp_path: Path) -> None:
    log = EvidenceLog(tmp_path, "flows", ORIGIN, SECRET, Disk())
    log.append(ENTRIES[:3])
    for path in sorted(path for path in (tmp_path / "flows").rglob("*") if path.is_file()):
        data = path.read_bytes()
        for at in range(len(data)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
            assert ours(tmp_path / "flows") != "", (path, at)
            assert theirs(tmp_path / "flows") != "", (path, at)
            path.write_bytes(data[:at])
            assert ours(tmp_path / "flows") != "", (path, at)
            assert theirs(tmp_path / "flows") != "", (path, at)
        path.write_bytes(data)
    assert ours(tmp_path / "flows") == theirs(tmp_path / "flows") == ""


def other(entry: int, size: int) -> bytes:
    """A truly signed checkpoint of this log as it would be had one record been another: a fork."""
    changed = [*ENTRIES[:entry], b"another", *ENTRIES[entry + 1 :]]
    return checkpoint.sign(Checkpoint(ORIGIN, size, tree_hash([leaf_hash(e) for e in changed[:size]])), SECRET)


KEPT = {
    "a fork after it": (other(699, 700), "of another log: it was forked", "of other records than these"),
    "a fork in the first record": (other(0, 1), "size 1 that was seen before is of another log", "of other records"),
    "a fork at a full bundle": (other(255, 256), "size 256 that was seen before", "of other records"),
    "a log that was longer": (
        checkpoint.sign(Checkpoint(ORIGIN, 701, b"x" * 32), SECRET),
        "of size 701 was seen before: it was rolled back",
        "is of size 701, the log of size 700: it was rolled back",
    ),
    "a checkpoint of somebody else": (
        checkpoint.sign(Checkpoint(ORIGIN, 1, b"x" * 32), OTHER),
        "by none of the keys",
        "has 0 signatures",
    ),
    "no checkpoint at all": (b"x", "no signatures", "is not a signed note"),
}


@pytest.mark.parametrize(("kept", "we", "they"), KEPT.values(), ids=KEPT)
def test_a_checkpoint_from_before_shows_what_was_done_since(log: Path, kept: bytes, we: str, they: str) -> None:
    assert we in ours(log, (kept,))
    assert they in theirs(log, (kept,))


def test_a_forked_log_with_a_true_signature_is_only_found_by_what_was_kept(
    made: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    build(tmp_path, [*ENTRIES[:400], b"forged", *ENTRIES[401:]])
    fork = tmp_path / "flows"
    assert ours(fork) == theirs(fork) == "", "in itself it is a log like any other"
    assert [bool(ours(fork, (signed,))) for signed in made[1]] == [size > 400 for size in SIZES]
    assert [bool(theirs(fork, (signed,))) for signed in made[1]] == [size > 400 for size in SIZES]


def test_a_range_is_verified_by_itself(log: Path) -> None:
    reader = Reader(log)
    head = checkpoint.open_signed(reader.checkpoint(), KEY)
    for start, end in ((0, 1), (0, 256), (255, 257), (300, 301), (500, 700), (699, 700), (0, 700)):
        assert verify_range(reader, head, start, end) == ENTRIES[start:end]
    flip("tile/entries/000", 30)(log)
    assert verify_range(reader, head, 256, 700) == ENTRIES[256:]
    with pytest.raises(EvidenceError, match="entry 0 does not have the hash"):
        verify_range(reader, head, 200, 300)
    for start, end in ((0, 0), (5, 4), (-1, 3), (0, 701), (700, 701)):
        with pytest.raises(EvidenceError, match="a log of 700 entries has no entries"):
            verify_range(reader, head, start, end)


def test_a_range_under_edited_hashes_does_not_lead_to_the_root(log: Path) -> None:
    reader = Reader(log)
    head = checkpoint.open_signed(reader.checkpoint(), KEY)
    bundle(1, [*ENTRIES[256:300], b"forged", *ENTRIES[301:512]])(log)
    tile = bytearray((log / "tile/0/001").read_bytes())
    tile[44 * 32 : 45 * 32] = leaf_hash(b"forged")
    (log / "tile/0/001").write_bytes(tile)
    with pytest.raises(EvidenceError, match="leads to another root"):
        verify_range(reader, head, 300, 301)
    with pytest.raises(EvidenceError, match="leads to another root"):
        verify_range(reader, head, 256, 257)
    assert "hash 1 of tile/1/000.p/2 is not that of the tile tile/0/001" in ours(log)


def test_what_was_kept_is_not_believed_from_tiles_that_lead_elsewhere(
    log: Path, made: tuple[Path, list[bytes]]
) -> None:
    flip("tile/0/002.p/188", 5)(log)
    reader = Reader(log)
    with pytest.raises(EvidenceError, match="do not have the root of the checkpoint of size 700"):
        verify_kept(reader, checkpoint.open_signed(reader.checkpoint(), KEY), made[1][0], KEY)


def test_a_full_tile_serves_where_the_partial_one_is_gone(made: tuple[Path, list[bytes]], log: Path) -> None:
    (log / "checkpoint").write_bytes(made[1][3])  # of size 300; the log went on to 700 since
    assert not (log / "tile/entries/001.p").exists()
    assert ours(log) == theirs(log) == ""


def test_find_names_the_last_entry(log: Path) -> None:
    reader = Reader(log)
    assert find(reader, 700, lambda entry: True) == (699, ENTRIES[699])
    assert find(reader, 700, lambda entry: b'"R3"' in entry, b'"R3"') == (3, ENTRIES[3])
    assert find(reader, 3, lambda entry: b'"R3"' in entry, b'"R3"') is None
    assert find(reader, 0, lambda entry: True) is None


@pytest.fixture(scope="module")
def proofs(made: tuple[Path, list[bytes]]) -> list[bytes]:
    reader = Reader(made[0])
    tree = TileTree(700, reader.tile)
    return [proof.render(proof.make(index, tree, made[1][-1], ENTRIES[index])) for index in range(0, 700, 50)]


def test_a_proof_stands_alone(proofs: list[bytes], tmp_path: Path) -> None:
    for place, data in enumerate(proofs):
        read = proof.parse(data)
        assert proof.render(read) == data
        assert proof.verify(read, ENTRIES[place * 50], KEY).size == 700
        path = tmp_path / "p"
        path.write_bytes(data)
        found = standalone.check_proof(str(path), standalone.parse_key(str(KEY)), None)
        assert found == (place * 50, ENTRIES[place * 50])


def both(data: bytes, path: Path) -> Iterator[str]:
    """What both verifiers say of a proof with its record inside: empty for valid."""
    path.write_bytes(data)
    try:
        read = proof.parse(data)
        proof.verify(read, read.extra or b"", KEY)
        yield ""
    except EvidenceError as error:
        yield str(error)
    try:
        standalone.check_proof(str(path), standalone.parse_key(str(KEY)), None)
        yield ""
    except standalone.NotValid as wrong:
        yield str(wrong)


def test_a_proof_cut_or_changed_at_any_byte_is_refused(proofs: list[bytes], tmp_path: Path) -> None:
    data = proofs[3]
    assert list(both(data, tmp_path / "p")) == ["", ""]
    for at in range(len(data)):
        assert all(both(data[:at], tmp_path / "p")), at
        assert all(both(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], tmp_path / "p")), at


def lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")


WRONG_PROOFS: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "another version": (lambda p: p.replace(b"@v1", b"@v2"), "does not begin with", "is not a proof"),
    "no checkpoint": (lambda p: p.split(b"\n\n")[0], "no checkpoint below", "is not a signed note"),
    "no index": (
        lambda p: b"\n".join(line for line in lines(p) if not line.startswith(b"index")),
        "no line with the index",
        "no line with the index",
    ),
    "an index with a sign": (lambda p: p.replace(b"index 1", b"index +1"), "not a decimal", "not a plain decimal"),
    "an index beyond the log": (lambda p: p.replace(b"index 1", b"index 7001"), "no leaf", "has no record 700150"),
    "another index": (
        lambda p: p.replace(b"index 150", b"index 151"),
        "another root",
        "does not lead from this record",
    ),
    "another record": (
        lambda p: p.replace(base64.b64encode(ENTRIES[150]), base64.b64encode(ENTRIES[151])),
        "another root",
        "does not lead from this record",
    ),
    "a hash less": (lambda p: b"\n".join(lines(p)[:3] + lines(p)[4:]), "too early", "shorter than the tree is high"),
    "a hash more": (lambda p: b"\n".join(lines(p)[:4] + lines(p)[3:]), "has 11 hashes", "longer than the tree is high"),
    "a hash of other length": (
        lambda p: b"\n".join([*lines(p)[:3], b"AAAA", *lines(p)[4:]]),
        "a hash has 3 bytes",
        "a hash of the proof has 3 bytes instead of 32",
    ),
    "bytes that are no text": (lambda p: p.replace(b"index", b"\xff"), "not ASCII at byte", "is not UTF-8"),
}


@pytest.mark.parametrize(("spoil", "we", "they"), WRONG_PROOFS.values(), ids=WRONG_PROOFS)
def test_a_wrong_proof_is_told(
    proofs: list[bytes], tmp_path: Path, spoil: Callable[[bytes], bytes], we: str, they: str
) -> None:
    first, second = both(spoil(proofs[3]), tmp_path / "p")
    assert we in first
    assert they in second


SCRIPT = Path(standalone.__file__)


def run_script(*arguments: object) -> tuple[int, str]:
    command = [sys.executable, "-I", str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env={}, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_one_file_verifier_runs_alone(log: Path, made: tuple[Path, list[bytes]], proofs: list[bytes]) -> None:
    key, kept, path = log.parent / "key", log.parent / "kept", log.parent / "p.tlog-proof"
    key.write_text(f"{KEY}\n")
    kept.write_bytes(made[1][2])
    path.write_bytes(proofs[3])
    assert run_script(key, log, kept) == (
        0,
        f"valid: all 700 records of {ORIGIN} are as they were; 1 earlier checkpoints lead here\n",
    )
    assert run_script(KEY, path) == (0, f"valid: record 150 of {ORIGIN} is {ENTRIES[150].decode()!r}\n")
    record = log.parent / "record"
    record.write_bytes(ENTRIES[151])
    code, said = run_script(KEY, path, record)
    assert (code, said.startswith("NOT VALID: the proof does not lead from this record")) == (1, True)
    flip("tile/entries/000", 30)(log)
    assert run_script(key, log) == (1, "NOT VALID: record 0 does not have the hash that tile/0/000 holds for it\n")
    assert run_script(log.parent / "no such key", log)[0] == 1
    assert run_script()[0] == 2


def test_the_one_file_verifier_is_small_and_needs_little() -> None:
    source = SCRIPT.read_text()
    assert source.count("\n") < 300
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name.split(".")[0] for name in foreign} == {"cryptography"}
