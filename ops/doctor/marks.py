"""Whether others on this machine use the marks of the lines: policy rules, nft, iptables, tc."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.line.model import INDEX_BITS, MAX_INDEX, mark_of
from ops.doctor import mark_writes, programs
from ops.doctor.finding import Finding, fail, ok, skip, warn
from ops.doctor.mark_writes import Write
from ops.settings import Settings

SHOWN = 3  # rules that are named; the rest is counted
_OWN_PRIORITIES = 100
_TC_ACTIONS = ("skbedit", "connmark", "ctinfo")
_LEGACY = {"iptables-legacy-save": "/proc/net/ip_tables_names", "ip6tables-legacy-save": "/proc/net/ip6_tables_names"}
_RANGE = "give line_base.mark a range that nobody else uses, or take the rule away"


def examine(settings: Settings) -> Iterator[Finding]:
    """One finding on marks: fail where a packet of others gets a line's mark, or a rule of others decides before ours
    on packets that have one; warn where a mark may be lost, or cannot be told."""
    if not programs.find("ip"):
        yield skip("marks", "the program ip is not installed", "apt-get install iproute2")
        return
    base = settings.line_base
    rules = [rule for family in ("-4", "-6") for rule in programs.listed("ip", family, "-j", "rule", "show")]
    before, after = foreign_rules(rules, base.mark, base.priority)
    listing = dict(enumerate(programs.listed("nft", "-j", "list", "ruleset"))).get(0, {})
    writes = [*mark_writes.of_nft(listing), *_of_iptables(), *mark_writes.of_tc(_tc_actions())]
    range_mask = base.mark_mask & ~INDEX_BITS
    given = [write.where for write in writes if write.gives(base.mark, range_mask)]
    touched = [w.where for w in writes if w.touches(base.mark_mask) and not w.gives(base.mark, range_mask)]
    if mark_writes.has_xtables(listing) and not _iptables_programs():
        touched.append("rules of iptables, whose values only iptables-save shows (apt-get install iptables)")
    own = f"{base.mark:#010x}/{base.mark_mask:#010x}"
    if given or before:
        yield fail("marks", f"{own} is used by others: {_named([*before, *given])}", _RANGE)
    elif touched or after:
        remedy = f"see that they never meet a line's packets, or keep to bits outside {base.mark_mask:#010x}"
        yield warn("marks", f"{own} may be overwritten or matched by others: {_named([*touched, *after])}", remedy)
    else:
        yield ok("marks", f"{own} is used by nobody else")


def rules_before(settings: Settings) -> Finding:
    """Policy rules of others that are asked before the lines' own, but for the kernel's for its local addresses."""
    found = []
    for family in ("-4", "-6"):
        for rule in programs.listed("ip", family, "-j", "rule", "show"):
            number, table = int(rule.get("priority", 0)), str(rule.get("table", ""))
            if number < settings.line_base.priority and (number, table) != (0, "local"):
                found.append(f"ip {family} rule {number}: {rule.get('action') or f'table {table}'}")
    if not found:
        return ok("rules before the lines'", "none")
    remedy = (
        f"give it a priority behind {settings.line_base.priority + _OWN_PRIORITIES - 1}, or remove it: what it takes "
    )
    return warn("rules before the lines'", _named(found), remedy + "of a line is dropped, and feiyu line list says so")


def foreign_rules(rules: list[dict[str, Any]], mark: int, priority: int) -> tuple[list[str], list[str]]:
    """Policy rules (as `ip -j rule` shows them) of others that select packets with a line's mark: those that decide
    before ours, which is at fault, and those behind, which matter only while ours are not there. Behind ours, a rule
    for all that lacks some mark (as wg-quick makes it) is none of either."""
    before, after = [], []
    for rule in rules:
        number = int(rule.get("priority", 0))
        if priority <= number < priority + _OWN_PRIORITIES or not uses_mark(rule, mark):
            continue
        if number < priority:
            before.append(_described(rule))
        elif "not" not in rule:
            after.append(_described(rule))
    return sorted(set(before)), sorted(set(after))


def uses_mark(rule: dict[str, Any], mark: int) -> bool:
    """Whether a policy rule selects by mark, and some packet that carries a line's mark."""
    if "fwmark" not in rule:
        return False
    mask, value = int(str(rule.get("fwmask", "0xffffffff")), 0), int(str(rule["fwmark"]), 0)
    found = [mark_of(number, mark) & mask == value & mask for number in range(1, MAX_INDEX + 1)]
    return not all(found) if "not" in rule else any(found)


def _described(rule: dict[str, Any]) -> str:
    sense = "not " if "not" in rule else ""
    return f"rule {rule.get('priority')} {sense}fwmark {rule.get('fwmark')}/{rule.get('fwmask', '0xffffffff')}"


def _named(texts: list[str]) -> str:
    found = sorted(set(texts))
    return "; ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def _of_iptables() -> Iterator[Write]:
    for program in _iptables_programs():
        yield from mark_writes.of_iptables(programs.output(program), Path(program).name.removesuffix("-save"))


def _iptables_programs() -> list[str]:
    """Those that show rules; the old kind only where the kernel has tables of it, for to ask would make them."""
    wanted: list[tuple[str, ...]] = [("iptables-nft-save", "iptables-save"), ("ip6tables-nft-save", "ip6tables-save")]
    wanted += [(name,) for name, names in _LEGACY.items() if _text(names).strip()]
    found = [next(filter(None, (programs.find(name) for name in names)), None) for names in wanted]
    return [program for program in found if program]


def _tc_actions() -> list[Any]:
    """All actions of these kinds, those that belong to filters too."""
    return [entry for kind in _TC_ACTIONS for entry in programs.listed("tc", "-j", "actions", "list", "action", kind)]


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
