"""The log on disk: what it publishes, and that no fault at any call of the kernel makes it publish anything false."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemetry.evidence import checkpoint, keys, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.log import MAX_BATCH, EvidenceLog
from telemetry.evidence.merkle import leaf_hash, tree_hash
from telemetry.evidence.reader import Reader
from telemetry.evidence.verify import verify_log
from tests.telemetry.evidence.disk import FAULTS, Disk, Killed

ORIGIN = "gw1.zone.example/flows"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = note.VerifierKey(ORIGIN, note.ED25519, SECRET.public_key().public_bytes_raw())
ENTRIES = [b'{"v":1,"seq":%d}' % number for number in range(800)]


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory where there is one: hundreds of logs are made and removed."""
    with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        yield Path(name)


def opened(directory: Path, disk: Disk | None = None) -> EvidenceLog:
    return EvidenceLog(directory, "flows", ORIGIN, SECRET, disk or Disk())  # which does not wait for a real disk


def published(directory: Path) -> Checkpoint | None:
    """The published log, verified from its files alone; None before the first."""
    reader = Reader(directory / "flows")
    if not (directory / "flows" / "checkpoint").exists():
        return None
    found = verify_log(reader, KEY)
    assert found.entries == found.head.size
    assert found.head.root == tree_hash([leaf_hash(entry) for entry in ENTRIES[: found.head.size]])
    return found.head


def grow(log: EvidenceLog, steps: tuple[int, ...]) -> None:
    for step in steps:
        log.append(ENTRIES[log.size : log.size + step])


@pytest.mark.parametrize("steps", [(1,), (255, 1), (256,), (257,), (300, 300, 200), (1, 1, 254, 1, 511)])
def test_what_is_appended_is_published_and_taken_up_again(tmp_path: Path, steps: tuple[int, ...]) -> None:
    log = opened(tmp_path)
    assert published(tmp_path) == Checkpoint(ORIGIN, 0, tree_hash([]))
    grow(log, steps)
    assert published(tmp_path) == checkpoint.open_signed(log.signed, KEY)
    again = opened(tmp_path)
    assert (again.size, again.signed) == (sum(steps), log.signed)
    assert again._frontier == log._frontier
    grow(again, (100,))
    head = published(tmp_path)
    assert head is not None
    assert head.size == min(sum(steps) + 100, 800)


def test_partial_tiles_go_when_the_full_one_is_there(tmp_path: Path) -> None:
    grow(opened(tmp_path), (10, 20, 200))
    names = {str(path.relative_to(tmp_path / "flows")) for path in (tmp_path / "flows").rglob("*") if path.is_file()}
    assert names == {"checkpoint"} | {f"tile/{level}/000.p/{w}" for level in (0, "entries") for w in (10, 30, 230)}
    grow(opened(tmp_path), (30,))
    names = {str(path.relative_to(tmp_path / "flows")) for path in (tmp_path / "flows").rglob("*") if path.is_file()}
    assert names == {
        "checkpoint", "tile/0/000", "tile/0/001.p/4", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/4",
    }  # fmt: skip
    assert not list((tmp_path / "flows.staging").iterdir())


STEPS = (3, 300, 210)  # a first partial tile; one that fills and a new one; another that fills


def calls_of(tmp_path: Path) -> list[str]:
    disk = Disk()
    directory = tmp_path / "whole"
    directory.mkdir()
    grow(opened(directory, disk), STEPS)
    return disk.done


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_at_any_call_never_publishes_anything_false_and_the_next_start_goes_on(
    memory: Path, fault: str | int
) -> None:
    calls = calls_of(memory)
    assert len(calls) > 100
    for at, name in enumerate(calls, 1):
        directory = memory / str(at)
        directory.mkdir()
        disk = Disk(at, fault)
        acknowledged = 0
        try:
            log = opened(directory, disk)
            for step in STEPS:
                log.append(ENTRIES[log.size : log.size + step])
                acknowledged = log.size
        except (OSError, Killed):
            assert fault != "short", f"call {at}, {name}: a short write is only continued"
        else:
            assert fault == "short", f"call {at}, {name}: a failure is never passed over"
        seen = published(directory)
        assert (seen.size if seen else 0) >= acknowledged, f"call {at}, {name}"
        log = opened(directory)
        assert log.size >= (seen.size if seen else 0), f"call {at}, {name}: what was published is there again"
        grow(log, (100,))
        after = published(directory)
        assert after is not None
        assert after.size == log.size
        shutil.rmtree(directory)


@pytest.mark.parametrize("seed", range(4))
def test_after_lost_power_at_any_call_everything_acknowledged_is_there(memory: Path, seed: int) -> None:
    calls = calls_of(memory)
    for at in range(1, len(calls) + 1):
        directory = memory / str(at)
        directory.mkdir()
        disk = Disk(at, "kill")
        acknowledged = 0
        seen = b""
        try:
            log = opened(directory, disk)
            for step in STEPS:
                log.append(ENTRIES[log.size : log.size + step])
                acknowledged = log.size
        except Killed:
            pass
        path = directory / "flows" / "checkpoint"
        if path.exists():
            seen = path.read_bytes()  # by a reader, a moment before
        disk.power_loss(seed)
        log = opened(directory)
        assert log.size >= acknowledged, f"call {at}, {calls[at - 1]}"
        kept = [seen] if seen else []
        assert verify_log(Reader(directory / "flows"), KEY, kept).entries == log.size, f"call {at}, {calls[at - 1]}"
        shutil.rmtree(directory)


