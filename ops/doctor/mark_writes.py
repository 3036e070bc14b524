"""What rules of others do to the firewall mark of a packet, read from what nft, iptables and tc print. Pure.

What sets a mark and is not seen here: programs (BPF), and sockets of other processes (SO_MARK).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ALL = 0xFFFFFFFF
OURS = "inet feiyu"
_XMARK = re.compile(r"-j (MARK|CONNMARK) --set-xmark (0x[0-9a-f]+)/(0x[0-9a-f]+)")
_TPROXY = re.compile(r"--tproxy-mark (0x[0-9a-f]+)/(0x[0-9a-f]+)")
_RESTORE = re.compile(r"-j CONNMARK --restore-mark(?: --nfmask (0x[0-9a-f]+))?")


@dataclass(frozen=True, slots=True)
class Write:
    """One rule that writes a mark. bits: those it writes; values: what a packet without a mark gets (None: cannot be
    told from the rule); packet: of the packet, else of its connection (ct mark), from where other rules copy it."""

    where: str
    bits: int
    values: tuple[int, ...] | None
    packet: bool = True

    def gives(self, base: int, range_mask: int) -> bool:
        """Whether a packet gets a mark in the range of the lines'."""
        return any(value & range_mask == base for value in self.values or ())

    def touches(self, mask: int) -> bool:
        """Whether a packet that has a line's mark may lose it, or one that has none may get it."""
        return self.packet and bool(self.bits & mask)


def of_nft(listing: Mapping[str, Any]) -> Iterator[Write]:
    """The rules of `nft -j list ruleset` (libnftables-json(5)) outside our own table; of iptables' rules, which stand
    there without their values, nothing (see has_xtables)."""
    for rule in _rules(listing):
        table = f"{rule.get('family')} {rule.get('table')}"
        for statement in rule.get("expr", []):
            mangle = statement.get("mangle") if isinstance(statement, dict) else None
            for kind in ("meta", "ct"):
                if mangle and mangle.get("key") == {kind: {"key": "mark"}}:
                    where = f"nft table {table} chain {rule.get('chain')}: {kind} mark set"
                    yield _nft_write(where, kind, mangle.get("value"))


def has_xtables(listing: Mapping[str, Any]) -> bool:
    """Whether there are rules of iptables that write marks: their values must be asked of iptables-save."""
    targets = {"MARK", "CONNMARK", "TPROXY"}
    return any(
        isinstance(statement, dict) and (statement.get("xt") or {}).get("name") in targets
        for rule in _rules(listing)
        for statement in rule.get("expr", [])
    )


def _rules(listing: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in listing.get("nftables", []):
        rule = entry.get("rule")
        if rule and f"{rule.get('family')} {rule.get('table')}" != OURS:
            yield rule


def _nft_write(where: str, kind: str, value: Any) -> Write:
    packet = kind == "meta"
    if (linear := _linear(value, kind)) is not None:
        keep, put = linear
        text = f"{where} {put:#x}" if not keep else f"{where} {kind} mark & {keep:#010x} ^ {put:#x}"
        return Write(text, ALL & ~keep | put, (put,), packet)
    data = value.get("map", {}).get("data") if isinstance(value, dict) else None
    if isinstance(data, dict) and isinstance(pairs := data.get("set"), list):
        values = tuple(pair[1] for pair in pairs if isinstance(pair, list) and isinstance(pair[1], int))
        if len(values) == len(pairs):
            return Write(f"{where} one of {', '.join(f'{v:#x}' for v in values[:4])}", ALL, values, packet)
    return Write(f"{where} what it works out", ALL, None, packet)


def _linear(value: Any, kind: str) -> tuple[int, int] | None:
    """(keep, put) of a mark that becomes `mark & keep ^ put`; None for other expressions."""
    if isinstance(value, int):
        return 0, value
    if value == {kind: {"key": "mark"}}:
        return ALL, 0
    if not isinstance(value, dict) or len(value) != 1:
        return None
    ((operator, operands),) = value.items()
    if operator not in ("&", "|", "^") or not isinstance(operands, list) or len(operands) != 2:
        return None
    inner, number = _linear(operands[0], kind), operands[1]
    if inner is None or not isinstance(number, int):
        return None
    keep, put = inner
    return {"&": (keep & number, put & number), "|": (keep & ~number, put | number), "^": (keep, put ^ number)}[
        operator
    ]


def of_iptables(listing: str, program: str) -> Iterator[Write]:
    """The rules that iptables-save prints (iptables-extensions(8): MARK, CONNMARK, TPROXY)."""
    for line in listing.splitlines():
        where = f"{program}: {line}"
        if found := _XMARK.search(line):
            value, mask = int(found[2], 16), int(found[3], 16)
            yield Write(where, mask | value, (value,), found[1] == "MARK")
        elif found := _TPROXY.search(line):
            yield Write(where, int(found[2], 16), (int(found[1], 16),))
        elif found := _RESTORE.search(line):
            yield Write(where, int(found[1] or "0xffffffff", 16), None)
        elif "--map-mark" in line:
            yield Write(where, ALL, None)


def of_tc(listing: Iterable[Any]) -> Iterator[Write]:
    """The actions of `tc -j actions list` (tc-skbedit(8), tc-connmark(8), tc-ctinfo(8)). Masks come as hex digits."""
    for action in _dicts(listing):
        where = f"tc action {action.get('kind')} index {action.get('index')}"
        match action.get("kind"):
            case "skbedit" if "mark" in action:
                value, mask = _number(action["mark"], 10), _number(action.get("mask", "ffffffff"), 16)
                yield Write(f"{where}: mark {value:#x}/{mask:#x}", mask, (value & mask,))
            case "connmark":
                yield Write(where, ALL, None)
            case "ctinfo" if "cpmark" in action:
                yield Write(where, _number(action["cpmark"], 16), None)


def _number(value: Any, base: int) -> int:
    text = str(value)
    return int(text, 16 if text.startswith("0x") else base)


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _dicts(part)
