"""The part of a lock file that a package needs to run here: runtime.py PACKAGE[EXTRA,…] < lock > part.

Which packages those are is read from what is installed beside the running Python.
"""

import re
import sys
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(package: str) -> set[str]:
    """The package's own needs (with the extras named) and theirs on this platform, as canonical names."""
    found: set[str] = set()
    wanted = Requirement(package)
    waiting = [(wanted.name, extra) for extra in ("", *wanted.extras)]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        for requirement in map(Requirement, requires(name) or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            found.add(canonicalize_name(requirement.name))
            more = {(requirement.name, further) for further in ("", *requirement.extras)} - seen
            seen |= more
            waiting += more
    return found


def part(lock: str, names: set[str]) -> str:
    """The entries of these packages. Raises ValueError when the lock lacks one."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    chosen = {canonicalize_name(entry.partition("==")[0]): entry for entry in entries if "==" in entry}
    if missing := names - chosen.keys():
        raise ValueError(f"not in the lock file: {', '.join(sorted(missing))}; run make lock")
    return "".join(entry for name, entry in sorted(chosen.items()) if name in names)


if __name__ == "__main__":
    sys.stdout.write(part(sys.stdin.read(), needed(sys.argv[1])))
