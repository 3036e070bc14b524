"""A witness signs what continues what it saw, and nothing else: each answer of C2SP tlog-witness, by a real process."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from telemetry.evidence import checkpoint, note, signing
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.log import EvidenceLog
from telemetry.evidence.merkle import EMPTY_ROOT
from telemetry.witness import protocol
from telemetry.witness.protocol import Request, render
from tests.telemetry.spool_kit import until
from tests.telemetry.witness.kit import ENTRIES, KEY, ORIGIN, SECRET, Running, log_in, request, witness

OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, EvidenceLog, Path]]:
    """A witness that cosigned the log at size 300, and the log, which is at 700 by now."""
    root = tmp_path_factory.mktemp("witness")
    log = log_in(root / "log", 300)
    with witness(root / "w", KEY) as running:
        status, _, _ = running.post(render(request(log, 0)))
        assert status == 200
        yield running, log_in(root / "log", 700), root


def fork(root: Path, size: int) -> EvidenceLog:
    """Another log of the same key: what a key's owner makes who wants to show somebody something else."""
    shutil.rmtree(root / "fork", ignore_errors=True)
    return log_in(root / "fork", size, [*ENTRIES[:200], b"something else", *ENTRIES[201:]])


def signed(head: Checkpoint, key: Ed25519PrivateKey = SECRET) -> bytes:
    return checkpoint.sign(head, key)


