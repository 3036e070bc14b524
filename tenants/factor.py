"""The two factors of a login: a password (scrypt, RFC 7914) and a time-based code (TOTP, RFC 6238).

The third thing an account has, its key, signs approvals and stands for the account while factors are set.
"""

import base64
import hashlib
import hmac
import re
import secrets
import struct
from collections.abc import Callable

_N, _R, _P = 1 << 15, 8, 1  # 32 MiB, about 80 ms
STEP = 30  # seconds a code is good for
DIGITS = 6
MIN_PASSWORD, MAX_PASSWORD = 12, 1024
_CODE = re.compile(r"[0-9]{6}", re.ASCII).fullmatch


def hash_password(password: str, salt: bytes | None = None) -> str:
    """What is kept of a password: "scrypt$n$r$p$salt$hash", the last two in hex."""
    salt = salt or secrets.token_bytes(16)
    made = _scrypt(password, salt, _N, _R, _P)
    return f"scrypt${_N}${_R}${_P}${salt.hex()}${made.hex()}"


def password_fits(password: str, kept: str) -> bool:
    """Whether the password is the one that was kept, in time that depends on neither. Raises ValueError for what
    hash_password did not write."""
    kind, n, r, p, salt, expected = kept.split("$")
    if kind != "scrypt":
        raise ValueError(f"unknown kind of password hash {kind!r}")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt), int(n), int(r), int(p)), bytes.fromhex(expected))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def password_fault(password: str, account: str) -> str:
    """What is wrong with a new password; "" for nothing. Length is what counts (NIST SP 800-63B 3.1.1.2)."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        return f"needs {MIN_PASSWORD} to {MAX_PASSWORD} characters"
    if len(set(password)) < 5 or account.casefold() in password.casefold():
        return "is too easy to guess: use several words"
    return ""


def new_secret(randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A secret for codes: 160 bits in base32 (RFC 4226 clause 4, R6)."""
    return base64.b32encode(randomness(20)).decode()


def code_at(secret: str, step: int) -> str:
    """The code of a step (RFC 4226 clause 5.3 over the step, HMAC-SHA-1)."""
    mac = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), "sha1")
    offset = mac[-1] & 0xF
    number = int.from_bytes(mac[offset : offset + 4]) & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def step_of(secret: str, code: str, now: int, last: int) -> int | None:
    """The step whose code this is: the present one, the one before or the one after (RFC 6238 clause 5.2), and later
    than the one used last, so that no code is good twice. None for none."""
    if not _CODE(code):
        return None
    found = None
    for step in range(now // STEP - 1, now // STEP + 2):
        if hmac.compare_digest(code_at(secret, step), code) and step > last:
            found = step
    return found


def uri(secret: str, account: str, node: str) -> str:
    """The secret as authenticator programs read it."""
    return f"otpauth://totp/Feiyu:{account}%40{node}?secret={secret}&issuer=Feiyu&digits={DIGITS}&period={STEP}"


def setting_text(account: str, nonce: str, password: str) -> bytes:
    """What the account's key signs when factors are set."""
    return f"feiyu factor v1\n{account} {nonce} {hashlib.sha256(password.encode()).hexdigest()}\n".encode()