def test_the_order_of_a_batch(tmp_path: Path) -> None:
    disk = Disk()
    log = opened(tmp_path, disk)
    before = len(disk.done)
    log.append(ENTRIES[:3])
    batch = disk.done[before:]
    last_tile = max(batch.index("rename 3"), batch.index("fsync 000.p"))
    committed, shown = batch.index("rename flows.committed"), batch.index("rename checkpoint")
    assert last_tile < committed < shown
    assert "fsync 0" in batch[:committed], "staged files are synced before they get their names"
    assert batch[committed + 1 : committed + 3] == [f"open {tmp_path.name}", f"fsync {tmp_path.name}"], (
        "the committed checkpoint is durable before it is published"
    )


def test_another_writer_is_noticed_before_anything_is_published(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    grow(first, (3,))
    with pytest.raises(EvidenceError, match="changed by another"):
        second.append([b"something else"])
    assert published(tmp_path) == checkpoint.open_signed(first.signed, KEY)


def flip(path: Path, at: int = 20) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


BROKEN = {
    "a tile at the edge was changed": (
        lambda d: flip(d / "flows/tile/0/001.p/44"),
        "do not have the checkpoint's root",
    ),
    "a tile at the edge is gone": (lambda d: (d / "flows/tile/1/000.p/1").unlink(), "tile/1/000.p/1 is missing"),
    "the last entries were changed": (
        lambda d: flip(d / "flows/tile/entries/001.p/44", 5),
        "does not hold the entries",
    ),
    "the last entries were cut": (
        lambda d: os.truncate(d / "flows/tile/entries/001.p/44", 100),
        r"entries/001.p/44 ends inside its entry",
    ),
    "the committed checkpoint is gone": (lambda d: (d / "flows.committed").unlink(), "flows.committed is missing"),
    "both checkpoints are gone": (
        lambda d: [(d / "flows.committed").unlink(), (d / "flows/checkpoint").unlink()],
        "flows.committed is missing beside a log",
    ),
    "the committed checkpoint is empty": (lambda d: (d / "flows.committed").write_bytes(b""), "no signatures"),
    "the committed checkpoint was changed": (lambda d: flip(d / "flows.committed", 24), "flows.committed: "),
    "the published checkpoint is of a later state": (
        lambda d: (d / "flows/checkpoint").write_bytes(checkpoint.sign(Checkpoint(ORIGIN, 999, b"x" * 32), SECRET)),
        "of size 300 contradicts the published checkpoint of size 999: the files are of different backups",
    ),
    "the published checkpoint is of another tree": (
        lambda d: (d / "flows/checkpoint").write_bytes(checkpoint.sign(Checkpoint(ORIGIN, 300, b"x" * 32), SECRET)),
        "contradicts",
    ),
}


@pytest.mark.parametrize(("breaks", "why"), BROKEN.values(), ids=BROKEN)
def test_a_log_that_does_not_fit_itself_is_not_built_upon(tmp_path: Path, breaks, why: str) -> None:  # type: ignore[no-untyped-def]
    grow(opened(tmp_path), (300,))
    breaks(tmp_path)
    with pytest.raises(EvidenceError, match=why):
        opened(tmp_path)


def test_another_key_cannot_go_on_with_a_log(tmp_path: Path) -> None:
    grow(opened(tmp_path), (3,))
    with pytest.raises(EvidenceError, match="by none of the keys"):
        EvidenceLog(tmp_path, "flows", ORIGIN, Ed25519PrivateKey.generate())
    with pytest.raises(EvidenceError, match="by none of the keys"):
        EvidenceLog(tmp_path, "flows", "gw2.zone.example/flows", SECRET)


def test_bounds(tmp_path: Path) -> None:
    log = opened(tmp_path)
    assert log.append([]) == log.signed
    with pytest.raises(EvidenceError, match="more than a batch"):
        log.append([b""] * (MAX_BATCH + 1))
    with pytest.raises(EvidenceError, match="65536 bytes is longer"):
        log.append([b"x" * 65_536])
    assert published(tmp_path) == Checkpoint(ORIGIN, 0, tree_hash([]))


def test_a_write_that_makes_no_progress_is_a_failure(tmp_path: Path) -> None:
    class Stuck(Disk):
        def write(self, fd: int, data: memoryview) -> int:
            return 0

    with pytest.raises(OSError, match="made no progress"):
        opened(tmp_path, Stuck())


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    made = keys.make_key(tmp_path, "flows")
    assert made == tmp_path / "flows.key"
    assert made.stat().st_mode & 0o777 == 0o600
    assert keys.make_key(tmp_path, "flows") is None
    key = keys.load_key(tmp_path, "flows")
    assert keys.settle_origin(tmp_path, "flows", "old.example/flows", key) == "old.example/flows"
    assert keys.settle_origin(tmp_path, "flows", ORIGIN, key) == ORIGIN, "before the log begins the name may change"
    EvidenceLog(tmp_path, "flows", ORIGIN, key)
    assert keys.settle_origin(tmp_path, "flows", "new.example/flows", key) == ORIGIN, "then it keeps its origin"
    with pytest.raises(EvidenceError, match=r"flows.vkey does not belong to flows.key"):
        keys.settle_origin(tmp_path, "flows", ORIGIN, SECRET)
    made.write_bytes(b"x" * 31)
    with pytest.raises(EvidenceError, match="31 bytes instead of 32"):
        keys.load_key(tmp_path, "flows")
    made.unlink()
    with pytest.raises(EvidenceError, match=r"flows.key is missing, and its log goes on with no other"):
        keys.make_key(tmp_path, "flows")


def test_errors_keep_their_number(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        opened(tmp_path, Disk(1, errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
