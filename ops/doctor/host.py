"""What the checks read from the machine: marks that others use, the clock, the devices that lines name."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.doctor.finding import Finding, fail, ok, skip, warn
from ops.settings import Settings

BUILT = 1_790_000_000  # Unix seconds: no clock that is right shows less
MAX_LINES = 255
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def clock() -> Finding:
    """Whether the clock is plausible, and whether the kernel believes it to be synchronised."""
    if time.time() < BUILT:
        return fail("clock", f"it shows {time.strftime('%Y-%m-%d', time.gmtime())}", "set the clock; grants end by it")
    timex = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; all zero asks and changes nothing
    state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    if state == -1:
        return skip("clock", "adjtimex(2) is not allowed here")
    if state == _TIME_ERROR:
        return warn(
            "clock",
            "the kernel says it is not synchronised",
            "run chrony or systemd-timesyncd: records and grants need the time",
        )
    return ok("clock", "synchronised")


def lines_in_use(settings: Settings) -> list[dict[str, Any]] | None:
    """The lines in use as the register has them; None where it cannot be read."""
    from tenants import schema
    from tenants.store import RegisterUnavailable, Store

    path = Path(settings.state_dir) / "register.db"
    if not os.access(path, os.R_OK | os.W_OK):  # SQLite in WAL mode writes even to read
        return None
    store = Store(path)
    try:
        with store.transaction(write=False) as connection:
            documents = [
                json.loads(row)
                for row in connection.execute(
                    schema.lines.select().with_only_columns(schema.lines.c.document)
                ).scalars()
            ]
    except RegisterUnavailable:
        return None
    finally:
        store.close()
    return [line for line in documents if not line.get("retired")]


def device_addresses() -> dict[str, list[str]]:
    """Addresses with their prefix length, by device."""
    return {
        str(link.get("ifname")): [
            f"{one['local']}/{one['prefixlen']}" for one in link.get("addr_info", []) if "local" in one
        ]
        for link in _ip("addr", "show")
    }


def foreign_marks(settings: Settings) -> Iterator[Finding]:
    """Policy rules and nft rules of others that use the marks, tables or priorities of our lines."""
    base = settings.line_base
    rules = [rule for family in ("-4", "-6") for rule in _ip(family, "rule", "show")]
    if not shutil.which("ip", path=_PATH):
        yield skip("marks", "the program ip is not installed", "apt-get install iproute2")
        return
    ours = range(base.priority, base.priority + 100)
    strange = sorted(
        {_described(rule) for rule in rules if int(rule.get("priority", 0)) not in ours and uses_mark(rule, base.mark)}
    )
    strange += sorted(set(nft_marks(_nft_ruleset(), base.mark)))
    if strange:
        yield warn(
            "marks", "; ".join(strange[:3]), "give line_base.mark and line_base.table a range that nobody else uses"
        )
    else:
        yield ok("marks", f"{base.mark:#010x}/{base.mark_mask:#010x} is used by nobody else")


def uses_mark(rule: dict[str, Any], mark: int) -> bool:
    """Whether a policy rule (as `ip -j rule` shows it) selects packets that carry a line's mark."""
    text = str(rule.get("fwmark", "0"))
    mask = int(str(rule.get("fwmask", "0xffffffff")), 0)
    value = int(text, 0)
    if not value:
        return False
    return any((mark | number << 8) & mask == value & mask for number in range(1, MAX_LINES + 1))


def nft_marks(ruleset: str, mark: int) -> Iterator[str]:
    """The rules outside table inet feiyu that set a mark in the range of ours, whole or beside a part that they keep
    (`meta mark set meta mark & 0x0000ffff | 0x46000100`)."""
    table = ""
    for line in ruleset.splitlines():
        if line.startswith("table "):
            table = line.removeprefix("table ").removesuffix(" {")
        if table == "inet feiyu":
            continue
        for found in re.finditer(r"mark set ((?:(?:meta|ct) mark [&|^] )?[0-9a-fx]+(?: [&|^] [0-9a-fx]+)*)", line):
            numbers = re.findall(r"(?:[|^] |^)(0x[0-9a-f]+|[0-9]+)", found[1])
            if any(int(number, 0) >> 16 == mark >> 16 for number in numbers):
                yield f"table {table}: {found[0]}"


def _described(rule: dict[str, Any]) -> str:
    return f"rule {rule.get('priority')} fwmark {rule.get('fwmark')}/{rule.get('fwmask', '0xffffffff')}"


def _ip(*arguments: str) -> list[dict[str, Any]]:
    program = shutil.which("ip", path=_PATH)
    if not program:
        return []
    run = subprocess.run([program, "-j", *arguments], capture_output=True, text=True, timeout=10, check=False)
    try:
        return [entry for entry in json.loads(run.stdout or "[]") if isinstance(entry, dict)]
    except ValueError:
        return []


def _nft_ruleset() -> str:
    program = shutil.which("nft", path=_PATH)
    if not program:
        return ""
    return subprocess.run([program, "list", "ruleset"], capture_output=True, text=True, timeout=10, check=False).stdout
