"""JA4, the TLS client fingerprint of FoxIO (BSD-3-Clause; github.com/FoxIO-LLC/ja4, technical_details/JA4.md).

The two hashes depend on few distinct byte strings per client program, so they are cached under them, bounded.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256

GREASE = frozenset(0x0A0A + 0x1010 * i for i in range(16))  # RFC 8701
_GREASE_TEXT = frozenset(f"{value:04x}" for value in GREASE)
_VERSIONS = {"0304": "13", "0303": "12", "0302": "11", "0301": "10", "0300": "s3", "0002": "s2"}
_NO_HASH = "000000000000"


def _shorts(data: bytes) -> list[str]:
    """Big-endian 16-bit numbers as four hexadecimal digits, without GREASE; an odd last byte is ignored."""
    digits = data[: len(data) & ~1].hex(",", 2)
    return [number for number in digits.split(",") if number not in _GREASE_TEXT] if digits else []


def _hash(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12]


@lru_cache(maxsize=1024)
def _version(legacy: bytes, supported: bytes) -> str:
    return _VERSIONS.get(max(_shorts(supported), default=legacy.hex()), "00")


@lru_cache(maxsize=1024)
def _ciphers(data: bytes) -> tuple[str, str]:
    """How many (two digits) and the hash of the sorted list."""
    values = _shorts(data)
    return f"{min(len(values), 99):02d}", _hash(",".join(sorted(values))) if values else _NO_HASH


@lru_cache(maxsize=4096)  # a browser draws two GREASE types anew each time: 240 sets for each set that it means
def _extensions(types: frozenset[int], algorithms: bytes) -> tuple[str, str, str]:
    """Whether there is a name, how many there are, and the hash of the sorted types without SNI and ALPN, then the
    algorithms in the client's order."""
    meant = sorted(types - GREASE)
    text = ",".join(f"{t:04x}" for t in meant if t not in (0x0000, 0x0010))
    if listed := _shorts(algorithms):
        text += "_" + ",".join(listed)
    return "d" if 0 in types else "i", f"{min(len(meant), 99):02d}", _hash(text) if text else _NO_HASH


@lru_cache(maxsize=256)
def _alpn(protocols: bytes) -> str:
    """First and last character of the first protocol. Where one of them is not alphanumeric, those of its hexadecimal
    form; but "99" where one is outside ASCII: the specification's prose has the hexadecimal form there too, while
    FoxIO's own programs and captures have 99, and a fingerprint is for comparing with theirs."""
    first = protocols[1 : 1 + protocols[0]] if protocols else b""
    if not first:
        return "00"
    ends = first[:1] + first[-1:]
    if not ends.isascii():
        return "99"
    return ends.decode("ascii") if ends.isalnum() else first.hex()[0] + first.hex()[-1]


def fingerprint(
    legacy_version: bytes,
    ciphers: bytes,
    extension_types: Iterable[int],
    supported_versions: bytes,
    signature_algorithms: bytes,
    alpn: bytes,
) -> str:
    """The fingerprint of a hello that came over TCP. The byte strings are the extensions' lists without their
    length."""
    cipher_count, cipher_hash = _ciphers(ciphers)
    name, extension_count, extension_hash = _extensions(frozenset(extension_types), signature_algorithms)
    version = _version(legacy_version, supported_versions)
    return f"t{version}{name}{cipher_count}{extension_count}{_alpn(alpn)}_{cipher_hash}_{extension_hash}"
