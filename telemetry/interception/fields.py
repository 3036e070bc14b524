"""What a rule can ask of a record: each field with its type, where it exists, and from which record of a flow on.

A flow has up to three kinds of record, and each repeats the fields of the one before. What the open record knows lets
a rule hit before the first byte; the TLS name and the bytes come with progress, the cause with the close.

Places say what the gateway sees: of a TUNNEL the client's wish and the ClientHello, of plain HTTP and INSPECTED flows
the path too. NODE is no flow at all: lines, heartbeats, administrative acts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from operator import attrgetter

from telemetry.record import Kind, Record

type Value = str | int | float | bool | tuple[str, ...] | None
type Getter = Callable[[Record], Value]


class Place(StrEnum):
    """Where a record comes from."""

    TUNNEL = "tunnel"
    HTTP = "plain HTTP"
    INSPECTED = "inspected"
    NODE = "node"


class Type(StrEnum):
    """What a field holds; decides which modifiers fit."""

    TEXT = "text"
    NUMBER = "number"
    ADDRESS = "address"
    TRUTH = "yes/no"


class Known(IntEnum):
    """The first record of a flow that has a field's value."""

    OPEN = 0
    PROGRESS = 1
    CLOSE = 2


FLOW_PLACES = frozenset((Place.TUNNEL, Place.HTTP, Place.INSPECTED))
_PATH_PLACES = frozenset((Place.HTTP, Place.INSPECTED))
_TLS_PLACES = frozenset((Place.TUNNEL, Place.INSPECTED))
_NODE = frozenset((Place.NODE,))
_ANY = FLOW_PLACES | _NODE

# Where to look for what is known since then; a refusal is the first and the last record of its flow.
KINDS_SINCE = {
    Known.OPEN: frozenset((Kind.OPEN.value, Kind.DENY.value)),
    Known.PROGRESS: frozenset((Kind.PROGRESS.value, Kind.CLOSE.value, Kind.DENY.value)),
    Known.CLOSE: frozenset((Kind.CLOSE.value, Kind.DENY.value)),
}
FLOW_KINDS = frozenset().union(*KINDS_SINCE.values())
NODE_KINDS = frozenset(kind.value for kind in Kind) - FLOW_KINDS - {Kind.FINDING.value}  # no rule is about rules


@dataclass(frozen=True, slots=True)
class Field:
    """One field. grows: bytes, of which sums take the increase since the flow's last record; never: characters that no
    value of it has (the query of a URI is not recorded); several: it has more than one value at a time; blank: an
    empty text is a value of it, and not its absence."""

    name: str
    get: Getter
    type: Type = Type.TEXT
    places: frozenset[Place] = FLOW_PLACES
    known: Known = Known.OPEN
    grows: bool = False
    never: str = ""
    several: bool = False
    blank: bool = False


def place_of(record: Record) -> Place:
    """Where a record comes from."""
    if record.kind not in FLOW_KINDS:
        return Place.NODE
    if record.path:
        return Place.INSPECTED if record.tls_version or record.sni else Place.HTTP
    return Place.TUNNEL if record.method in ("", "CONNECT") else Place.HTTP


def _plain(name: str) -> Getter:
    """A text or address as it stands."""
    return attrgetter(name)


def _user_agent(record: Record) -> Value:
    """Empty is a value where a request was read as a whole, and absent where the client need not say who it is."""
    return record.user_agent or (None if place_of(record) in (Place.TUNNEL, Place.NODE) else "")


def _authority(record: Record) -> str:
    host = f"[{record.host}]" if ":" in record.host else record.host
    return f"{host}:{record.port}"


def _uri(record: Record) -> Value:
    """Both forms that proxies log, absolute and path alone; of a tunnel HOST:PORT, as CONNECT asks for it."""
    if not record.host or record.kind not in FLOW_KINDS:
        return None
    if not record.path and record.method in ("CONNECT", ""):
        return _authority(record)
    place = place_of(record)
    scheme, port = ("http", 80) if place is Place.HTTP else ("https", 443)
    authority = _authority(record)
    if record.port == port:
        authority = authority.rpartition(":")[0]
    path = record.path or "/"
    return f"{scheme}://{authority}{path}", path


def _extension(record: Record) -> Value:
    if not record.path:
        return None
    last = record.path.rpartition("/")[2]
    return last.rpartition(".")[2] or None if "." in last else None


def _scheme(record: Record) -> Value:
    place = place_of(record)
    return {Place.HTTP: "http", Place.INSPECTED: "https"}.get(place)


def prefix(address: str) -> str:
    """The /24 or /64 that an address is in, as text that is the same for all its addresses."""
    if ":" not in address:
        return address.rpartition(".")[0] and address.rpartition(".")[0] + ".0/24"
    head = address.split("::", 1)
    groups = head[0].split(":") if head[0] else []
    if len(head) == 2:
        behind = head[1].split(":") if head[1] else []
        groups += ["0"] * max(0, 8 - len(groups) - len(behind)) + behind
    return ":".join(group.lstrip("0") or "0" for group in groups[:4]) + "::/64"


