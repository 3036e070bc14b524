"""Fuzzes one target, guided by coverage: python -m tests.fuzz.run TARGET SECONDS [--keep]

Needs atheris (pip install atheris; it is in no requirements file). Without it the kept inputs are only mutated at
random. What fails is written where the last line says. --keep: what was found that goes ways through the code that no
kept input goes is added to the corpus.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.fuzz import corpus

Tracer = Callable[[FrameType, str, object], "Tracer"]

NAMES = ("http1", "client_hello", "second_hello", "target", "socks5", "proxy_protocol", "dns_answer")
MAX_LENGTH = {"proxy_protocol": 2_200, "client_hello": 4_200, "second_hello": 4_200}
_INSTRUMENTED = ["gateway", "whitelist", "dns", "idna"]


def inside(name: str, arguments: list[str]) -> int:
    """The fuzzing process itself: does not return until libFuzzer ends it."""
    import atheris  # here, since its absence is allowed

    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()
    return 0


def guided(name: str, seconds: int, *, keep: bool) -> int:
    """Runs libFuzzer on a copy of the corpus and says its figures."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as found:
        for number, data in enumerate(corpus.load(name)):
            Path(found, f"{number}").write_bytes(data)
        failures = Path(tempfile.gettempdir(), f"fuzz-{name}-")
        common = [f"-max_len={MAX_LENGTH.get(name, 1_200)}", "-timeout=10", f"-artifact_prefix={failures}"]
        done = _child(name, f"-max_total_time={seconds}", *common, found)
        figures = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
        runs = re.search(r"Done (\d+) runs in (\d+) second", done.stderr)
        if done.returncode or runs is None or not figures:
            print(done.stdout[-4_000:], done.stderr[-4_000:], file=sys.stderr)
            print(f"{name}: FAILED, the input is at {failures}*")
            return 1
        print(f"{name}: {runs[1]} runs in {runs[2]} s, coverage {figures[-1][0]}, {figures[-1][2]} inputs, no failure")
        if keep:
            add(name, sorted((file.read_bytes() for file in Path(found).iterdir()), key=len))
    return 0


def _child(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tests.fuzz.run", name, "0", "--", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, env=os.environ)


def ways(name: str, data: bytes) -> set[tuple[str, int, int]]:
    """The steps from line to line that an input takes through our code, and through that of the libraries it uses."""
    from tests.fuzz.targets import TARGETS  # here, since the guided run imports it with coverage

    found: set[tuple[str, int, int]] = set()

    def entered(frame: FrameType, _event: str, _argument: object) -> Tracer | None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _INSTRUMENTED:
            return None
        file, before = frame.f_code.co_filename, frame.f_lineno

        def stepped(frame: FrameType, _event: str, _argument: object) -> Tracer:
            nonlocal before
            found.add((file, before, frame.f_lineno))
            before = frame.f_lineno
            return stepped

        return stepped

    sys.settrace(entered)
    try:
        TARGETS[name](data)
    finally:
        sys.settrace(None)
    return found


def add(name: str, inputs: list[bytes]) -> None:
    """Keeps, of these, what goes new ways."""
    kept = corpus.load(name)
    known = set().union(*(ways(name, data) for data in kept))
    fresh = []
    for data in inputs:
        if new := ways(name, data) - known:
            known |= new
            fresh.append(data)
    corpus.save(name, [*kept, *fresh])
    print(f"{name}: {len(fresh)} of {len(inputs)} inputs are kept beside {len(kept)}")


def mutated(data: bytes, pool: list[bytes], chance: random.Random) -> bytes:
    """The input with a few random changes, or with a piece of another one in it."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(changed))
        match chance.randint(0, 4):
            case 0 if at < len(changed):
                changed[at] = chance.choice((0, 255, 10, 13, 32, 58, chance.randrange(256)))
            case 1:
                changed[at:at] = chance.randbytes(chance.randint(1, 4))
            case 2:
                del changed[at : at + chance.randint(1, 8)]
            case 3:
                other = chance.choice(pool)
                start = chance.randint(0, len(other))
                changed[at:at] = other[start : start + chance.randint(1, 32)]
            case _ if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def unguided(name: str, seconds: int) -> int:
    """The same without atheris: random changes of the kept inputs."""
    from tests.fuzz.targets import TARGETS  # here, since the guided run imports it with coverage

    target, pool, chance = TARGETS[name], corpus.load(name), random.Random()
    runs, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(chance.choice(pool), pool, chance)
        try:
            target(data)
        except BaseException:
            print(f"{name}: FAILED after {runs} runs on {data.hex()}")
            raise
        runs += 1
    print(f"{name}: {runs} runs in {seconds} s without guidance (atheris is not installed), no failure")
    return 0


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("seconds", type=int)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)  # of libFuzzer, in the child
    chosen = parser.parse_args()
    if chosen.arguments:
        return inside(chosen.target, chosen.arguments)
    try:
        import atheris  # noqa: F401 - only whether it is there
    except ImportError:
        return unguided(chosen.target, chosen.seconds)
    return guided(chosen.target, chosen.seconds, keep=chosen.keep)


if __name__ == "__main__":
    sys.exit(main())
