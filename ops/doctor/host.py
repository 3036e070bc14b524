"""What the checks read from the machine: the clock, the lines of the register, the addresses of devices."""

import ctypes
import json
import os
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ops.doctor import programs
from ops.doctor.finding import Finding, fail, ok, skip, warn
from ops.settings import Settings

BUILT = 1_790_000_000  # Unix seconds: no clock that is right shows less
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


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
    from tenants.store import RegisterUnavailable
    from whitelist.store import database

    where = settings.register_at
    if isinstance(where, Path) and not os.access(where, os.R_OK | os.W_OK):  # SQLite in WAL mode writes even to read
        return None
    store = database(where)
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
        for link in programs.listed("ip", "-j", "addr", "show")
    }


def neighbours(addresses: Iterable[str]) -> list[tuple[str, str]]:
    """(device, address) where the kernel knows one of these as a neighbour, or tried to."""
    wanted = set(addresses)
    shown = [(str(entry.get("dev")), str(entry.get("dst"))) for entry in programs.listed("ip", "-j", "neigh", "show")]
    return [(device, address) for device, address in shown if address in wanted]


def devices_away(settings: Settings, lines: Collection[Mapping[str, Any]]) -> str:
    """The node's devices, by name, where none of them is in this network namespace; else, or where it has none but the
    loopback, empty."""
    own = {access.interface for access in settings.access} | {str(line["device"]) for line in lines}
    own |= {str(outer["underlay"]) for line in lines if (outer := line.get("encapsulation") or {}).get("underlay")}
    own -= {"lo"}
    return "" if own & {name for _, name in socket.if_nameindex()} else ", ".join(sorted(own))
