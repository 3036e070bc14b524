"""Syslog messages as RFC 5424 writes them, counted in octets as RFC 5425 (4.3) frames them. Pure."""

import re
from datetime import UTC, datetime

from telemetry.record import Kind
from telemetry.stream.event import GAP, Event
from telemetry.stream.spec import FINDING

_FACILITY = 13  # log audit (RFC 5424, table 1)
_SEVERITIES = {FINDING: 3, GAP: 3, Kind.DENY.value: 4, Kind.LINE.value: 5, Kind.ACTION.value: 5}  # else 6
# Structured data need an enterprise number; 32473 is IANA's for examples (RFC 5612), until the zone has its own.
_SD_ID = "feiyu@32473"
_NOT_PRINTABLE = re.compile(r"[^!-~]")  # RFC 5424 6: PRINTUSASCII
_IN_VALUE = re.compile(r'(["\\\]])')  # RFC 5424 6.3.3: these are escaped, nothing else may be


def frame(message: bytes) -> bytes:
    """MSG-LEN SP SYSLOG-MSG (RFC 5425 4.3)."""
    return b"%d " % len(message) + message


def message(event: Event, form: str) -> bytes:
    """The whole message. What stands before MSG is printable ASCII, whatever the record says; MSG is JSON without
    control characters, so that receivers which split at newlines split right, too."""
    record = event.record
    priority = _FACILITY * 8 + _SEVERITIES.get(event.kind, 6)
    moment = datetime.fromtimestamp(record.time / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    head = f"<{priority}>1 {moment} {_word(record.node, 255)} feiyu {_word(record.worker, 128)} {_word(event.kind, 32)}"
    data = f'[{_SD_ID} id="{_IN_VALUE.sub(r"\\\1", _NOT_PRINTABLE.sub("_", event.id))}"]'
    return f"{head} {data} ".encode() + event.body(form)


def _word(text: str, longest: int) -> str:
    return _NOT_PRINTABLE.sub("_", text)[:longest] or "-"
