"""The kinds of signatures under a note (C2SP signed-note, "Signature types"): what each signs, how it is checked. Pure.

    0x01  Ed25519 (RFC 8032) over the text: the log's own signature
    0x04  a witness's timestamped cosignature, Ed25519 (C2SP tlog-cosignature)
    0x06  the same with ML-DSA-44 (FIPS 204); under the log's own name and with time 0 a second signature of the log
    0xff  SM2 with SM3 (GB/T 32918.2, signature in DER as GB/T 35276 has it, default signer id) over the text; no type
          byte is assigned to it, so its identifier SM2_ID follows

Whoever does not know a kind passes its line over, as the specification demands.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from telemetry.evidence import sm2
from telemetry.evidence.error import EvidenceError

ED25519, COSIGNATURE, MLDSA44, OTHER = 0x01, 0x04, 0x06, 0xFF
SM2_ID = b"sm2-sm3.gbt35276"
MAX_TIME = (1 << 63) - 1

_SIZES = {ED25519: 32, COSIGNATURE: 32, MLDSA44: 1312, OTHER: len(SM2_ID) + sm2.PUBLIC}
_SECRETS = {ED25519: 32, COSIGNATURE: 32, MLDSA44: 32, OTHER: sm2.SECRET}
_TIMED = (COSIGNATURE, MLDSA44)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """type: one of the kinds; public: as it stands in a verifier key; sign: of a message."""

    type: int
    public: bytes
    sign: Callable[[bytes], bytes]


def known(type_: int, public: bytes) -> bool:
    """Whether this is a public key of a kind known here."""
    return len(public) == _SIZES.get(type_) and (type_ != OTHER or public.startswith(SM2_ID))


def private_key(type_: int, secret: bytes) -> PrivateKey:
    """The key that secret bytes are. Raises EvidenceError for other bytes, or where this machine cannot use it."""
    if len(secret) != _SECRETS[type_]:
        raise EvidenceError(f"a private key has {len(secret)} bytes instead of {_SECRETS[type_]}")
    if type_ == MLDSA44:
        try:
            dilithium = mldsa.MLDSA44PrivateKey.from_seed_bytes(secret)
        except UnsupportedAlgorithm:
            raise EvidenceError("ML-DSA-44 needs a package cryptography whose OpenSSL (3.5 or newer) has it") from None
        return PrivateKey(type_, dilithium.public_key().public_bytes_raw(), dilithium.sign)
    if type_ == OTHER:
        public = SM2_ID + secret[32:]
        return PrivateKey(type_, public, lambda message: sm2.sign(secret, message))
    ed25519 = Ed25519PrivateKey.from_private_bytes(secret)
    return PrivateKey(type_, ed25519.public_key().public_bytes_raw(), ed25519.sign)


def generate(type_: int) -> bytes:
    """Secret bytes of a new key. Raises EvidenceError where this machine cannot make one."""
    return sm2.generate() if type_ == OTHER else os.urandom(_SECRETS[type_])


def signature(key: PrivateKey, name: str, text: str, time: int = 0) -> bytes:
    """What stands behind the key id in the signature line. time: Unix seconds, for the kinds that say it."""
    stamp = time.to_bytes(8) if key.type in _TIMED else b""
    return stamp + key.sign(_message(key.type, name, text, time))


def check(type_: int, public: bytes, name: str, text: str, data: bytes) -> None:
    """Raises EvidenceError when data is no signature of the text by this key."""
    time = 0
    if type_ in _TIMED:
        time, data = int.from_bytes(data[:8]), data[8:]
        if time > MAX_TIME:
            raise EvidenceError(f"the cosignature of {name} has an impossible time")
    message = _message(type_, name, text, time)
    try:
        if type_ == MLDSA44:
            mldsa.MLDSA44PublicKey.from_public_bytes(public).verify(data, message)
        elif type_ == OTHER:
            if not sm2.verify(public.removeprefix(SM2_ID), message, data):
                raise InvalidSignature
        else:
            Ed25519PublicKey.from_public_bytes(public).verify(data, message)
    except UnsupportedAlgorithm:
        raise EvidenceError("ML-DSA-44 needs a package cryptography whose OpenSSL (3.5 or newer) has it") from None
    except (InvalidSignature, ValueError):
        raise EvidenceError(f"the signature of {name} does not fit the text") from None


def time_of(type_: int, data: bytes) -> int | None:
    """When a cosignature says it was made, Unix seconds; None for signatures that do not say."""
    return int.from_bytes(data[:8]) if type_ in _TIMED else None


def _message(type_: int, name: str, text: str, time: int) -> bytes:
    if type_ == COSIGNATURE:
        return b"cosignature/v1\ntime %d\n%b" % (time, text.encode())
    if type_ != MLDSA44:
        return text.encode()
    from telemetry.evidence import checkpoint  # which reads notes, and so needs this module

    head = checkpoint.parse(text)  # tlog-cosignature, "ML-DSA-44 signed message": the fields, not the text
    if len(name.encode()) > checkpoint.MAX_ORIGIN:
        raise EvidenceError(f"the cosigner's name is longer than {checkpoint.MAX_ORIGIN} bytes")
    return b"".join((
        b"subtree/v1\n\0",
        _opaque(name),
        time.to_bytes(8),
        _opaque(head.origin),
        bytes(8),
        head.size.to_bytes(8),
        head.root,
    ))  # fmt: skip


def _opaque(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(1) + data
