"""What is said of a program that firms have, and of a way in."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.demo.network import FIRMS
from ops.demo.stage import PORT
from tests.acceptance.kit import CERTIFIED, SECURED, SOCKS

SCHEMES = ("https", "http")


@dataclass(frozen=True, slots=True)
class Way:
    """A way in: what its URLs begin with, and where it listens. tunnels: for plain http:// too, so that an endpoint of
    that kind cannot be reached this way; certified: a certificate says who asks."""

    scheme: str
    listener: str
    port: int
    tunnels: bool = False
    certified: bool = False

    def proxy(self, identity: str, scheme: str = "") -> str:
        """The proxy's URL with a credential, "id:token", where that says who asks."""
        who = "" if self.certified else f"{identity}@"
        return f"{scheme or self.scheme}://{who}{FIRMS['acme'].near[4]}:{self.port}"


WAYS = {
    "plain": Way("http", "acc-a-4", PORT),
    "TLS": Way("https", "tls-acme", SECURED),
    "certificate": Way("https", "certified-acme", CERTIFIED, certified=True),
    "socks5": Way("socks5h", "socks-acme", SOCKS, tunnels=True),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a refused program ends with, and the part of what it shows that a person would read out; {ref} is the
    reference."""

    exit: int
    text: str

    @property
    def reference(self) -> bool:
        """Whether a person can tell the operator which refusal it was."""
        return "{ref}" in self.text


@dataclass(frozen=True, slots=True)
class Program:
    """One row of the table.

    setup: what files and env say, for a person; needs: commands, or files of setup.sh's.
    files (below its home), env and argv are templates with {proxy}, {trust} (the CAs of the zone and of abroad),
    {certificate} and {key} (the firm's), {ca} (abroad's), {home}, {code} and, argv alone, {url}.
    ways: by name of the way in, what it shows of a refused URL, by scheme. path: what it asks the shop for.
    leaves: the file with the greeting that a success leaves; "" where it prints what came.
    schemes: its own names for the ways' schemes. tunnels: for plain http:// too.
    challenged: it shows its credential only after a 407.
    """

    name: str
    setup: str
    needs: tuple[str, ...]
    argv: tuple[str, ...]
    ways: Mapping[str, Mapping[str, Shown]]
    env: Mapping[str, str]
    files: Mapping[str, str]
    path: str = ""
    leaves: str = ""
    schemes: Mapping[str, str] | None = None
    tunnels: bool = False
    challenged: bool = False

    def missing(self) -> str:
        """ "" or what of its needs is not installed."""
        lacking = [need for need in self.needs if not (Path(need).exists() if "/" in need else shutil.which(need))]
        return ", ".join(str(Path(need).name) for need in lacking)


def program(
    name: str,
    setup: str,
    *argv: str,
    ways: Mapping[str, tuple[Shown, Shown]],
    needs: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    path: str = "",
    leaves: str = "",
    schemes: Mapping[str, str] | None = None,
    tunnels: bool = False,
    challenged: bool = False,
) -> Program:
    """One row: `ways` has, by names of ways in (comma between), the two of https:// and http:// in this order."""
    found = {way: dict(zip(SCHEMES, pair, strict=True)) for names, pair in ways.items() for way in names.split(", ")}
    shown = {way: found[way] for way in WAYS if way in found}
    return Program(name, setup, needs, argv, shown, env or {}, files or {}, path, leaves, schemes, tunnels, challenged)
