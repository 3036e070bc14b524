"""How many to look at, and which: seed and draw of a spot check, so small that anybody can write it again. Pure.

    seed       SHA-256("feiyu spotcheck seed v1\\n" ‖ ORIGIN \\n SIZE \\n ROOT \\n ‖ value)
    commitment SHA-256("feiyu spotcheck commit v1\\n" ‖ role \\n ‖ secret); the value is then both secrets, one behind
               the other, the regulator's first
    block i    SHA-256(seed ‖ stratum \\n ‖ i as 8 bytes, big-endian), i = 0, 1, 2 …
    candidate  the leading bits of a block, as many as population - 1 has; refused where it is not below the
               population (rejection sampling: a remainder would favour small numbers) or was drawn before

ORIGIN, SIZE and ROOT are the first three lines of a checkpoint (C2SP tlog-checkpoint), ROOT in base64.
"""

from fractions import Fraction
from hashlib import sha256
from hmac import compare_digest
from math import ceil, log

from telemetry.evidence.checkpoint import Checkpoint
from telemetry.spotcheck.error import SpotcheckError

SEED_DOMAIN = b"feiyu spotcheck seed v1\n"
COMMIT_DOMAIN = b"feiyu spotcheck commit v1\n"
ROLES = ("regulator", "operator")
SECRET = 32  # bytes of a committed secret
MAX_SIZE = 100_000


def sample_size(confidence: Fraction, rate: Fraction) -> int:
    """The fewest records to look at so that, where `rate` of them or more are at fault, at least one of those is among
    them with this confidence: the smallest n with (1 - rate)^n ≤ 1 - confidence (the binomial bound, which holds for
    finite populations too). 95 % at 1 % is 299. Raises SpotcheckError for values outside of ]0, 1[, or an n above
    MAX_SIZE."""
    if not (0 < confidence < 1 and 0 < rate < 1):
        raise SpotcheckError("confidence and rate need to lie between 0 and 100 %, both excluded")
    guess = ceil(log(1 - confidence) / log(1 - rate))
    if guess > MAX_SIZE:
        raise SpotcheckError(
            f"that needs {guess} records, more than {MAX_SIZE}: lower the confidence or raise the rate"
        )
    missed = 1 - confidence
    while guess > 1 and (1 - rate) ** (guess - 1) <= missed:  # floats may be one off at the edge, fractions are not
        guess -= 1
    while (1 - rate) ** guess > missed:
        guess += 1
    return guess


def seed_of(head: Checkpoint, value: bytes) -> bytes:
    """The seed of a draw over the leaves under a head."""
    return sha256(SEED_DOMAIN + Checkpoint(head.origin, head.size, head.root).text.encode() + value).digest()


def draw(seed: bytes, stratum: str, population: int, size: int) -> list[int]:
    """Which of a stratum's records are looked at: their numbers from 0, in the order drawn; all where there are no more
    than size."""
    if population <= size:
        return list(range(population))
    bits = (population - 1).bit_length()
    prefix = seed + stratum.encode() + b"\n"
    found: dict[int, None] = {}
    block = 0
    while len(found) < size:
        candidate = int.from_bytes(sha256(prefix + block.to_bytes(8)).digest()) >> (256 - bits)
        block += 1
        if candidate < population:
            found[candidate] = None  # again the same: no change
    return list(found)


def commitment(role: str, secret: bytes) -> str:
    """What is fixed of a secret before it is revealed, in hexadecimal. Raises SpotcheckError for a secret of another
    length."""
    if role not in ROLES or len(secret) != SECRET:
        raise SpotcheckError(f"a secret of {role} has {len(secret)} bytes; expected {SECRET}, of {' or '.join(ROLES)}")
    return sha256(COMMIT_DOMAIN + role.encode() + b"\n" + secret).hexdigest()


def revealed(commitments: dict[str, str], secrets: dict[str, bytes]) -> bytes:
    """The value that two revealed secrets make. Raises SpotcheckError where one is missing or is not what was committed
    to."""
    for role in ROLES:
        if role not in secrets:
            raise SpotcheckError(f"the secret of the {role} is missing: nothing is drawn until both are revealed")
        if not compare_digest(commitment(role, secrets[role]), commitments[role]):
            raise SpotcheckError(f"the secret of the {role} is not the one that the plan holds the commitment of")
    return b"".join(secrets[role] for role in ROLES)
