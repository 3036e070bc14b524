"""What each key of the node configuration may hold."""

import ipaddress
import re
from urllib.parse import parse_qsl, urlsplit

import yaml

from gateway.config import Health, Limits, Timeouts, Tls
from ops import settings as s
from ops.settings_evidence import evidence_faults, witness_key
from ops.settings_listeners import listener_faults
from ops.settings_streams import sink, sink_faults
from ops.yamlnode import Problem, ProblemsError, integer, line_of, listing, number, parsed, section, text
from telemetry.evidence.keys import FURTHER
from telemetry.retention import FLOOR
from tenants.model import Side
from whitelist.device import device_fault
from whitelist.name import TargetError, canonical_name

RULE_PACKS = ("starter", "none")
RULE_ACTIONS = ("tell", "act")
LISTENER_KINDS = ("plain", "http", "socks5", "transparent")
DEMANDS = ("certificate", "token", "prefix")
PAC_HOSTS, PAC_OTHERS = ("whitelist", "all"), ("direct", "proxy")
MAX_RUN_DIR = 80  # a unix socket's path has 107 bytes

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
_ZONE = re.compile(r"(?:[0-9a-f]{64})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([0-9.]+)):([0-9]+)", re.ASCII)


def _canonical_address(value: str) -> str:
    match = _ADDRESS.fullmatch(value)
    if not match:
        raise ValueError("not an address with a port")
    host = match[1] or match[2]
    try:
        address = ipaddress.IPv6Address(host) if match[1] else ipaddress.IPv4Address(host)
    except ValueError as error:
        raise ValueError(str(error)) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise ValueError("an address with a zone id cannot be listened on")
    if not 1 <= int(match[3]) <= 65_535:
        raise ValueError(f"port {match[3]} is out of range")
    canonical = f"[{address}]:{int(match[3])}" if match[1] else f"{address}:{int(match[3])}"
    if canonical != value:
        raise ValueError(f"not in canonical form, which is {canonical!r}")
    return value


def _canonical_prefix(value: str) -> str:
    if "/" not in value:
        raise ValueError("no prefix length")
    try:
        canonical = str(ipaddress.ip_network(value, strict=False))
    except ValueError as error:
        raise ValueError(str(error)) from None
    if "%" in value or canonical != value:
        raise ValueError(f"not in canonical form, which is {canonical!r}")
    return value


def _balancers(value: str) -> str:
    if _canonical_prefix(value).endswith("/0"):
        raise ValueError("everybody could say to come from anywhere")
    return value


def _directory(value: str) -> str:
    if not value.startswith("/") or value != "/" + "/".join(value.strip("/").split("/")) or value == "/":
        raise ValueError("not an absolute path in plain form")
    if any(part in ("", ".", "..") for part in value[1:].split("/")) or not value.isprintable():
        raise ValueError("a part of the path is empty, a dot or not printable")
    return value


def _run_directory(value: str) -> str:
    if len(value.encode()) > MAX_RUN_DIR:
        raise ValueError(f"longer than {MAX_RUN_DIR} bytes, so that unix sockets below it could not be named")
    return _directory(value)


