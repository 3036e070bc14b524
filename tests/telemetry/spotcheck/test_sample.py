"""How many, and which: checked against known figures, a second implementation, and what fairness asks."""

import hashlib
from collections import Counter
from fractions import Fraction

import pytest

from telemetry.evidence.checkpoint import Checkpoint
from telemetry.spotcheck import sample
from telemetry.spotcheck.error import SpotcheckError

HEAD = Checkpoint("gw1.zone.example/flows", 1000, bytes(range(32)))
SECRETS = {"regulator": b"r" * 32, "operator": b"o" * 32}

SIZES = {
    "95 % at 1 % is 299": ("95", "1", 299),
    "99 % at 1 % is 459": ("99", "1", 459),
    "95 % at 5 % is 59": ("95", "5", 59),
    "90 % at 10 % is 22": ("90", "10", 22),
    "exactly at the edge: 75 % at 50 % is 2": ("75", "50", 2),
    "one suffices: 50 % at 50 %": ("50", "50", 1),
    "99.9 % at 0.1 % is 6905": ("99.9", "0.1", 6905),
}


@pytest.mark.parametrize(("confidence", "rate", "size"), SIZES.values(), ids=SIZES)
def test_sizes(confidence: str, rate: str, size: int) -> None:
    c, r = Fraction(confidence) / 100, Fraction(rate) / 100
    assert sample.sample_size(c, r) == size
    assert (1 - r) ** size <= 1 - c, "a fault is found with the confidence"
    assert size == 1 or (1 - r) ** (size - 1) > 1 - c, "and one fewer would not do"


@pytest.mark.parametrize(("confidence", "rate"), [(0, 1), (100, 1), (95, 0), (95, 100), (99, Fraction(1, 10_000))])
def test_sizes_that_cannot_be(confidence: int, rate: int) -> None:
    with pytest.raises(SpotcheckError):
        sample.sample_size(Fraction(confidence) / 100, Fraction(rate) / 100)


def again(head: Checkpoint, value: bytes, stratum: str, population: int, size: int) -> list[int]:
    """The recipe in the module's docstring, written a second time."""
    lines = [head.origin, str(head.size), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
    seed = hashlib.sha256(b"feiyu spotcheck seed v1\n" + "".join(f"{x}\n" for x in lines).encode() + value).digest()
    if population <= size:
        return list(range(population))
    found: list[int] = []
    i = 0
    while len(found) < size:
        digest = hashlib.sha256(seed + stratum.encode() + b"\n" + i.to_bytes(8, "big")).hexdigest()
        bits = f"{int(digest, 16):0256b}"[: len(f"{population - 1:b}")]
        i += 1
        if int(bits, 2) < population and int(bits, 2) not in found:
            found.append(int(bits, 2))
    return found


@pytest.mark.parametrize("population", [1, 2, 3, 10, 129, 256, 257, 1000, 123_457])
@pytest.mark.parametrize("size", [1, 3, 60])
def test_the_draw_is_the_one_of_the_recipe(population: int, size: int) -> None:
    seed = sample.seed_of(HEAD, b"value")
    found = sample.draw(seed, "transfers", population, size)
    assert found == again(HEAD, b"value", "transfers", population, size)
    assert len(set(found)) == len(found) == min(population, size)


def test_a_known_draw_stays_as_it_is() -> None:
    seed = sample.seed_of(HEAD, b"0badc0de")
    assert seed.hex() == ("55bc53302e43ae2f2b79e2d4f646176001fefe57818fda2d29c0216812db5968")
    assert sample.draw(seed, "transfers", 1000, 5) == [119, 554, 493, 408, 396]


def test_the_seed_hangs_on_all_that_it_is_made_of() -> None:
    seeds = {
        sample.seed_of(Checkpoint(origin, size, root), value)
        for origin in ("a/flows", "b/flows")
        for size in (7, 8)
        for root in (bytes(32), b"\1" + bytes(31))
        for value in (b"1", b"2")
    }
    assert len(seeds) == 16
    assert sample.draw(min(seeds), "a", 10_000, 9) != sample.draw(min(seeds), "b", 10_000, 9), "and the stratum"


def test_each_record_is_as_likely_as_any_other() -> None:
    """129 of 256 candidates are good, the worst case of rejection; a remainder would favour 0 to 126 twofold."""
    counts = Counter(
        sample.draw(hashlib.sha256(number.to_bytes(4)).digest(), "s", 129, 1)[0] for number in range(12_900)
    )
    chi_square = sum((counts[number] - 100) ** 2 / 100 for number in range(129))
    assert len(counts) == 129
    assert chi_square < 190, "128 degrees of freedom: above in less than one of 3,000"


def test_neither_side_alone_decides_the_value() -> None:
    commitments = {role: sample.commitment(role, secret) for role, secret in SECRETS.items()}
    assert sample.revealed(commitments, SECRETS) == b"r" * 32 + b"o" * 32
    assert sample.commitment("regulator", b"r" * 32) != sample.commitment("operator", b"r" * 32)
    with pytest.raises(SpotcheckError, match="the secret of the operator is missing"):
        sample.revealed(commitments, {"regulator": SECRETS["regulator"]})
    with pytest.raises(SpotcheckError, match="of the regulator is not the one that the plan holds"):
        sample.revealed(commitments, {**SECRETS, "regulator": b"x" * 32})
    with pytest.raises(SpotcheckError, match="has 3 bytes; expected 32"):
        sample.commitment("regulator", b"abc")
