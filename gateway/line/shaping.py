"""Fair shares: the HTB qdisc and classes that every shaped device shall have, and the steps that get it there. Pure.

Uploads are shaped on the line's device, downloads on the access devices. A packet finds its class by the priority of
its socket (gateway.line.model.class_of). Rates are bytes per second, minors the lower 16 bits of a classid.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.line.model import MAX_INDEX, QDISC, REST, LineEntry, NodeConfig
from whitelist.device import device_fault
from whitelist.line_rules import MAX_SHARE

KBIT = 125  # bytes per second
_LEAST_PART = 200  # who has no guarantee still gets one part in so many, or could be starved
_LEAST_RATE = 1_000
_QUANTUM, _LEAST_QUANTUM = 60_000, 1_600  # bytes per turn: what is left over is lent in the ratio of the guarantees
HANDLE = QDISC << 16


@dataclass(frozen=True, slots=True)
class Class:
    """One HTB class. parent: minor of its parent, 0 for the qdisc itself; quantum: bytes per turn."""

    minor: int
    parent: int
    rate: int
    ceil: int
    quantum: int

    def __str__(self) -> str:
        return f"class {QDISC:x}:{self.minor:x} rate {self.rate // KBIT} ceil {self.ceil // KBIT} kbit/s"


@dataclass(frozen=True, slots=True)
class Tree:
    """The root qdisc of a device and its classes by minor. default: minor for packets without a class, 0 for those
    that are not shaped; foreign: what stands there instead of ours, which is neither ours nor the kernel's default."""

    default: int = 0
    classes: Mapping[int, Class] = field(default_factory=dict)
    foreign: str = ""


@dataclass(frozen=True, slots=True)
class AddQdisc:
    """Put our qdisc at the device's root; instead: a foreign one that goes."""

    device: str
    default: int
    instead: str = ""

    def __str__(self) -> str:
        return f"add qdisc on {self.device}" + (f" instead of foreign {self.instead}" if self.instead else "")


@dataclass(frozen=True, slots=True)
class DeleteQdisc:
    """Take our qdisc and all of its classes away."""

    device: str

    def __str__(self) -> str:
        return f"delete qdisc on {self.device}"


@dataclass(frozen=True, slots=True)
class SetClass:
    """Add the class, or change it to these rates; new: it is not there."""

    device: str
    want: Class
    new: bool

    def __str__(self) -> str:
        return f"{'add' if self.new else 'change'} {self.want} on {self.device}"


@dataclass(frozen=True, slots=True)
class DeleteClass:
    """Take a class away that nobody wants."""

    device: str
    minor: int

    def __str__(self) -> str:
        return f"delete class {QDISC:x}:{self.minor:x} on {self.device}"


Step = AddQdisc | DeleteQdisc | SetClass | DeleteClass


def trees(entries: Iterable[LineEntry], node: NodeConfig) -> dict[str, Tree]:
    """What every device shall have; a device that is not named shall have nothing of ours. Entries that no socket can
    be put on are left out; the caller leaves out retired ones."""
    up: dict[str, dict[int, Class]] = {}
    defaults: dict[str, int] = {}
    down: dict[int, Class] = {}
    for line in entries:
        if not 1 <= line.index <= MAX_INDEX or device_fault(line.device):
            continue
        if line.rate_up > 0:
            shares = {share.number: (share.up, share.up_ceiling) for share in line.shares}
            up.setdefault(line.device, {}).update(_classes(line.index, line.rate_up, shares))
            # The gateway's own packets on the line (names, probes) carry no priority.
            defaults.setdefault(line.device, line.index << 8 | REST)
        if line.rate_down > 0:
            shares = {share.number: (share.down, share.down_ceiling) for share in line.shares}
            down.update(_classes(line.index, line.rate_down, shares))
    found = {device: Tree(defaults[device], classes) for device, classes in up.items()}
    for access in node.access:
        if down and access.interface not in found:
            found[access.interface] = Tree(0, down)
    return found


def _classes(index: int, kbit: int, shares: Mapping[int, tuple[int, int]]) -> dict[int, Class]:
    """The line's class and one for each share and the rest. Guarantees of more than the line has are cut in proportion:
    HTB would else send more than the line's rate."""
    total, parent = kbit * KBIT, index << 8
    least = max(_LEAST_RATE, total // _LEAST_PART)
    asked = {number: share for number, share in shares.items() if 1 <= number <= MAX_SHARE} | {REST: (0, 0)}
    rates = {number: guaranteed * KBIT or least for number, (guaranteed, _) in asked.items()}
    spent = sum(rates.values())
    found = {parent: Class(parent, 0, total, total, _QUANTUM)}
    for number, (_, ceiling) in asked.items():
        rate = max(1, rates[number] * total // spent if spent > total else rates[number])
        ceil = min(ceiling * KBIT or total, total)
        quantum = max(_LEAST_QUANTUM, _QUANTUM * rate // total)
        found[parent | number] = Class(parent | number, parent, min(rate, ceil), ceil, quantum)
    return found


def diff(wanted: Mapping[str, Tree], actual: Mapping[str, Tree | None]) -> list[Step]:
    """The steps from what is there to what is wanted, in order. actual: by device that exists; None: nothing of ours
    and nothing foreign at its root."""
    steps: list[Step] = []
    for device, there in actual.items():
        want = wanted.get(device)
        if want is None:
            if there is not None and not there.foreign:
                steps.append(DeleteQdisc(device))
        elif there is None or there.foreign or there.default != want.default:
            if there is not None and not there.foreign:
                steps.append(DeleteQdisc(device))  # HTB cannot change its default
            steps.append(AddQdisc(device, want.default, there.foreign if there else ""))
            steps += [SetClass(device, one, new=True) for one in _parents_first(want)]
        else:
            steps += _class_steps(device, want, there)
    return steps


def _class_steps(device: str, want: Tree, there: Tree) -> list[Step]:
    # A class under another parent has to go first, and so does the one below it: children before parents.
    gone = {minor for minor, one in there.classes.items() if minor not in want.classes}
    gone |= {m for m, one in there.classes.items() if m not in gone and one.parent != want.classes[m].parent}
    gone |= {minor for minor, one in there.classes.items() if one.parent in gone}
    order = sorted(gone, key=lambda minor: there.classes[minor].parent == 0)
    steps: list[Step] = [DeleteClass(device, minor) for minor in order]
    for one in _parents_first(want):
        if one.minor in gone or one.minor not in there.classes:
            steps.append(SetClass(device, one, new=True))
        elif there.classes[one.minor] != one:
            steps.append(SetClass(device, one, new=False))
    return steps


def _parents_first(tree: Tree) -> list[Class]:
    return sorted(tree.classes.values(), key=lambda one: (one.parent != 0, one.minor))
