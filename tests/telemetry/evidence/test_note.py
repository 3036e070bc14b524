"""Signed notes and checkpoints: what is read, and what each wrong one is told."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from telemetry.evidence import checkpoint, note
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.merkle import EMPTY_ROOT
from telemetry.evidence.note import Note, Signature, VerifierKey
from telemetry.evidence.tile import TileTree, bundles, split_entries

ORIGIN = "gw1.zone.example/flows"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey(ORIGIN, note.ED25519, SECRET.public_key().public_bytes_raw())
HEAD = Checkpoint(ORIGIN, 70_000, bytes(range(32)))
SIGNED = checkpoint.sign(HEAD, SECRET)
ROOT64 = note.encode64(HEAD.root)


def cosigned(stamp: int) -> bytes:
    """SIGNED with a witness's line under it."""
    data = stamp.to_bytes(8) + SECRET.sign(b"cosignature/v1\ntime %d\n" % stamp + HEAD.text.encode())
    return SIGNED + (Signature("w.example", WITNESS.key_id, data).line + "\n").encode()


WITNESS = VerifierKey("w.example", note.COSIGNATURE, KEY.public)


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    assert checkpoint.open_signed(SIGNED, KEY) == HEAD
    assert SIGNED.decode().split("\n")[:3] == [ORIGIN, "70000", ROOT64]
    extended = Checkpoint(ORIGIN, 0, EMPTY_ROOT, ("more", "and more"))
    assert checkpoint.open_signed(checkpoint.sign(extended, SECRET), KEY) == extended


def test_a_key_has_its_text_back() -> None:
    assert note.parse_key(str(KEY)) == KEY
    assert note.parse_key(str(WITNESS)) == WITNESS
    assert KEY.key_id != VerifierKey(ORIGIN, note.COSIGNATURE, KEY.public).key_id, "the type is part of the id"


def test_unknown_signatures_are_passed_over_and_known_ones_are_not() -> None:
    both = cosigned(1_700_000_000)
    assert checkpoint.open_signed(both, KEY) == HEAD
    assert checkpoint.open_signed(both, KEY, [WITNESS]) == HEAD
    assert note.verify(note.parse(both), [KEY, WITNESS]) == [KEY, WITNESS]
    assert note.verify(note.parse(both), [WITNESS]) == [WITNESS]
    later = (1_700_000_001).to_bytes(8) + note.parse(both).signatures[1].data[8:]  # the time is under the signature
    changed = note.render(
        Note(HEAD.text, (note.parse(both).signatures[0], Signature("w.example", WITNESS.key_id, later)))
    )
    assert checkpoint.open_signed(changed, KEY) == HEAD
    with pytest.raises(EvidenceError, match=r"the signature of w\.example\+\w{8} does not fit"):
        checkpoint.open_signed(changed, KEY, [WITNESS])
    with pytest.raises(EvidenceError, match="not signed by the log's own key"):
        checkpoint.open_signed(both.replace(SIGNED.split(b"\n")[-2] + b"\n", b""), KEY, [WITNESS])
    with pytest.raises(EvidenceError, match="impossible time"):
        checkpoint.open_signed(cosigned((1 << 64) - 1), KEY, [WITNESS])


def test_a_checkpoint_cut_or_changed_at_any_byte_is_refused() -> None:
    for place in range(len(SIGNED)):
        with pytest.raises(EvidenceError):
            checkpoint.open_signed(SIGNED[:place], KEY)
        for byte in (SIGNED[place] ^ 1, SIGNED[place] ^ 0x20, 0, 0x0A, 0xFF):
            if byte != SIGNED[place]:
                with pytest.raises(EvidenceError):
                    checkpoint.open_signed(SIGNED[:place] + bytes([byte]) + SIGNED[place + 1 :], KEY)


@given(st.binary(max_size=300))
def test_no_bytes_at_all_are_more_than_refused(data: bytes) -> None:
    for read in (note.parse, lambda data: checkpoint.open_signed(data, KEY)):
        try:
            read(data)
        except EvidenceError:
            continue
        assert read is note.parse  # any note may happen to be one; a signature does not


@given(st.text(max_size=80))
def test_no_text_is_read_that_would_be_written_otherwise(text: str) -> None:
    try:
        found = checkpoint.parse(text)
    except EvidenceError:
        return
    assert found.text == text


def resigned(text: str) -> bytes:
    """A note truly signed over this text."""
    return note.render(Note(text, (note.sign(text, ORIGIN, SECRET),)))


def head(size: str = "70000", root: str = ROOT64, origin: str = ORIGIN, rest: str = "") -> bytes:
    return resigned(f"{origin}\n{size}\n{root}\n{rest}")


