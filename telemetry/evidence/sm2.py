"""SM2 signatures with SM3 (GB/T 32918.2; DER as in GB/T 35276; the default signer id), by the optional gmssl-pyx.

Not `gmssl`: version 3.2.2 of that draws its nonces from a generator that is not secret.
"""

from typing import Any

from telemetry.evidence.error import EvidenceError

PUBLIC, SECRET = 64, 96  # bytes: x and y; the scalar with the public key behind it, since the package derives neither


def generate() -> bytes:
    """A new secret. Raises EvidenceError where the package is missing."""
    public, scalar = _gmssl().sm2_key_generate()
    return bytes(scalar + public)


def sign(secret: bytes, message: bytes) -> bytes:
    """Raises EvidenceError for a secret that is none."""
    gmssl = _gmssl()
    try:
        return bytes(gmssl.sm2_sign(secret[:32], secret[32:], message))
    except (gmssl.GmsslInnerError, gmssl.InvalidValueError):
        raise EvidenceError("the SM2 key is not one") from None


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether it fits. Raises EvidenceError where the package is missing."""
    gmssl = _gmssl()
    try:
        return bool(gmssl.sm2_verify(public, message, signature))
    except (gmssl.GmsslInnerError, gmssl.InvalidValueError):
        return False


def _gmssl() -> Any:
    try:
        import gmssl_pyx  # only where somebody asks for SM2
    except ImportError:
        raise EvidenceError("SM2 signatures need the package gmssl-pyx: pip install 'feiyu[gm]'") from None
    return gmssl_pyx