def _prefix(record: Record) -> Value:
    return prefix(record.client_ip) or None


def _named(record: Record) -> str:
    """The host where it is a name and no address."""
    host = record.host
    return "" if ":" in host or host.rpartition(".")[2].isdigit() else host


def _label(record: Record) -> Value:
    name = _named(record)
    return max(map(len, name.split("."))) if name else None


def _labels(record: Record) -> Value:
    name = _named(record)
    return name.count(".") + 1 if name else None


def _is_address(record: Record) -> Value:
    return not _named(record) if record.host else None


_ACTIONS = {
    "permit": ("permit", "allow", "allowed", "accept", "accepted", "pass"),
    "deny": ("deny", "denied", "block", "blocked", "drop", "dropped", "reject", "rejected"),
}


def _action(record: Record) -> Value:
    return _ACTIONS.get(record.decision)


def _value(name: str) -> Getter:
    """One of the figures of a heartbeat or a line's record."""

    def get(record: Record) -> Value:
        return record.values.get(name) if record.values else None

    return get


def _fields() -> dict[str, Field]:
    text = ("tenant", "site", "room", "interface", "user", "credential", "original_dst", "listener", "service", "grant")
    # `decision` and `reason` may turn after an open record, when a name does not fit; so they are final with the last.
    last_text = ("decision", "reason", "rule", "ref", "cause")
    hello = ("sni", "alpn", "ja4", "tls_version")
    found = [
        Field("node", _plain("node"), places=_ANY),
        Field("kind", _plain("kind"), places=_ANY),
        Field("time", lambda r: r.time // 1_000_000, Type.NUMBER, _ANY),
        Field("minute", lambda r: r.time // 60_000_000, Type.NUMBER, _ANY),  # since 1970; different ones can be counted
        Field("worker", _plain("worker"), places=_ANY),
        *(Field(name, _plain(name)) for name in text),
        *(Field(name, _plain(name), known=Known.CLOSE) for name in last_text),
        *(Field(name, _plain(name), places=_TLS_PLACES, known=Known.PROGRESS) for name in hello),
        Field("ech", lambda r: r.ech, Type.TRUTH, _TLS_PLACES, known=Known.PROGRESS),
        Field("flow", _plain("flow")),
        Field("client_ip", _plain("client_ip"), Type.ADDRESS),
        Field("client_prefix", _prefix),  # /24, /64
        Field("client_port", lambda r: r.client_port or None, Type.NUMBER),
        Field("method", _plain("method")),
        Field("host", _plain("host"), never="/?#@ "),
        Field("host_label", _label, Type.NUMBER),  # length of the longest label
        Field("host_labels", _labels, Type.NUMBER),
        Field("host_is_address", _is_address, Type.TRUTH),
        Field("port", lambda r: r.port or None, Type.NUMBER),
        Field("scheme", _scheme, places=_PATH_PLACES),
        Field("path", _plain("path"), places=_PATH_PLACES, never="?#"),
        Field("extension", _extension, places=_PATH_PLACES, never="/?#"),
        Field("uri", _uri, never="?#", several=True),
        Field("user_agent", _user_agent, blank=True),
        Field("status", lambda r: r.status or None, Type.NUMBER, known=Known.CLOSE),
        Field("address", _plain("address"), Type.ADDRESS),
        Field("line", _plain("line"), places=_ANY),
        Field("egress_ip", _plain("egress_ip"), Type.ADDRESS),
        Field("egress_port", lambda r: r.egress_port or None, Type.NUMBER),
        Field("revision", lambda r: r.revision or None, Type.NUMBER, _ANY),
        Field("count", lambda r: r.count or 1, Type.NUMBER),
        Field("action", _action, known=Known.CLOSE, several=True),
        Field("blocked", lambda r: r.decision == "deny", Type.TRUTH, known=Known.CLOSE),
        Field("bytes_out", lambda r: r.bytes_out, Type.NUMBER, known=Known.PROGRESS, grows=True),  # client to server
        Field("bytes_in", lambda r: r.bytes_in, Type.NUMBER, known=Known.PROGRESS, grows=True),
        Field("bytes", lambda r: r.bytes_out + r.bytes_in, Type.NUMBER, known=Known.PROGRESS, grows=True),
        Field("duration", lambda r: r.duration / 1e6, Type.NUMBER, known=Known.CLOSE),  # seconds
        Field("duration_ms", lambda r: r.duration // 1000, Type.NUMBER, known=Known.CLOSE),
        Field("rtt_ms", lambda r: r.rtt / 1000 if r.rtt else None, Type.NUMBER, known=Known.CLOSE),
        Field("retransmits", lambda r: r.retransmits, Type.NUMBER, known=Known.CLOSE),
        Field("detail", _plain("detail"), places=_ANY, known=Known.CLOSE),
    ]
    return {field.name: field for field in found}


FIELDS = _fields()


def values_field(name: str) -> Field:
    """The field `values.NAME` of records of the node."""
    return Field(f"values.{name}", _value(name), Type.NUMBER, _NODE)