LINE = SIGNED.split(b"\n\n")[1]
WRONG = {
    "a leading zero": (head("070000"), "size is '070000', not a decimal number in plain form"),
    "a plus sign": (head("+70000"), "not a decimal"),
    "a minus sign": (head("-1"), "not a decimal"),
    "digits with underscores": (head("70_000"), "not a decimal"),
    "digits of another script": (head("٧"), "not a decimal"),
    "a space": (head(" 70000"), "not a decimal"),
    "a hexadecimal size": (head("0x10"), "not a decimal"),
    "a size of 2**63": (head(str(1 << 63)), "not a decimal"),
    "a size of ten thousand digits": (head("9" * 10_000), "not a decimal"),
    "an empty line": (resigned(f"{ORIGIN}\n\n{ROOT64}\n"), "line 2 of the checkpoint is empty"),
    "two lines only": (resigned(f"{ORIGIN}\n70000\n"), "2 lines instead of"),
    "an empty origin": (head(origin=""), "line 1 of the checkpoint is empty"),
    "a long origin": (head(origin="x" * 256), "longer than 255"),
    "another log's checkpoint under our key": (head(origin="other.example"), "of the log 'other.example', not of"),
    "a root of 31 bytes": (head(root=note.encode64(b"x" * 31)), "31 bytes instead of 32"),
    "a root that is no base64": (head(root="!" * 44), "root is not base64"),
    "a root with loose last bits": (head(root=ROOT64[:-2] + "9="), "root is not canonical base64"),
    "a root without padding": (head(root=ROOT64[:-1]), "root is not base64"),
    "an empty log with a root": (head(size="0"), "of an empty log, but"),
    "no signature": (SIGNED.split(b"\n\n")[0] + b"\n\n", "no signatures"),
    "no empty line": (SIGNED.replace(b"\n\n", b"\n"), "no signatures"),
    "no end of the last line": (SIGNED[:-1], "no end of line"),
    "the same signature twice": (SIGNED + LINE, "two signatures of gw1"),
    "a hundred and one signatures": (SIGNED + LINE * 100, "101 signatures"),
    "a hyphen for the dash": (SIGNED.replace("—".encode(), b"-"), "line 1 of the note does not begin with an em dash"),
    "a line between the signatures": (SIGNED + b"x\n", "signature line 2"),
    "a signature without bytes": (SIGNED + "— w.example AAAAAA==\n".encode(), "4 bytes, too few"),
    "a signature that is no base64": (
        SIGNED + "— w.example ...\n".encode(),
        "the signature of w.example is not base64",
    ),
    "a name with a plus": (SIGNED + "— a+b AAAAAAA=\n".encode(), "is no key name"),
    "a carriage return": (SIGNED.replace(b"70000\n", b"70000\r\n"), "control character at character 28"),
    "a control character in front": (b"\0" + SIGNED, "control character at character 0"),
    "bytes that are no UTF-8": (b"\xff" + SIGNED, "not UTF-8 at byte 0"),
    "too many bytes": (b"x" * 1_000_001, "more than 1000000"),
    "another key": (checkpoint.sign(HEAD, Ed25519PrivateKey.generate()), "by none of the keys"),
    "another size under the same signature": (SIGNED.replace(b"70000", b"70001"), "does not fit the text"),
}


@pytest.mark.parametrize(("data", "why"), WRONG.values(), ids=WRONG)
def test_a_wrong_checkpoint_is_told(data: bytes, why: str) -> None:
    with pytest.raises(EvidenceError, match=why.replace("+", r"\+")):
        checkpoint.open_signed(data, KEY)


TEXT = str(KEY)
WRONG_KEYS = {
    "nothing": ("", "no key name"),
    "a name alone": (ORIGIN, "not of a known type"),
    "another id": (TEXT.replace(KEY.key_id.hex(), "00000000"), "does not have the id '00000000'"),
    "the id in capitals": (TEXT.replace(KEY.key_id.hex(), KEY.key_id.hex().upper()), "does not have the id"),
    "another name": ("gw2" + TEXT[3:], "does not have the id"),
    "a name with a space": (" " + TEXT, "no key name"),
    "an unknown type": (ORIGIN + "+00000000+" + note.encode64(b"\2" + KEY.public), "not of a known type"),
    "a short key": (ORIGIN + "+00000000+" + note.encode64(b"\1" + KEY.public[:31]), "not of a known type"),
    "a newline": (TEXT + "\n", "not base64"),
}


@pytest.mark.parametrize(("text", "why"), WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_a_wrong_key_is_told(text: str, why: str) -> None:
    with pytest.raises(EvidenceError, match=why):
        note.parse_key(text)


def test_nothing_is_signed_that_could_not_be_read_again() -> None:
    for odd in (Checkpoint("a\nb", 1, b"x" * 32), Checkpoint(ORIGIN, -1, b"x" * 32), Checkpoint(ORIGIN, 1, b"x")):
        with pytest.raises(EvidenceError):
            checkpoint.sign(odd, SECRET)
    with pytest.raises(EvidenceError, match="no key name"):
        checkpoint.sign(Checkpoint("a b", 1, b"x" * 32), SECRET)


needs_vectors = pytest.mark.skipif("FEIYU_VECTORS" not in os.environ, reason="FEIYU_VECTORS names no folder of vectors")


@needs_vectors
def test_the_specifications_own_note() -> None:
    case = json.loads((Path(os.environ["FEIYU_VECTORS"]) / "tlog" / "note.json").read_text())
    key = note.parse_key(case["vkey"])
    found = note.parse(case["note"].encode())
    assert note.verify(found, [key]) == [key]
    assert note.render(found) == case["note"].encode()


@needs_vectors
def test_every_checkpoint_and_tile_of_a_log_that_others_wrote() -> None:
    folder = Path(os.environ["FEIYU_VECTORS"]) / "tlog"
    key = note.parse_key((folder / "log.vkey").read_text().strip())
    log = folder / "log"
    heads = [checkpoint.open_signed(path.read_bytes(), key) for path in sorted(log.glob("checkpoint*"))]
    assert {found.size for found in heads} == set(range(16))
    for found in heads:
        tree = TileTree(found.size, lambda tile: (log / tile.path).read_bytes())
        assert tree.root() == found.root
        for bundle in bundles(found.size):
            for index, entry in enumerate(split_entries((log / bundle.path).read_bytes(), bundle)):
                assert tree.leaf(index) == hashlib.sha256(b"\0" + entry).digest()
