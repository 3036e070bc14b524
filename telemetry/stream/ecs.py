"""A record in the Elastic Common Schema, version 8.17. Pure.

Source: the ECS field reference. What ECS has no field for stands under feiyu.*, as its guidelines ask.
"""

from datetime import UTC, datetime
from typing import Any

from telemetry.record import CloseCause, Kind, Record
from telemetry.stream.spec import FINDING

VERSION = "8.17.0"
LONGEST = 2048  # characters of a text
_TYPES = {
    Kind.OPEN.value: ["connection", "start", "allowed"],
    Kind.PROGRESS.value: ["connection", "info"],
    Kind.CLOSE.value: ["connection", "end"],
    Kind.DENY.value: ["connection", "denied"],
}
_OWN = (
    *("site", "room", "listener", "original_dst", "line", "egress_ip", "egress_port", "service", "grant", "revision"),
    *(
        "ref",
        "reason",
        "cause",
        "decision",
        "count",
        "ech",
        "rtt",
        "retransmits",
        "credential",
        "ja4",
        "values",
        "facts",
    ),
)


def event(record: Record, kind: str, id_: str) -> dict[str, Any]:
    """The document as JSON types, with nested objects; empty fields are left out."""
    flow = record.kind in _TYPES
    denied = record.kind == Kind.DENY.value or record.cause == CloseCause.REFUSED.value
    category = ["intrusion_detection"] if kind == FINDING else ["network"] if flow else ["host"]
    document = {
        "@timestamp": datetime.fromtimestamp(record.time / 1e6, UTC).isoformat(timespec="microseconds")[:-6] + "Z",
        "ecs": {"version": VERSION},
        "message": record.detail,
        "event": {
            "id": id_,
            "kind": "alert" if kind == FINDING else "event" if flow else "state",
            "category": category,
            "type": _TYPES.get(record.kind, ["info"]),
            "action": record.kind,
            "outcome": "failure" if denied else "success" if flow else "unknown",
            "reason": record.reason or record.cause,
            "sequence": record.seq,
            "duration": record.duration * 1000,
            "module": "feiyu",
            "dataset": "feiyu.flows",
        },
        "observer": {"hostname": record.node, "type": "proxy", "product": "Feiyu", "serial_number": record.worker},
        "organization": {"id": record.tenant},
        "user": {"id": record.user},
        "source": {"ip": record.client_ip, "port": record.client_port, "bytes": record.bytes_out},
        "destination": {"domain": record.host, "ip": record.address, "port": record.port, "bytes": record.bytes_in},
        "network": {
            "transport": "tcp" if flow else "",
            "bytes": record.bytes_out + record.bytes_in,
            "direction": "outbound" if flow else "",
        },
        "http": {
            "request": {"method": record.method},
            "response": {"status_code": record.status},
        },
        "url": {"domain": record.host if record.path else "", "path": record.path},
        "user_agent": {"original": record.user_agent},
        "tls": {
            "version": record.tls_version.removeprefix("TLSv").removeprefix("TLS"),
            "next_protocol": record.alpn,
            "client": {"server_name": record.sni},
        },
        "rule": {"id": record.rule},
        "feiyu": {"flow": record.flow, **{name: getattr(record, name) for name in _OWN}},
    }
    return _kept(document)


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, long texts cut."""
    found: dict[str, Any] = {}
    for key, given in document.items():
        value = _kept(given) if isinstance(given, dict) else given
        if isinstance(value, str) and len(value) > LONGEST:
            value = value[: LONGEST - 1] + "…"
        if value not in ("", 0, None, False, {}):
            found[key] = value
    return found
