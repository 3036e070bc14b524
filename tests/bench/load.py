"""Runs the load generator against a proxy and reads its line of figures."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.zone import GATEWAY, NAME, PORT, Zone

READY_WITHIN = 30.0  # seconds until a proxy must carry a first tunnel


@dataclass(frozen=True, slots=True)
class Figures:
    """One run. seconds: its length; done: turns; moved: bytes, whole or not; p50, p99: microseconds."""

    seconds: float
    done: int
    failed: int
    moved: float
    p50: float
    p99: float


class LoadError(Exception):
    """The load did not run as it should: what it said."""


@dataclass(frozen=True, slots=True)
class Load:
    """How to load one proxy. hello: file with a tunnel's first bytes; clients: file of "SOURCE_IP Header: v"."""

    zone: Zone
    program: Path
    port: int
    hello: Path
    clients: Path

    def argv(self, mode: str, connections: int, seconds: float) -> list[str]:
        """The command."""
        counts = ["-c", str(connections), "-s", str(seconds)]
        files = ["-f", str(self.hello), "-A", str(self.clients)]
        return [str(self.program), mode, GATEWAY, str(self.port), NAME, str(PORT), *counts, *files]

    def run(self, mode: str, connections: int, seconds: float) -> Figures:
        """Loads for some seconds. Raises LoadError when more than a few turns failed."""
        process = self._start(mode, connections, seconds)
        try:
            out, _ = process.communicate(timeout=seconds + 20)
        except subprocess.TimeoutExpired:
            raise LoadError(f"{mode}: the load generator does not end") from None
        finally:
            self.zone.end(process)
        if process.returncode or not out:
            raise LoadError(f"{mode}: {out.decode().strip()}\n{self.complaint()}")
        return read(out.decode())

    @contextmanager
    def held(self, connections: int, within: float = 60.0) -> Iterator[None]:
        """Opens so many tunnels and holds them for the body of the with statement."""
        before = self.zone.log("load").stat().st_size
        process = self._start("idle", connections, within + 60)
        try:
            until = time.monotonic() + within
            while b"all open" not in self.zone.log("load").read_bytes()[before:]:
                if time.monotonic() > until or process.poll() is not None:
                    raise LoadError(f"not all of {connections} tunnels open\n{self.complaint()}")
                time.sleep(0.05)
            yield
        finally:
            self.zone.end(process)

    def wait_ready(self) -> None:
        """Returns once the proxy carries tunnels. Raises LoadError."""
        until = time.monotonic() + READY_WITHIN
        while True:
            process = self._start("rate", 1, 0.1)
            out, _ = process.communicate(timeout=20)
            self.zone.end(process)
            if out and read(out.decode()).done > 0:
                return
            if time.monotonic() > until:
                raise LoadError(f"no tunnel within {READY_WITHIN:g} s\n{self.complaint()}")
            time.sleep(0.1)

    def complaint(self) -> str:
        """The last lines of all logs."""
        said = []
        for path in sorted(self.zone.directory.glob("*.log")):
            lines = path.read_text("utf-8", "replace").splitlines()[-8:]
            said += [f"{path.name}: {line}" for line in lines]
        return "\n".join(said)

    def _start(self, mode: str, connections: int, seconds: float) -> subprocess.Popen[bytes]:
        argv = self.argv(mode, connections, seconds)
        return self.zone.spawn(self.zone.client, argv, self.zone.load_core, "load", stdout=subprocess.PIPE)  # type: ignore[arg-type]


def read(line: str) -> Figures:
    """The generator's line: MODE key=value …"""
    values = {key: float(value) for key, _, value in (word.partition("=") for word in line.split()[1:])}
    seconds = values["secs"]
    return Figures(
        seconds=seconds,
        done=int(values["done"]),
        failed=int(values["failed"]),
        moved=values["MB_s"] * 1e6 * seconds,
        p50=values["p50_us"],
        p99=values["p99_us"],
    )
