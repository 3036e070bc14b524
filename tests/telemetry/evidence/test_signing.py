"""Signatures of each kind: what they sign, that they are refused when anything changes, and who passes them by."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from telemetry.evidence import checkpoint, keys, note, signing
from telemetry.evidence.checkpoint import Checkpoint
from telemetry.evidence.error import EvidenceError
from telemetry.evidence.integrate import open_log
from telemetry.evidence.reader import Reader
from telemetry.evidence.standalone import check_log
from telemetry.evidence.standalone import parse_key as parse_key_alone
from telemetry.evidence.verify import verify_log
from telemetry.witness.policy import Policy, best_witnessed, open_witnessed

pytest.importorskip("gmssl_pyx", reason="SM2 needs gmssl-pyx (pip install 'feiyu[gm]')")
KINDS = {
    "Ed25519": signing.ED25519,
    "a cosignature": signing.COSIGNATURE,
    "ML-DSA-44": signing.MLDSA44,
    "SM2": signing.OTHER,
}
HEAD = Checkpoint("gw1.zone.example/flows", 7, b"r" * 32)
SECRETS = {kind: signing.generate(kind) for kind in KINDS.values()}


def key_of(kind: int, name: str = HEAD.origin) -> tuple[signing.PrivateKey, note.VerifierKey]:
    key = signing.private_key(kind, SECRETS[kind])
    return key, note.VerifierKey(name, kind, key.public)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_signature_fits_its_text_its_key_and_nothing_else(kind: int) -> None:
    key, vkey = key_of(kind)
    assert note.parse_key(str(vkey)) == vkey
    line = note.sign(HEAD.text, HEAD.origin, key, 1_800_000_000)
    assert line.key_id == vkey.key_id
    vkey.verify(HEAD.text, line.data)
    timed = kind in (signing.COSIGNATURE, signing.MLDSA44)
    assert signing.time_of(kind, line.data) == (1_800_000_000 if timed else None)
    wrong = [
        (vkey, Checkpoint(HEAD.origin, 8, HEAD.root).text, line.data),
        (vkey, HEAD.text, line.data[:-1]),
        (vkey, HEAD.text, bytes([line.data[0] ^ 1]) + line.data[1:]),
        (vkey, HEAD.text, b""),
        (key_of_other(kind), HEAD.text, line.data),
    ]
    for other, text, data in wrong:
        with pytest.raises(EvidenceError, match=r"does not fit the text|impossible time"):
            other.verify(text, data)


def key_of_other(kind: int) -> note.VerifierKey:
    return note.VerifierKey(HEAD.origin, kind, signing.private_key(kind, signing.generate(kind)).public)


def test_mldsa44_signs_the_fields_that_the_specification_names() -> None:
    key, vkey = key_of(signing.MLDSA44, "w1.example")
    seen: list[bytes] = []
    spy = signing.PrivateKey(key.type, key.public, lambda message: seen.append(message) or key.sign(message))  # type: ignore[func-returns-value]
    line = note.sign(HEAD.text, "w1.example", spy, 1_800_000_000)
    vkey.verify(HEAD.text, line.data)
    assert seen == [
        b"subtree/v1\n\0" + b"\x0aw1.example" + (1_800_000_000).to_bytes(8) + b"\x16gw1.zone.example/flows"
        + bytes(8) + (7).to_bytes(8) + b"r" * 32
    ]  # fmt: skip
    renamed = note.VerifierKey("w2.example", signing.MLDSA44, key.public)
    with pytest.raises(EvidenceError, match="does not fit"):
        renamed.verify(HEAD.text, line.data)  # it says who signed
    assert vkey.key_id == hashlib.sha256(b"w1.example\n\x06" + key.public).digest()[:4]


def test_a_log_with_three_signatures_is_read_by_who_knows_one(tmp_path: Path) -> None:
    log = open_log(tmp_path, "gw1.zone.example", ["mldsa44", "sm2"])
    log.append([b"one", b"two"])
    lines = note.parse(log.reader.checkpoint()).signatures
    assert [len(line.data) for line in lines[:2]] == [64, 8 + 2420]
    assert 68 <= len(lines[2].data) <= 72, "SM2, in DER"
    for name in ("flows", "flows.mldsa44", "flows.sm2"):
        key = note.parse_key((tmp_path / f"{name}.vkey").read_text().strip())
        assert verify_log(Reader(tmp_path / "flows"), key).entries == 2
    assert check_log(str(tmp_path / "flows"), parse_key_alone((tmp_path / "flows.vkey").read_text()), []) == (2, 0)
    again = open_log(tmp_path, "gw1.zone.example", ["sm2"])
    again.append([b"three"])
    assert len(note.parse(again.signed).signatures) == 2, "one kind fewer from now on"
    assert (tmp_path / "flows.sm2.key").stat().st_mode & 0o777 == 0o600


def test_a_broken_key_of_a_second_signature_is_told(tmp_path: Path) -> None:
    open_log(tmp_path, "gw1.zone.example", ["mldsa44"])
    (tmp_path / "flows.mldsa44.key").write_bytes(b"x")
    with pytest.raises(EvidenceError, match=r"flows.mldsa44.key: a private key has 1 bytes instead of 32"):
        keys.further_keys(tmp_path, "flows", "o", ["mldsa44"])


def cosigned(*signers: tuple[str, int, int]) -> tuple[bytes, note.VerifierKey]:
    """A checkpoint signed by its log and by (name, kind, time)."""
    log, vkey = key_of(signing.ED25519)
    lines = [note.sign(HEAD.text, HEAD.origin, log)]
    lines += [note.sign(HEAD.text, name, key_of(kind)[0], time) for name, kind, time in signers]
    return note.render(note.Note(HEAD.text, tuple(lines))), vkey


W1, W2 = (key_of(kind, name)[1] for name, kind in (("w1", signing.COSIGNATURE), ("w2", signing.MLDSA44)))

QUORUMS: dict[str, tuple[list[tuple[str, int, int]], int, str]] = {
    "both of two": ([("w1", 4, 10), ("w2", 6, 30)], 2, ""),
    "one of two": ([("w2", 6, 30)], 1, ""),
    "one where two are needed": ([("w2", 6, 30)], 2, r"cosigned by 1 of the witnesses \(w2\), and 2 are needed"),
    "nobody": ([], 1, r"cosigned by 0 of the witnesses \(none\), and 1 are needed"),
    "another": ([("w9", 4, 10)], 1, "cosigned by 0"),
    "more than there are": ([], 3, "a quorum of 3 witnesses cannot be had of 2"),
    "none needed": ([], 0, "a quorum of 0"),
}


@pytest.mark.parametrize(("signers", "quorum", "why"), QUORUMS.values(), ids=QUORUMS)
def test_a_quorum(signers: list[tuple[str, int, int]], quorum: int, why: str) -> None:
    data, log = cosigned(*signers)
    if why:
        with pytest.raises(EvidenceError, match=why):
            open_witnessed(data, log, Policy((W1, W2), quorum))
    else:
        found = open_witnessed(data, log, Policy((W1, W2), quorum))
        assert (found.names, found.time) == (tuple(sorted(name for name, _, _ in signers)), max(t for *_, t in signers))
        assert best_witnessed([b"", cosigned()[0], data], log, Policy((W1, W2), quorum)) == found


POLICIES: dict[str, tuple[Callable[[], Policy], str]] = {
    "one key under two names": (
        lambda: Policy((W1, note.VerifierKey("w9", W1.type, W1.public)), 2), "would let one count twice",
    ),
    "a log's key": (lambda: Policy((key_of(signing.ED25519)[1],), 1), "is not one for cosignatures"),
    "two keys of one witness count once": (
        lambda: Policy((W1, note.VerifierKey("w1", W2.type, W2.public)), 2),
        "a quorum of 2 witnesses cannot be had of 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "why"), POLICIES.values(), ids=POLICIES)
def test_a_policy_that_would_be_none(make: Callable[[], Policy], why: str) -> None:
    with pytest.raises(EvidenceError, match=why):
        make()


def test_a_false_cosignature_of_a_known_witness_spoils_the_checkpoint() -> None:
    data, log = cosigned(("w1", 4, 10), ("w2", 6, 30))
    found = note.parse(data)
    line = found.signatures[1]
    false = note.Signature(line.name, line.key_id, line.data[:-1] + bytes([line.data[-1] ^ 1]))
    spoilt = note.render(note.Note(found.text, (found.signatures[0], false, found.signatures[2])))
    with pytest.raises(EvidenceError, match="signature of w1"):
        open_witnessed(spoilt, log, Policy((W1, W2), 1))
    with pytest.raises(EvidenceError, match="signature of w1"):
        checkpoint.open_signed(spoilt, log, (W1,))