REFUSED: dict[str, tuple[Callable[[EvidenceLog, Path], bytes], int, str]] = {
    "no request": (lambda log, _: b"hello", 400, "no checkpoint below an empty line"),
    "an empty body": (lambda log, _: b"", 400, "no checkpoint below an empty line"),
    "no old size": (lambda log, _: b"new 3\n\n" + log.signed, 400, "does not begin with a line that says the old size"),
    "an odd old size": (lambda log, _: b"old 0300\n\n" + log.signed, 400, "the old size is '0300'"),
    "a huge old size": (lambda log, _: b"old %d\n\n" % (1 << 63) + log.signed, 400, "not a decimal number"),
    "an old size beyond the checkpoint": (lambda log, _: render(Request(701, (), log.signed)), 400, "larger than"),
    "64 hashes": (lambda log, _: render(Request(300, (bytes(32),) * 64, log.signed)), 400, "64 hashes, more than 63"),
    "a hash that is no base64": (lambda log, _: b"old 300\n!!\n\n" + log.signed, 400, "hash 1 of the proof is not"),
    "no note": (lambda log, _: b"old 300\n\nhello\n", 400, "the note has no signatures"),
    "another log": (
        lambda log, _: render(Request(0, (), signed(Checkpoint("gw2.zone.example/flows", 0, EMPTY_ROOT)))),
        404, "the log 'gw2.zone.example/flows' is not witnessed here",
    ),
    "another key": (
        lambda log, _: render(Request(300, (), signed(Checkpoint(ORIGIN, 700, bytes(32)), OTHER))),
        403, "by none of the keys",
    ),
    "a false signature": (
        lambda log, _: render(Request(300, (), log.signed.replace(b"\n700\n", b"\n701\n"))),
        403, "does not fit the text",
    ),
    "no proof": (lambda log, _: render(Request(300, (), log.signed)), 422, "from size 300 to 700 is empty"),
    "the proof of another size": (
        lambda log, _: render(Request(300, request(log, 299).proof, log.signed)),
        422, "consistency proof from size 300",
    ),
    "a short hash": (lambda log, _: render(Request(300, (b"x",), log.signed)), 422, "a hash has 1 bytes instead of 32"),
    "a fork that grew": (lambda log, root: render(request(fork(root, 500), 300)), 422, "misses the root of size"),
    "a fork of the same size": (
        lambda log, root: render(request(fork(root, 300), 300)), 409, "two trees of the one size 300",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(
    here: tuple[Running, EvidenceLog, Path], body: Callable[[EvidenceLog, Path], bytes], status: int, why: str
) -> None:
    running, log, root = here
    answer = running.post(body(log, root))
    assert (answer[0], answer[1]) == (status, "text/plain; charset=utf-8")
    assert why in answer[2].decode()


@pytest.mark.parametrize("old", [0, 299, 301])
def test_another_old_size_is_answered_with_the_one_it_has(here: tuple[Running, EvidenceLog, Path], old: int) -> None:
    running, log, _ = here
    status, kind, body = running.post(render(request(log, old)))
    assert (status, kind, body) == (409, protocol.SIZE_TYPE, b"300\n")


def test_a_rolled_back_log_cannot_have_it_forget(here: tuple[Running, EvidenceLog, Path], tmp_path: Path) -> None:
    running, _, _ = here
    old = log_in(tmp_path, 200)
    assert running.post(render(request(old, 0)))[::2] == (409, b"300\n")
    assert running.post(render(Request(300, (), old.signed)))[0] == 400


def test_both_trees_of_a_fork_stay_as_proof(here: tuple[Running, EvidenceLog, Path]) -> None:
    running, _, root = here
    running.post(render(request(fork(root, 300), 300)))
    caught = [path.read_bytes() for path in (root / "w/logs/caught").iterdir()]
    heads = [checkpoint.open_signed(data, KEY) for data in caught]
    assert Checkpoint(ORIGIN, 300, fork(root, 300)._frontier.root()) in heads, "signed by the log's own key"
    until(lambda: any("FORK of gw1.zone.example/flows" in line for line in running.said), "it says so, loudly")


def test_a_good_answer_is_a_cosignature_with_its_time(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    with witness(tmp_path / "w", KEY, options=("--mldsa44",)) as running:
        before = int(time.time())
        status, _, body = running.post(render(request(log, 0)))
        assert status == 200
        lines = protocol.cosignatures(note.parse(log.signed).text, body, running.keys)
        assert [key.type for key in running.keys] == [signing.COSIGNATURE, signing.MLDSA44]
        assert len(lines) == 2
        for line, key in zip(lines, running.keys, strict=True):
            assert before <= (signing.time_of(key.type, line.data) or 0) <= time.time()
        again = running.post(render(request(log, 5)))
        assert again[0] == 200, "the same checkpoint may be asked for again"
        assert running.post(render(Request(5, (bytes(32),), log.signed)))[0] == 422
        log.append(ENTRIES[5:300])
        assert running.post(render(request(log, 5)))[0] == 200


def test_an_empty_log_may_be_witnessed_and_grow(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log")
    with witness(tmp_path / "w", KEY) as running:
        assert running.post(render(request(log, 0)))[0] == 200
        log.append(ENTRIES[:3])
        assert running.post(render(Request(0, (bytes(32),), log.signed)))[0] == 422
        assert running.post(render(request(log, 0)))[0] == 200


def test_it_remembers_over_kill_9_and_a_second_one_is_kept_out(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    with witness(tmp_path / "w", KEY) as running:
        assert running.post(render(request(log, 0)))[0] == 200
        with pytest.raises(AssertionError, match="another witness runs in"), witness(tmp_path / "w", KEY):
            pass
        running.process.kill()
        running.process.wait(20)
        keys = running.keys
    log.append(ENTRIES[5:9])
    with witness(tmp_path / "w", KEY) as running:
        assert running.keys == keys
        assert running.post(render(request(log, 0)))[::2] == (409, b"5\n")
        assert running.post(render(request(log, 5)))[0] == 200


def test_what_it_remembers_may_not_be_another_s(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", 5)
    with witness(tmp_path / "w", KEY) as running:
        assert running.post(render(request(log, 0)))[0] == 200
        (kept,) = [path for path in (tmp_path / "w/logs").iterdir() if path.is_file()]
        kept.write_bytes(signed(Checkpoint(ORIGIN, 0, EMPTY_ROOT), OTHER))
        status, _, body = running.post(render(request(log, 0)))
        assert (status, body) == (500, b"this witness cannot keep what it would sign\n")
        until(lambda: any("put it back from a backup" in line for line in running.said), "it says so")


REQUESTS = [render(Request(old, proof, b"text\n\nsignatures\n")) for old, proof in ((0, ()), (7, (bytes(32),) * 3))]


@given(data=st.sampled_from(REQUESTS), at=st.integers(0, 200), put_in=st.binary(max_size=5), cut=st.integers(0, 5))
def test_whatever_is_read_as_a_request_says_itself_again(data: bytes, at: int, put_in: bytes, cut: int) -> None:
    changed = data[:at] + put_in + data[at + cut :]
    try:
        found = protocol.parse(changed)
    except EvidenceError:
        return
    assert render(found) == changed
