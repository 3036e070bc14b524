"""The nft program: load a whole table in one transaction, read it back, read its counters."""

import subprocess

import msgspec

from gateway.line.killswitch import TABLE

_TIMEOUT = 10.0  # seconds; a load takes milliseconds


class NftError(Exception):
    """nft is missing or refused. The text carries its own words and what to do."""


def _run(arguments: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise NftError("nft is not installed; install the package nftables") from None
    except OSError as error:
        remedy = "see that it is a program this user may run, or reinstall the package nftables"
        raise NftError(f"nft cannot be started: {error.strerror or error}; {remedy}") from None
    except subprocess.TimeoutExpired:
        raise NftError(f"nft did not answer in {_TIMEOUT:.0f} s") from None


def load(ruleset: str) -> None:
    """Loads the text as one transaction: all of it or nothing. Raises NftError."""
    done = _run(["-f", "-"], ruleset)
    if done.returncode:
        raise NftError(f"nft refused the table: {done.stderr.strip() or done.returncode}; it needs CAP_NET_ADMIN")


def read_table() -> str:
    """The table as the kernel has it, without counts and handles; empty when there is none. Raises NftError."""
    done = _run(["-s", "-n", "list", "table", "inet", TABLE])
    if not done.returncode:
        return done.stdout
    if "No such file" in done.stderr:
        return ""
    raise NftError(f"nft cannot list the table: {done.stderr.strip() or done.returncode}; it needs CAP_NET_ADMIN")


def read_counters() -> dict[str, tuple[int, int]]:
    """Packets and bytes by counter name; empty when there is no table. Raises NftError."""
    done = _run(["-j", "list", "counters", "table", "inet", TABLE])
    if done.returncode:
        return {}
    found: dict[str, tuple[int, int]] = {}
    for item in msgspec.json.decode(done.stdout)["nftables"]:
        counter = item.get("counter")
        if counter:
            found[counter["name"]] = (counter["packets"], counter["bytes"])
    return found


def remove() -> None:
    """Takes the table away; only teardown does this. Raises NftError."""
    done = _run(["-f", "-"], f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")
    if done.returncode:
        raise NftError(f"nft cannot remove the table: {done.stderr.strip()}")