def _register(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme != "postgresql" or not parts.path.strip("/") or not value.isprintable():
        raise ValueError("not the address of a PostgreSQL database")
    if parts.password is not None or "password" in dict(parse_qsl(parts.query)):
        raise ValueError(
            "a password stands in it, which everybody may read; put it into a file, and name that: ?passfile="
        )
    return value


def _gateway_url(value: str) -> str:
    scheme, separator, authority = value.partition("://")
    host, _, port = authority.rpartition(":")
    if scheme not in ("http", "https") or not separator or not (port.isascii() and port.isdecimal()):
        raise ValueError("not http:// or https:// with host and port")
    if not 1 <= int(port) <= 65_535 or str(int(port)) != port:
        raise ValueError(f"port {port} is out of range or not in plain form")
    if host.startswith("[") or host.replace(".", "").isdecimal():
        _canonical_address(authority)
    elif len(host) > 253 or not _HOST.fullmatch(host):
        raise ValueError("not a host name in lower case")
    return value


def _portal_name(value: str) -> str:
    try:
        canonical = canonical_name(value)
    except TargetError as error:
        raise ValueError(error.detail) from None
    if canonical != value:
        raise ValueError(f"not in canonical form, which is {canonical!r}")
    return value


def _portal(value: str) -> str:
    if not value:
        return value
    url = urlsplit(value)
    plain = (
        value.isascii()
        and value.isprintable()
        and " " not in value
        and not (url.query or url.fragment or "@" in url.netloc)
    )
    if url.scheme not in ("https", "http") or not url.hostname or not plain or value.endswith("/"):
        raise ValueError("not a plain URL")
    return value


def _side(value: str) -> Side:
    try:
        return Side(value)
    except ValueError:
        raise ValueError("no side") from None


_host = text("a host name in lower case, e.g. gw1.zone.example", lambda v: len(v) <= 253 and bool(_HOST.fullmatch(v)))
_name = text("1 to 64 letters, digits, dots, dashes", lambda v: bool(_NAME.fullmatch(v)))
_DEVICE = "an interface name of 1 to 15 ASCII characters without blanks, quotes, slashes, colons and asterisks"
_interface = text(_DEVICE, lambda v: not device_fault(v))
_any_interface = text(f'{_DEVICE}, or "" for any', lambda v: not v or not device_fault(v))
_address = parsed('"ADDRESS:PORT" or "[IPV6]:PORT", quoted', _canonical_address)
_prefix = parsed('a prefix such as "10.0.0.0/24" or "fd00:1::/64"', _canonical_prefix)
_trusted = parsed('the balancers\' prefix such as "10.0.0.8/32"', _balancers)
_gateway = parsed('a proxy such as "http://10.0.0.1:3128" or "https://gw.zone.example:3129"', _gateway_url)
_seconds = number(0.05, 31_536_000, "seconds")

_listener = section(
    s.Listener,
    {
        "name": _name,
        "kind": text(f"one of {', '.join(LISTENER_KINDS)}", lambda v: v in LISTENER_KINDS),
        "address": _address,
        "interface": _any_interface,
        "demands": listing(
            text(f"one of {', '.join(DEMANDS)}", lambda v: v in DEMANDS), "demands", unique=("",), least=1
        ),
        "proxy_protocol": listing(_trusted, "balancers' prefixes", unique=("",)),
        "tls": section(
            Tls,
            {
                **dict.fromkeys(("certificate", "key"), parsed("an absolute path", _directory)),
                "client_ca": parsed('an absolute path, or "" for none', lambda v: v and _directory(v)),
            },
        ),
    },
)
_access = section(
    s.Access,
    {
        "interface": _interface,
        "site": _name,
        "room": _name,
        "prefixes": listing(_prefix, "prefixes", unique=("",), least=1),
        "side": parsed("offshore, domestic or abroad", _side),
    },
)
_witness = section(
    s.Witness,
    {
        "url": parsed("a URL such as https://witness.example, without a slash at its end", _portal),
        "key": parsed("the witness's verifier key NAME+ID+KEY, quoted", witness_key),
    },
)
_management = section(
    s.Management, {"interface": _interface, "prefixes": listing(_prefix, "prefixes", unique=("",), least=1)}
)
_settings = section(
    s.Settings,
    {
        "node": _host,
        "state_dir": parsed("an absolute path", _directory),
        "run_dir": parsed(f"an absolute path of at most {MAX_RUN_DIR} bytes", _run_directory),
        "workers": integer(0, 256),
        "inspectors": integer(0, 64),
        "listeners": listing(_listener, "listeners", unique=("name", "address"), least=1),
        "access": listing(_access, "access interfaces", unique=("interface",)),
        "management": listing(_management, "management interfaces", unique=("interface",)),
        "line_base": section(
            s.LineBase,
            {
                "mark": integer(0, 0xFFFFFFFF),
                "mark_mask": integer(0, 0xFFFFFFFF),
                "table": integer(256, 0xFFFFFE00),
                "priority": integer(1, 32_600),
                "transparent_mark": integer(1, 0xFFFFFFFF),
            },
        ),
        "health": section(
            Health,
            {
                **dict.fromkeys(("interval", "timeout", "hold_down", "hold_down_max", "flap_window"), _seconds),
                **dict.fromkeys(("failures", "successes", "flaps"), integer(1, 100)),
                "degraded_rtt": number(1.1, 1_000, "times the usual"),
                "degraded_loss": number(0.001, 1, "of the segments"),
                "degraded_services": integer(1, 10_000),
            },
        ),
        "users": section(s.Users, {"base": integer(0, 0x7FFFFF00)}),
        "timeouts": section(
            Timeouts, dict.fromkeys(("first_byte", "handshake", "dial", "idle", "total", "drain"), _seconds)
        ),
        "limits": section(
            Limits,
            {
                "header_bytes": integer(1_024, 1 << 20, "bytes"),
                "tunnels_per_tenant": integer(1, 10_000_000),
                "tunnels_per_user": integer(0, 1_000_000),
                "handshakes_per_source": integer(1, 1_000_000),
                "handshakes": integer(1, 1_000_000),
                "tls_handshakes": integer(1, 1_000_000),
                "spool_bytes": integer(1 << 20, 1 << 44, "bytes"),
                "stranger_refusals_per_second": integer(1, 1_000_000),
            },
        ),
        "register": parsed("postgresql://USER@HOST/DATABASE?passfile=FILE, or no such key for a file", _register),
        "max_staleness": _seconds,
        "zone": text("64 hex digits, as feiyu init prints them", lambda v: bool(_ZONE.fullmatch(v))),
        "metrics": section(s.Metrics, {"address": _address}),
        "ca": section(s.Ca, {"client_life": number(60, 31_536_000, "seconds")}),
        "portal_name": parsed("a host name with a dot, e.g. feiyu.zone", _portal_name),
        "pac": section(
            s.Pac,
            {
                "gateways": listing(_gateway, "gateways", unique=("",)),
                "hosts": text("whitelist or all", lambda v: v in PAC_HOSTS),
                "others": text("direct or proxy", lambda v: v in PAC_OTHERS),
            },
        ),
        # a longer interval would come near the 30 s after which unproved records stop new flows
        "streams": listing(sink, "sinks", unique=("name",)),
        "regulators": listing(_name, "accounts", unique=("",)),
        "evidence": section(
            s.Evidence,
            {
                "interval": number(0.05, 10, "seconds"),
                "personal": text("clear or sealed", lambda v: v in ("clear", "sealed")),
                "signatures": listing(
                    text(f"one of {', '.join(FURTHER)}", lambda v: v in FURTHER), "signatures", unique=("",)
                ),
                "witnesses": listing(_witness, "witnesses", unique=("key",)),
                "quorum": integer(0, 16),
            },
        ),
        # the floor is the law's: logs of a network for not less than six months
        "retention": section(
            s.Retention, dict.fromkeys(("days", "personal_days", "ceiling"), integer(FLOOR, 36_530, "days"))
        ),
        "rules": section(
            s.Rules,
            {
                "paths": listing(
                    text("an absolute path", lambda v: v.startswith("/")), "files or folders of rules", unique=("",)
                ),
                "pack": text("starter or none", lambda v: v in RULE_PACKS),
                "action": text("tell or act", lambda v: v in RULE_ACTIONS),
            },
        ),
        "portal": parsed("a URL such as https://portal.zone.example, without a slash at its end", _portal),
    },
)


def check_settings(root: yaml.Node) -> s.Settings:
    """The settings a document holds. Raises ProblemsError."""
    settings = _settings(root)
    found = list(_across(settings, root))
    if found:
        raise ProblemsError(*found)
    return settings


def _across(settings: s.Settings, root: yaml.Node) -> list[Problem]:
    """What only shows when keys are seen together."""
    lines = {key.value: line_of(key) for key, _ in root.value}
    found: list[Problem] = []

    def add(key: str, what: str, expected: str) -> None:
        found.append(Problem(lines.get(key, 1), f"{key}: {what}", expected))

    if settings.state_dir == settings.run_dir:
        add("run_dir", f"the same as state_dir ({settings.run_dir!r})", "a directory of its own, emptied at boot")
    seen: dict[str, str] = {}
    for access in settings.access:
        for prefix in access.prefixes:
            if prefix in seen:
                add(
                    "access",
                    f"prefix {prefix} belongs to {seen[prefix]} and {access.interface}",
                    "one interface per prefix",
                )
            seen[prefix] = access.interface
    if 0 < settings.users.base < 1000:
        add("users", f"base {settings.users.base} collides with system users", "0, or a number from 1000 on")
    base = settings.line_base
    if base.mark & ~base.mark_mask or base.mark & 0xFF00 or base.mark_mask & 0xFF00 != 0xFF00:
        add(
            "line_base",
            f"mark {base.mark:#010x} and mask {base.mark_mask:#010x} leave no room for the line's number",
            "a mark inside its mask, with bits 8 to 15 zero in the mark and one in the mask",
        )
    if settings.health.timeout > settings.health.interval:
        add("health", "timeout is longer than interval", "timeout at most as long as interval")
    for key, wrong, expected in evidence_faults(settings):
        add(key, wrong, expected)
    if settings.timeouts.idle > settings.timeouts.total:
        add("timeouts", "idle is longer than total", "idle at most as long as total")
    for key, wrong, expected in listener_faults(settings):
        add(key, wrong, expected)
    for wrong, expected in sink_faults(settings):
        add("streams", wrong, expected)
    if settings.metrics.address in {listener.address for listener in settings.listeners}:
        add("metrics", f"{settings.metrics.address} is a listener's address too", "an address of its own")
    return found
