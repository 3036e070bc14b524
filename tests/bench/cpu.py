"""What a tree of processes used of the processor, and what it holds in memory, as the kernel counts it."""

import os
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of processor time, of living processes and of their children that were waited for."""

    user: float
    system: float

    @property
    def total(self) -> float:
        """User and system."""
        return self.user + self.system

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user - other.user, self.system - other.system)


@dataclass(frozen=True, slots=True)
class Memory:
    """Kilobytes: the share of all memory in use (Pss), and what is nobody else's file (Anonymous)."""

    pss: int
    anonymous: int

    def __sub__(self, other: "Memory") -> "Memory":
        return Memory(self.pss - other.pss, self.anonymous - other.anonymous)


def tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found


def cpu(pids: list[int]) -> Cpu:
    """Time used so far by these processes; one that is gone has none (its parent's time includes it once it waited)."""
    user = system = 0
    for pid in pids:
        if fields := _stat(pid):
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
    return Cpu(user * TICK, system * TICK)


def memory(pids: list[int]) -> Memory:
    """What these processes hold now."""
    pss = anonymous = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        values = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines[1:])}
        pss += values["Pss"]
        anonymous += values["Anonymous"]
    return Memory(pss, anonymous)


def command(pid: int) -> str:
    """The command line of a process, "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name: state, parent, … (proc(5)); empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()
