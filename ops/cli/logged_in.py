"""Who is logged in on this machine: a token for each control, in a file that nobody else reads."""

import json
import os
from pathlib import Path
from typing import Any

from ops.cli.keyfile import home, write_private

_FILE = "login.json"


def token_of(server: str) -> str:
    """The token for a control's socket, "" for none."""
    return str(_kept().get(_name(server), {}).get("token", ""))


def account_of(server: str) -> str:
    """The account that is logged in there, "" for none."""
    return str(_kept().get(_name(server), {}).get("account", ""))


def keep(server: str, account: str, token: str) -> None:
    """Remembers a login; "" forgets it. Raises OSError."""
    kept = _kept()
    kept.pop(_name(server), None)
    if token:
        kept[_name(server)] = {"account": account, "token": token}
    path = home() / _FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, json.dumps(kept).encode() + b"\n", exist_ok=True)


def _name(server: str) -> str:
    return str(Path(server).absolute())


def _kept() -> dict[str, Any]:
    """What the file says; a file that others could have written says nothing."""
    try:
        fd = os.open(home() / _FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, RuntimeError):
        return {}
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return {}
        try:
            kept = json.load(file)
        except ValueError:
            return {}
    return kept if isinstance(kept, dict) else {}
