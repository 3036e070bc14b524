"""The machine's own programs (ip, nft, tc, iptables-save), asked what they see."""

import json
import os
import shutil
import subprocess
from typing import Any

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where they are, whatever the caller's PATH
_PATIENCE = 10  # seconds


def find(name: str) -> str | None:
    """Where the program is, None where it is not installed."""
    return shutil.which(name, path=_PATH)


def run(program: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it to its end. text: to its standard input. Raises OSError, subprocess.TimeoutExpired."""
    return subprocess.run(
        [program, *arguments], input=text, capture_output=True, text=True, timeout=_PATIENCE, check=False
    )


def output(name: str, *arguments: str) -> str:
    """What it prints; nothing where it is not installed or does not end."""
    program = find(name)
    if not program:
        return ""
    try:
        return run(program, *arguments).stdout
    except subprocess.TimeoutExpired:
        return ""


def listed(name: str, *arguments: str) -> list[Any]:
    """The JSON list that it prints, or the one object as a list of it; nothing where it prints no JSON."""
    try:
        found = json.loads(output(name, *arguments) or "[]")
    except ValueError:
        return []
    return found if isinstance(found, list) else [found]
