"""What is sent: one record with its place in the log and its id. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from telemetry.record import Record, decode, encode
from telemetry.stream import ecs, ocsf
from telemetry.stream.spec import stream_kind

GAP = "gap"

# Characters that JSON allows as they are and that a terminal, an editor or a line reader may act upon: DEL and C1
# (UTF-8 C2 80–C2 9F), the line and paragraph separators, marks that turn the direction of text, the byte order mark.
_ACTIVE = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf")


@dataclass(frozen=True, slots=True)
class Event:
    """A record on its way. line: its bytes as stored; index: in the log of its node."""

    index: int
    line: bytes
    record: Record
    kind: str

    @property
    def id(self) -> str:
        """The same each time the record is sent, and no other's: node/boot.worker.seq@index, printable ASCII."""
        record = self.record
        return f"{record.node}/{record.boot}.{record.worker}.{record.seq}@{self.index}"

    def body(self, form: str) -> bytes:
        """One line of JSON in a format of spec.FORMATS. Native is byte for byte the stored line, but for characters
        that act on terminals, which are escaped: the value stays the same."""
        if form == "ocsf":
            return plain(msgspec.json.encode(ocsf.event(self.record, self.kind, self.id)))
        if form == "ecs":
            return plain(msgspec.json.encode(ecs.event(self.record, self.kind, self.id)))
        return plain(self.line)


def plain(line: bytes) -> bytes:
    """JSON text without characters that anything but a JSON parser would act upon; the same value."""
    return _ACTIVE.sub(_escape, line)


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())


def events(lines: Iterable[bytes], first: int, wanted: frozenset[str]) -> Iterator[Event]:
    """Those of consecutive lines that are of a wanted kind. A line that is no record (the recorder has said so in one
    of its own) is passed over."""
    for index, line in enumerate(lines, first):
        try:
            record = decode(line)
        except msgspec.DecodeError:
            continue
        if (kind := stream_kind(record)) in wanted:
            yield Event(index, line, record, kind)


def gap(node: str, first: int, missing: int, shrunk: int, now: int) -> Event:
    """Says that lines are gone before the one with index `first`. now is Unix µs."""
    words = f"{missing} records before {first} are not in the log any more" if missing else ""
    words = words or f"the log has {shrunk} records fewer than were sent"
    values = {"missing": missing, "shrunk": shrunk, "next": first}
    record = Record(node=node, boot="", worker="streams", seq=0, kind=GAP, time=now, detail=words, values=values)
    return Event(first, encode(record), record, GAP)
