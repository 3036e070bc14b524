"""The OpenSSL that cryptography brings, called as pyOpenSSL calls it.

Measured beside Python's own ssl, which is linked with Debian's OpenSSL 3.0 (mutual TLS 1.3 with P-256, CPU of the
gateway's side with its system calls): a full handshake 610 µs against 1,000 µs, a resumed one 360 against 590, a GB 470
ms against 700. kTLS would have kept splice(2), but the kernels we run on are built without it (CONFIG_TLS). The binding
is no public interface: the lock file pins its version, and the tests of this package fail if it changes.
"""

from typing import Any

from cryptography.hazmat.bindings.openssl.binding import Binding

_binding = Binding()
lib: Any = _binding.lib
ffi: Any = _binding.ffi
NULL = ffi.NULL


class TlsError(Exception):
    """OpenSSL refused something; str() is its reason in its words."""


def first_error(default: str = "unknown") -> str:
    """The reason of the first error in OpenSSL's queue (the others follow from it), which is empty after this."""
    reason = ""
    while code := lib.ERR_get_error():
        text = lib.ERR_reason_error_string(code)
        if text != NULL and not reason:
            reason = ffi.string(text).decode("ascii", "replace")
    return reason or default


def need(result: int, what: str) -> None:
    """Raises TlsError unless a call that says 1 for success did."""
    if result != 1:
        raise TlsError(f"{what}: {first_error()}")


def verify_word(code: int) -> str:
    """What is wrong with a peer's chain, e.g. "certificate has expired"."""
    word: bytes = ffi.string(lib.X509_verify_cert_error_string(code))
    return word.decode("ascii", "replace")
