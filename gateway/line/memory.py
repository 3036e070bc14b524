"""What the lines process had in the kernel when it last looked, in a file for the one after it: so that what others
changed while none ran is told as drift, and is not taken for the beginning of a new plan.

It holds for one boot and one network namespace; in any other the kernel begins empty.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import msgspec

from gateway.line.plan import Plan, is_right
from gateway.line.reconcile import Actual
from gateway.line.steps import (
    Action,
    AddRoute,
    AddRule,
    DeleteDevice,
    DeleteRoute,
    DeleteRule,
    LoadTable,
    SetSysctl,
    SetTunnelSource,
)

FORMAT = 1  # raised when rules, routes or devices are written in other words: those of before would all differ
FILE = "kernel.json"


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """where: boot, namespace and format; rules, routes: ours, in words; sysctls: those that were as wanted; devices:
    those that were there, in words; table: digest of the nft table as it read back, empty where it was not ours;
    shaping: digest of the wanted shares that were in force, and indexes of the devices by name."""

    where: str
    rules: frozenset[str] = frozenset()
    routes: frozenset[str] = frozenset()
    sysctls: dict[str, str] = {}
    devices: dict[str, str] = {}
    tunnel_source: str = ""
    table: str = ""
    shaping: str = ""
    indexes: dict[str, int] = {}

    @classmethod
    def of(
        cls,
        where: str,
        plan: Plan,
        table: str | None,
        actual: Actual,
        devices: Mapping[str, str],
        shares: tuple[str, dict[str, int]],
    ) -> Self:
        """What of the plan is in the kernel. table: as ours reads back."""
        return cls(
            where=where,
            rules=frozenset(map(str, plan.rules & actual.rules)),
            routes=frozenset(map(str, plan.routes & actual.routes)),
            sysctls={
                p: found
                for p, value in plan.sysctls.items()
                if (found := actual.sysctls.get(p)) and is_right(p, value, found)
            },
            devices={name: text for name, text in devices.items() if text},
            tunnel_source=plan.tunnel_source if actual.tunnel_source == plan.tunnel_source else "",
            table=digest(actual.table) if table and actual.table == table else "",
            shaping=shares[0],
            indexes=shares[1],
        )

    def contradicts(self, step: Action, actual: Actual) -> bool:
        """Whether the step undoes what somebody did since; else it is the work of another plan."""
        match step:
            case LoadTable():
                return bool(self.table) and digest(actual.table) != self.table
            case AddRule(rule):
                return str(rule) in self.rules
            case DeleteRule(rule):
                return str(rule) not in self.rules
            case AddRoute(route):
                return str(route) in self.routes
            case DeleteRoute(route):
                return str(route) not in self.routes
            case SetSysctl(path, _, was):
                return self.sysctls.get(path, was) != was
            case SetTunnelSource(_, was):
                return self.tunnel_source not in ("", was)
            case DeleteDevice(name):
                return name not in self.devices
            case _:
                return step.name in self.devices


def digest(text: str) -> str:
    """Of a text that may be long."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def here() -> str:
    """This boot, the network namespace of the calling thread, and the format. Raises OSError."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{FORMAT} {boot} {os.stat('/proc/thread-self/ns/net').st_ino}"


class Notebook:
    """The file. path: None for none; complain: told once of each thing that went wrong with it. where: as in Memory,
    of the calling thread, empty where that cannot be told; before: what an earlier process left, None where it left
    nothing that holds, or once it was looked at."""

    def __init__(self, path: Path | None, complain: Callable[[str], None]) -> None:
        self._path, self._complain = path, complain
        self._complaints: set[str] = set()
        self._noted: Memory | None = None
        self.where = ""
        self.before: Memory | None = None
        if path is None:
            return
        try:
            self.where = here()
            if path.exists():
                found = msgspec.json.decode(path.read_bytes(), type=Memory)
                self.before = found if found.where == self.where else None
        except (OSError, msgspec.DecodeError) as error:
            self._failed(f"cannot tell what was changed while no lines process ran: {path}: {error}")

    def forget(self) -> None:
        """The kernel is about to become another."""
        self._noted = None
        if self._path is not None:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                self._failed(f"cannot take away what is no longer so: {error}")

    def note(self, memory: Memory) -> None:
        """This is how it is now."""
        if self._path is None or not self.where or memory == self._noted:
            return
        try:
            keep(self._path, msgspec.json.encode(memory, order="deterministic").decode(), lasting=False)
        except OSError as error:
            self._failed(f"cannot keep what is in the kernel, changes while no lines process runs go untold: {error}")
        else:
            self._noted = memory

    def _failed(self, what: str) -> None:
        if what not in self._complaints:
            self._complaints.add(what)
            self._complain(what)


def keep(path: Path, text: str, *, lasting: bool = True) -> None:
    """Writes a file for a later process: whole or not at all, readable by its owner only. lasting: for the next boot
    too, so it waits for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with open(new, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
        if lasting:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
