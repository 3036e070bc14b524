"""Other programs of the machine that would take the lines' table or devices away: what their files say of it.

root: where the machine's files are, "/" but for tests.
"""

import configparser
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ops.doctor.finding import Finding, ok, warn

NFTABLES_CONF = "etc/nftables.conf"
_ENABLED = "etc/systemd/system/*.wants/nftables.service"
_INCLUDE = re.compile(r'^\s*include\s+"([^"]+)"', re.MULTILINE)
_COMMENT = re.compile(r"#[^\n]*")
_FLUSH = re.compile(r"\bflush\s+ruleset\b(?!\s+(?:ip6?|arp|bridge|netdev)\b)")  # of other families our table survives
_ENABLED_UFW = re.compile(r"^\s*ENABLED=[\"']?yes\b", re.MULTILINE | re.IGNORECASE)
_UFW_SYSCTL = re.compile(r"^\s*IPT_SYSCTL=(\S+)", re.MULTILINE)
# What the plan (gateway.line.plan) sets for all devices or single ones, and may stay as it is (rp_filter: the greater
# of both counts).
_AS_PLANNED = dict.fromkeys(
    ("ip_forward", "forwarding", "accept_redirects", "secure_redirects", "send_redirects", "accept_source_route"), "0"
) | {"accept_ra": "0", "rp_filter": "01"}
_SETTING = re.compile(
    rf"^\s*(net[/.]ipv[46][/.](?:conf[/.][^=\s]+[/.])?({'|'.join(_AS_PLANNED)}))\s*=\s*([0-9])\s*$", re.MULTILINE
)
_DEVICE = "run/NetworkManager/devices/{}"


def nftables(root: Path) -> Finding:
    """Whether nftables.service, where it is enabled, flushes every table: ours is gone until the lines process, which
    must live for it, loads it again."""
    if not any(root.glob(_ENABLED)):
        return ok("nftables.service", "not enabled")
    flushing = sorted(str(path) for path in _read_by_nft(root) if _FLUSH.search(_text(path)))
    if not flushing:
        return ok("nftables.service", "flushes nothing of ours when it starts")
    seen = f"flush ruleset in {', '.join(flushing)}: each start of it removes the kill switch"
    remedy = "in its place delete the file's own tables (table inet NAME {} and delete table inet NAME), or disable it"
    return warn("nftables.service", seen, f"{remedy}: systemctl disable nftables")


def _read_by_nft(root: Path) -> Iterator[Path]:
    """The configuration and the files that it includes, patterns too; one level, as distributions have it."""
    main = root / NFTABLES_CONF
    yield main
    for found in _INCLUDE.findall(_COMMENT.sub("", _text(main))):
        pattern = found if found.startswith("/") else f"/etc/{found}"
        yield from root.glob(pattern.lstrip("/"))


def _text(path: Path) -> str:
    """A file without its comments; empty where it cannot be read."""
    try:
        return _COMMENT.sub("", path.read_text(errors="replace"))
    except OSError:
        return ""


def firewalls(root: Path) -> Iterator[Finding]:
    """firewalld and ufw, where one runs, starts with the machine or is on: each refuses clients that it was not told
    of, and sets what the lines' rules stand on."""
    if how := _service(root, "firewalld"):
        remedy = "systemctl disable --now firewalld, or put the access interfaces into its zone trusted"
        yield warn("firewalld", f"{how}: it refuses what its zones do not name, and drops by reverse path", remedy)
    else:
        yield ok("firewalld", "not in use")
    yield _ufw(root)


def _ufw(root: Path) -> Finding:
    if not _ENABLED_UFW.search(_text(root / "etc/ufw/ufw.conf")):  # its unit starts with the machine all the same
        return ok("ufw", "not in use")
    found = _UFW_SYSCTL.search(_text(root / "etc/default/ufw"))
    path = found[1].strip("\"'").lstrip("/") if found else ""
    other = [
        f"{key.replace('/', '.')}={value}"
        for key, name, value in _SETTING.findall(_text(root / path) if path else "")
        if value not in _AS_PLANNED[name]
    ]
    seen = "is on (ENABLED=yes): it refuses what its rules do not name" + (
        f", and sets {', '.join(other)}" if other else ""
    )
    return warn("ufw", seen, f"ufw disable, or {f'correct /{path} and ' if other else ''}allow the listeners' ports")


def _service(root: Path, name: str) -> str:
    """How a unit is in use: it runs (its control group is there), or it is wanted at boot; empty for neither."""
    if (root / f"sys/fs/cgroup/system.slice/{name}.service").is_dir():
        return "runs"
    return "starts with the machine" if any(root.glob(f"etc/systemd/system/*.wants/{name}.service")) else ""


def network_manager(root: Path, devices: Iterable[tuple[str, int]]) -> Iterator[Finding]:
    """The devices of lines (name and index) that NetworkManager manages: it would set addresses and routes on them."""
    managed = [name for name, index in devices if _is_managed(root / _DEVICE.format(index))]
    if managed:
        names = ";".join(f"interface-name:{name}" for name in managed)
        remedy = f"in /etc/NetworkManager/conf.d/feiyu.conf: [keyfile] unmanaged-devices={names}"
        yield warn("NetworkManager", f"manages {', '.join(managed)}", remedy)


def _is_managed(path: Path) -> bool:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(path.read_text(errors="replace"))
        return parser.getboolean("device", "managed", fallback=False)
    except (OSError, configparser.Error, ValueError):
        return False
